"""From "these tensors change" to output files: only the shards that hold a changed tensor are rewritten, all else is
copied byte for byte; the index follows; and from these and the members of config.json to the plan. Every surgery on an
existing checkpoint ends here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gte_surgery.checkpoint.directory import Checkpoint, Index, Shard, StoredTensor
from gte_surgery.checkpoint.headers.header import TensorEntry
from gte_surgery.checkpoint.json.strict import Document, replace_members
from gte_surgery.surgery.edits import Edit, as_record
from gte_surgery.surgery.pieces.piece import CopyRange
from gte_surgery.surgery.planning.plan import (
    ConfigChange,
    OutputFile,
    PlainFile,
    Plan,
    PlannedTensor,
    SourceFile,
    WeightFile,
)

Files = tuple[tuple[OutputFile, ...], tuple[str, ...]]
"""Files to write, and names of weight files that are to go."""


@dataclass(frozen=True, slots=True)
class TensorChanges:
    """What happens to the tensors of a checkpoint: some get new bytes, some go, some come (each before another one)."""

    rewritten: Mapping[str, PlannedTensor] = field(default_factory=dict)
    removed: Collection[str] = ()
    added: Mapping[str, PlannedTensor] = field(default_factory=dict)
    """The new tensor, by the name of the stored tensor that it is put before."""


def source_files(checkpoint: Checkpoint) -> tuple[SourceFile, ...]:
    """The weight files of a sound checkpoint, as pieces refer to them."""
    return tuple(SourceFile.of(shard.file, shard.header.digest) for shard in checkpoint.shards if shard.header)


def copied(tensor: StoredTensor) -> PlannedTensor:
    """The tensor as it is."""
    begin = tensor.file_begin
    piece = CopyRange(tensor.shard.file.name, begin, begin + tensor.nbytes)
    return PlannedTensor(tensor.name, tensor.dtype, tensor.shape, (piece,))


def rewrite(checkpoint: Checkpoint, changes: TensorChanges) -> Files:
    """The files that `changes` make; see `regroup`."""
    shards = {
        shard.file.name: _tensors_after(checkpoint, [entry.name for entry in _entries(shard)], changes)
        for shard in checkpoint.shards
    }
    return regroup(checkpoint, shards)


def regroup(checkpoint: Checkpoint, shards: Mapping[str, Sequence[PlannedTensor]]) -> Files:
    """The files to write so that each shard holds the given tensors: shards that differ, then the index if it does.

    With them come the names of the shards that are left without a tensor.
    """
    files: list[OutputFile] = []
    emptied: list[str] = []
    for shard in checkpoint.shards:
        name, after = shard.file.name, tuple(shards[shard.file.name])
        if name not in checkpoint.restated and _is_untouched(checkpoint, shard, after):
            continue
        if after:
            files.append(WeightFile(name, permissions(shard.file.mode), metadata_of(shard), after))
        else:
            emptied.append(name)
    if checkpoint.index is not None:
        files.extend(_index_after(checkpoint, checkpoint.index, shards))
    return tuple(files), tuple(emptied)


def metadata_of(shard: Shard) -> tuple[tuple[str, str], ...]:
    """The metadata of a shard that is written anew: its own, and the format that transformers 4 wants to find there
    [transformers 4.57.6, modeling_utils.py, load_state_dict: `format` must be "pt", "tf", "flax" or "mlx"].
    """
    found = (shard.header.metadata if shard.header else None) or ()
    return (*(pair for pair in found if pair[0] != "format"), ("format", "pt"))


def edited_config(
    checkpoint: Checkpoint, members: Mapping[str, object], removed: Collection[str] = ()
) -> tuple[tuple[OutputFile, ...], tuple[ConfigChange, ...]]:
    """config.json with these members set and those removed, all else to the byte, and the changes; nothing if none."""
    document = checkpoint.config
    if document is None or not isinstance(document.value, dict):
        return (), ()
    before = document.value
    changed = {key: value for key, value in members.items() if key not in before or not is_same(before[key], value)}
    gone = tuple(key for key in removed if key in before)
    if not changed and not gone:
        return (), ()
    changes = [ConfigChange(key, before.get(key), value) for key, value in changed.items()]
    changes += [ConfigChange(key, before[key], None) for key in gone]
    return (text_file(checkpoint, document, replace_members(document, changed, gone)),), tuple(changes)


def is_same(one: object, other: object) -> bool:
    """Whether two JSON values are equal and of one type: 1, 1.0 and true are three values."""
    return type(one) is type(other) and one == other


def text_file(checkpoint: Checkpoint, document: Document, text: str) -> PlainFile:
    """A JSON file of the checkpoint with new text and the mode that it has."""
    entry = checkpoint.file(document.source)
    return PlainFile(document.source, permissions(entry.mode) if entry else 0o644, text.encode())


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


def _is_untouched(checkpoint: Checkpoint, shard: Shard, after: Sequence[PlannedTensor]) -> bool:
    entries = _entries(shard)
    if len(entries) != len(after):
        return False
    return all(planned == copied(checkpoint.tensors[e.name]) for e, planned in zip(entries, after, strict=True))


def _index_after(
    checkpoint: Checkpoint, index: Index, shards: Mapping[str, Sequence[PlannedTensor]]
) -> list[PlainFile]:
    """The index with names and totals brought up to date, its own order kept; nothing when it stays the same."""
    found = {tensor.name: name for name, tensors in shards.items() for tensor in tensors}
    kept = {name: found[name] for name in index.weight_map if name in found}
    weight_map = kept | {name: shard for name, shard in found.items() if name not in kept}
    if list(index.weight_map) == sorted(index.weight_map):
        weight_map = dict(sorted(weight_map.items()))
    value = index.document.value
    former = value.get("metadata") if isinstance(value, dict) else None
    metadata = dict(former) if isinstance(former, dict) else {}
    metadata |= _totals([tensor for tensors in shards.values() for tensor in tensors], metadata)
    members = {"metadata": metadata, "weight_map": weight_map}
    changed = {key: new for key, new in members.items() if isinstance(value, dict) and value.get(key, {}) != new}
    if not changed:
        return []
    return [text_file(checkpoint, index.document, replace_members(index.document, changed))]


def _totals(tensors: Sequence[PlannedTensor], metadata: Mapping[str, object]) -> dict[str, object]:
    """`total_size` (bytes) and `total_parameters`, where the index states them."""
    totals: dict[str, object] = {
        "total_size": sum(tensor.nbytes for tensor in tensors),
        "total_parameters": sum(tensor.size for tensor in tensors),
    }
    return {key: total for key, total in totals.items() if key in metadata}


def _entries(shard: Shard) -> tuple[TensorEntry, ...]:
    return shard.header.tensors if shard.header is not None else ()


def assembled(
    checkpoint: Checkpoint,
    edit: Edit,
    weights: Files,
    members: Mapping[str, object] | None = None,
    *,
    dropped: Collection[str] = (),
    removed: tuple[str, ...] = (),
    meaning: Iterable[str] = (),
    read: tuple[SourceFile, ...] = (),
) -> Plan:
    """The plan that writes `weights`, sets the config's `members`, drops others from it and removes files.

    Beside the weights it reads the files `read`. Its command is the edit's name. A plan with nothing to do has no
    meaning, and then `meaning` is not asked for it.
    """
    written, emptied = weights
    config, changes = edited_config(checkpoint, members or {}, dropped)
    files, gone = written + config, emptied + removed
    return Plan(
        command=type(edit).__name__.lower(),
        source=checkpoint.name,
        edits=as_record(edit),
        seed=getattr(edit, "seed", None),
        sources=(*source_files(checkpoint), *(read if written else ())),
        files=files,
        removed=gone,
        changes=changes,
        meaning=tuple(meaning) if files or gone else (),
    )
