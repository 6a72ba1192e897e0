"""A new index from whole shards, where the one that is there is wrong, or gone, and the shards are not."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from math import prod

from gte_surgery.checkpoint.directory import WEIGHTS_NAME, Checkpoint
from gte_surgery.checkpoint.faults import FaultKind
from gte_surgery.checkpoint.index import INDEX_NAME, saves_of
from gte_surgery.checkpoint.restated import renamed
from gte_surgery.checkpoint.shards import duplicate_tensors, read_shards
from gte_surgery.checks.run import run
from gte_surgery.findings import Severity
from gte_surgery.gte.families import family_of
from gte_surgery.gte.wrappers import unwrapped, wrapper_of
from gte_surgery.surgery.planning.parts.rewrite import permissions
from gte_surgery.surgery.planning.parts.sharding import render_index
from gte_surgery.surgery.planning.plan import TextFile

_OF_THE_INDEX = (
    FaultKind.WEIGHTS_MISSING, FaultKind.INDEX_UNREADABLE, FaultKind.INDEX_MISSING_FILE,
    FaultKind.INDEX_TENSOR_ABSENT, FaultKind.INDEX_TENSOR_UNLISTED, FaultKind.INDEX_METADATA, FaultKind.INDEX_DOTTED,
    FaultKind.UNREADABLE,
)  # fmt: skip
_WHOLE = ("GTE0", "GTE200", "GTE201", "GTE220")
"""Rules that find no error in shards that are all there."""


def reindexed(checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint read without its index, for `new_index`; None unless the shards of one save are whole.

    Whole is: no tensor twice, and none missing that the config asks for.
    """
    for names in _candidates(checkpoint):
        files = [file for file in map(checkpoint.readable, names) if file is not None]
        shards, faults = read_shards(files)
        if faults or len(files) < len(names) or duplicate_tensors(shards):
            continue
        rest = tuple(fault for fault in checkpoint.faults if fault.kind not in _OF_THE_INDEX)
        found = replace(checkpoint, index=None, shards=shards, faults=rest)
        if _is_whole(found):
            return found
    return None


def new_index(checkpoint: Checkpoint) -> TextFile:
    """The index of the shards that a checkpoint has."""
    entry = checkpoint.file(INDEX_NAME) or checkpoint.shards[0].file
    return TextFile(INDEX_NAME, permissions(entry.mode), _index(checkpoint))


def _is_whole(checkpoint: Checkpoint) -> bool:
    """Whether nothing is missing, under the names without a wrapper's prefix where there is one."""
    wrapper = wrapper_of(family_of(checkpoint.values), checkpoint.tensors)
    if wrapper is not None:
        prefix = wrapper.prefix
        checkpoint = renamed(checkpoint, lambda name: unwrapped(name, prefix))
    return not any(seen.severity is Severity.ERROR for seen in run(checkpoint, select=_WHOLE).findings)


def _candidates(checkpoint: Checkpoint) -> Iterator[Collection[str]]:
    """Sets of files that may be the shards of one save: those that the index names, and those that are numbered so."""
    if checkpoint.has(WEIGHTS_NAME):
        return
    if checkpoint.index is not None:
        yield checkpoint.index.shard_names
    yield from saves_of(file.name for file in checkpoint.files)


def _index(checkpoint: Checkpoint) -> bytes:
    tensors = checkpoint.tensors
    weight_map = {name: tensor.shard.file.name for name, tensor in tensors.items()}
    return render_index(
        weight_map, sum(t.nbytes for t in tensors.values()), sum(prod(t.shape) for t in tensors.values())
    )
