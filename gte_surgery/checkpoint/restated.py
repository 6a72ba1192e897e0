"""A checkpoint as it would be with other names, other shapes, or fewer tensors, over the very same bytes.

Nothing is written here: planners look at a restated checkpoint as at any other, and what they then write has the new
names. `Checkpoint.restated` tells them which shards are not so on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.faults import HeaderFault
from gte_surgery.checkpoint.headers.header import TensorEntry, read_nul_padded
from gte_surgery.checkpoint.printable import shown

Change = Callable[[TensorEntry], TensorEntry | None]


def with_entries(checkpoint: Checkpoint, change: Change) -> Checkpoint:
    """The checkpoint with each tensor's entry as `change` makes it; None leaves the tensor out."""
    shards, touched = [], set(checkpoint.restated)
    for shard in checkpoint.shards:
        after = tuple(entry for entry in map(change, shard.entries) if entry is not None)
        if shard.header is not None and after != shard.entries:
            shard = shard._replace(header=shard.header._replace(tensors=after))
            touched.add(shard.file.name)
        shards.append(shard)
    return replace(checkpoint, shards=tuple(shards), restated=frozenset(touched))


def renamed(checkpoint: Checkpoint, rename: Callable[[str], str]) -> Checkpoint:
    """The checkpoint with other tensor names."""
    return with_entries(checkpoint, lambda entry: entry._replace(name=rename(entry.name)))


def without(checkpoint: Checkpoint, names: Collection[str]) -> Checkpoint:
    """The checkpoint without some tensors."""
    return with_entries(checkpoint, lambda entry: None if entry.name in names else entry)


def reshaped(checkpoint: Checkpoint, shapes: dict[str, tuple[int, ...]]) -> Checkpoint:
    """The checkpoint with other shapes, of as many elements, by stored name."""
    return with_entries(checkpoint, lambda entry: entry._replace(shape=shapes.get(entry.name, entry.shape)))


def with_readable_headers(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the headers that are padded with NUL bytes read as if with spaces."""
    told = {fault.location.file for fault in checkpoint.faults if fault.kind is HeaderFault.NUL_PADDED}
    padded = frozenset(shard.file.name for shard in checkpoint.shards if shown(shard.file.name) in told)
    if not padded:
        return checkpoint
    shards = tuple(
        shard._replace(header=read_nul_padded(shard.file)) if shard.file.name in padded else shard
        for shard in checkpoint.shards
    )
    faults = tuple(fault for fault in checkpoint.faults if fault.kind is not HeaderFault.NUL_PADDED)
    return replace(checkpoint, shards=shards, faults=faults, restated=checkpoint.restated | padded)
