"""From "these tensors change" to output files: only the shards that hold a changed tensor are rewritten, all else is
copied byte for byte; the index follows. Every surgery on an existing checkpoint ends here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from gte_surgery.checkpoint.directory import Checkpoint, Index, StoredTensor
from gte_surgery.checkpoint.strict_json import Document, replace_members
from gte_surgery.surgery.pieces import CopyRange
from gte_surgery.surgery.plan import OutputFile, PlannedTensor, SourceFile, TextFile, WeightFile


@dataclass(frozen=True, slots=True)
class TensorChanges:
    """What happens to the tensors of a checkpoint: some get new bytes, some go, some come (each before another one)."""

    rewritten: Mapping[str, PlannedTensor] = field(default_factory=dict)
    removed: Collection[str] = ()
    added: Mapping[str, PlannedTensor] = field(default_factory=dict)
    """The new tensor, by the name of the stored tensor that it is put before."""


def source_files(checkpoint: Checkpoint) -> tuple[SourceFile, ...]:
    """The weight files of a sound checkpoint, as pieces refer to them."""
    return tuple(
        SourceFile(shard.file.name, shard.file.path, shard.file.size, shard.file.mtime_ns, shard.header.digest)
        for shard in checkpoint.shards
        if shard.header is not None
    )


def copied(tensor: StoredTensor) -> PlannedTensor:
    """The tensor as it is."""
    begin = tensor.file_begin
    piece = CopyRange(tensor.shard.file.name, begin, begin + tensor.nbytes)
    return PlannedTensor(tensor.name, tensor.dtype, tensor.shape, (piece,))


def rewrite(checkpoint: Checkpoint, changes: TensorChanges) -> tuple[tuple[OutputFile, ...], tuple[str, ...]]:
    """The files to write (shards that change, then the index if it changes) and the names of shards left without a
    tensor.
    """
    files: list[OutputFile] = []
    emptied: list[str] = []
    for shard in checkpoint.shards:
        before = [entry.name for entry in shard.header.tensors] if shard.header else []
        after = _tensors_after(checkpoint, before, changes)
        if [tensor.name for tensor in after] == before and not any(name in changes.rewritten for name in before):
            continue
        if after:
            metadata = shard.header.metadata if shard.header else None
            files.append(WeightFile(shard.file.name, permissions(shard.file.mode), metadata, tuple(after)))
        else:
            emptied.append(shard.file.name)
    if checkpoint.index is not None:
        files.extend(_index_after(checkpoint, checkpoint.index, files, changes))
    return tuple(files), tuple(emptied)


def text_file(checkpoint: Checkpoint, document: Document, text: str) -> TextFile:
    """A JSON file of the checkpoint with new text and the mode that it has."""
    entry = checkpoint.file(document.source)
    return TextFile(document.source, permissions(entry.mode) if entry else 0o644, text.encode())


def permissions(mode: int) -> int:
    """The permission bits of a st_mode."""
    return mode & 0o7777


def _tensors_after(checkpoint: Checkpoint, names: Sequence[str], changes: TensorChanges) -> list[PlannedTensor]:
    after = []
    for name in names:
        if name in changes.added:
            after.append(changes.added[name])
        if name not in changes.removed:
            after.append(changes.rewritten.get(name) or copied(checkpoint.tensors[name]))
    return after


def _index_after(
    checkpoint: Checkpoint, index: Index, files: Sequence[OutputFile], changes: TensorChanges
) -> list[TextFile]:
    """The index with names and totals brought up to date, in its own order; nothing when it stays the same."""
    weight_map = {name: shard for name, shard in index.weight_map.items() if name not in changes.removed}
    weight_map |= {tensor.name: file.name for file in files for tensor in file.tensors}
    if list(index.weight_map) == sorted(index.weight_map):
        weight_map = dict(sorted(weight_map.items()))
    value = index.document.value
    metadata = dict(value.get("metadata") or {}) if isinstance(value, dict) else {}
    metadata |= _totals_after(checkpoint, metadata, changes)
    members = {"metadata": metadata, "weight_map": weight_map}
    changed = {key: new for key, new in members.items() if isinstance(value, dict) and value.get(key, {}) != new}
    if not changed:
        return []
    return [text_file(checkpoint, index.document, replace_members(index.document, changed))]


def _totals_after(checkpoint: Checkpoint, metadata: Mapping[str, object], changes: TensorChanges) -> dict[str, object]:
    """`total_size` (bytes) and `total_parameters`, where the index states them."""
    tensors = {name: (tensor.nbytes, tensor.shape) for name, tensor in checkpoint.tensors.items()}
    tensors = {name: facts for name, facts in tensors.items() if name not in changes.removed}
    for tensor in (*changes.rewritten.values(), *changes.added.values()):
        tensors[tensor.name] = (tensor.nbytes, tensor.shape)
    totals: dict[str, object] = {}
    if "total_size" in metadata:
        totals["total_size"] = sum(nbytes for nbytes, _ in tensors.values())
    if "total_parameters" in metadata:
        totals["total_parameters"] = sum(math.prod(shape) for _, shape in tensors.values())
    return totals
