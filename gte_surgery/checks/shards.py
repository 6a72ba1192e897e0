"""Shards that are whole, whatever the index says of them: a checkpoint read without its index."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from gte_surgery.checkpoint.directory import WEIGHTS_NAME, Checkpoint
from gte_surgery.checkpoint.faults import FaultKind, HeaderFault
from gte_surgery.checkpoint.index import saves_of
from gte_surgery.checkpoint.restated import renamed, with_readable_headers
from gte_surgery.checkpoint.shards import duplicate_tensors, read_shards
from gte_surgery.checks.subject import Subject
from gte_surgery.gte.wrappers import unwrapped, wrapper_of

_OF_THE_INDEX = (
    FaultKind.WEIGHTS_MISSING, FaultKind.INDEX_UNREADABLE, FaultKind.INDEX_MISSING_FILE,
    FaultKind.INDEX_TENSOR_ABSENT, FaultKind.INDEX_TENSOR_UNLISTED, FaultKind.INDEX_METADATA, FaultKind.INDEX_DOTTED,
    FaultKind.UNREADABLE, HeaderFault.NUL_PADDED,
)  # fmt: skip


def reindexed(checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint read without its index; None unless the shards of one save are whole.

    Whole is: no tensor twice, and none missing that the config asks for, or every number there of the one save that
    is numbered. Headers padded with NUL bytes are read as if with spaces, and `restated` names their shards.
    """
    saves = saves_of(file.name for file in checkpoint.files)
    for names in _candidates(checkpoint, saves):
        files = [file for file in map(checkpoint.readable, names) if file is not None]
        shards, faults = read_shards(files)
        found = with_readable_headers(replace(checkpoint, index=None, shards=shards, faults=tuple(faults)))
        if found.faults or len(files) < len(names) or duplicate_tensors(found.shards):
            continue
        found = replace(found, faults=tuple(each for each in checkpoint.faults if each.kind not in _OF_THE_INDEX))
        if _is_whole(found) or [sorted(names)] == saves:
            return found
    return None


def _is_whole(checkpoint: Checkpoint) -> bool:
    """Whether nothing is missing, under the names without a wrapper's prefix where there is one."""
    subject = Subject(checkpoint)
    wrapper = wrapper_of(subject.family, checkpoint.tensors)
    if wrapper is not None:
        prefix = wrapper.prefix
        subject = Subject(renamed(checkpoint, lambda name: unwrapped(name, prefix)))
    held = subject.checkpoint.tensors
    return bool(subject.wanted) and all(spec.name in held for spec in subject.wanted)


def _candidates(checkpoint: Checkpoint, saves: Sequence[list[str]]) -> Iterator[Collection[str]]:
    """Sets of files that may be the shards of one save: those that the index names, and those that are numbered so."""
    if checkpoint.has(WEIGHTS_NAME):
        return
    if checkpoint.index is not None:
        yield checkpoint.index.shard_names
    yield from saves
