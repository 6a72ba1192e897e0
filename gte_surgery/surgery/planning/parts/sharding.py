"""Spreads tensors over weight files as Hugging Face does: the names, the greedy filling, the index with its totals
[huggingface_hub, split_state_dict_into_shards_factory; transformers, save_pretrained].
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from gte_surgery.checkpoint.directory import WEIGHTS_NAME, Checkpoint
from gte_surgery.checkpoint.index import INDEX_NAME
from gte_surgery.surgery.planning.parts.rewrite import permissions
from gte_surgery.surgery.planning.plan import OutputFile, PlainFile, PlannedTensor, WeightFile

Metadata = tuple[tuple[str, str], ...] | None


def weight_files(
    tensors: Sequence[PlannedTensor], shard_size: int | None, mode: int, metadata: Metadata
) -> tuple[OutputFile, ...]:
    """model.safetensors, or shards of at most `shard_size` bytes of tensors and their index."""
    shards = fill_shards(tensors, shard_size)
    if len(shards) == 1:
        return (WeightFile(WEIGHTS_NAME, mode, metadata, tuple(tensors)),)
    names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    files = tuple(WeightFile(name, mode, metadata, shard) for name, shard in zip(names, shards, strict=True))
    weight_map = {tensor.name: file.name for file in files for tensor in file.tensors}
    total, parameters = sum(tensor.nbytes for tensor in tensors), sum(tensor.size for tensor in tensors)
    return (*files, PlainFile(INDEX_NAME, mode, render_index(weight_map, total, parameters)))


def fill_shards(tensors: Sequence[PlannedTensor], shard_size: int | None) -> list[tuple[PlannedTensor, ...]]:
    """Fills shard after shard in order; a tensor that no shard can hold gets one of its own. None: a single shard."""
    if shard_size is None:
        return [tuple(tensors)]
    shards: list[tuple[PlannedTensor, ...]] = []
    filling: tuple[PlannedTensor, ...] = ()
    for tensor in tensors:
        if tensor.nbytes > shard_size:
            shards.append((tensor,))
            continue
        if sum(other.nbytes for other in filling) + tensor.nbytes > shard_size:
            shards.append(filling)
            filling = ()
        filling += (tensor,)
    return [*shards, filling] if filling or not shards else shards


def new_index(checkpoint: Checkpoint) -> PlainFile:
    """The index of the shards that a checkpoint has, where the one that is there is wrong, or gone."""
    entry = checkpoint.file(INDEX_NAME) or checkpoint.shards[0].file
    tensors = checkpoint.tensors
    weight_map = {name: tensor.shard.file.name for name, tensor in tensors.items()}
    total, parameters = sum(t.nbytes for t in tensors.values()), sum(math.prod(t.shape) for t in tensors.values())
    return PlainFile(INDEX_NAME, permissions(entry.mode), render_index(weight_map, total, parameters))


def render_index(weight_map: Mapping[str, str], total_size: int, total_parameters: int) -> bytes:
    """A new index as transformers writes it: sorted keys, two spaces, a final newline."""
    metadata = {"total_parameters": total_parameters, "total_size": total_size}
    index = {"metadata": metadata, "weight_map": dict(weight_map)}
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
