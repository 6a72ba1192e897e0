"""A new index of whole shards, where the one that is there is wrong, or gone, and the shards are not."""

from __future__ import annotations

from math import prod

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.index import INDEX_NAME
from gte_surgery.surgery.planning.parts.rewrite import permissions
from gte_surgery.surgery.planning.parts.sharding import render_index
from gte_surgery.surgery.planning.plan import PlainFile


def new_index(checkpoint: Checkpoint) -> PlainFile:
    """The index of the shards that a checkpoint has."""
    entry = checkpoint.file(INDEX_NAME) or checkpoint.shards[0].file
    return PlainFile(INDEX_NAME, permissions(entry.mode), _index(checkpoint))


def _index(checkpoint: Checkpoint) -> bytes:
    tensors = checkpoint.tensors
    weight_map = {name: tensor.shard.file.name for name, tensor in tensors.items()}
    return render_index(
        weight_map, sum(t.nbytes for t in tensors.values()), sum(prod(t.shape) for t in tensors.values())
    )
