"""Plans a `Resize`: every vocabulary-sized tensor gets its new rows, the pad row becomes zero, the type table
follows, and config.json says so. Reads no tensor but the one row that becomes the pad row and those that the plan
talks about in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from gte_surgery.checkpoint.directory import Checkpoint, StoredTensor
from gte_surgery.checkpoint.rows import is_zero, read_rows
from gte_surgery.errors import RefusedError
from gte_surgery.gte.config import GteConfig
from gte_surgery.surgery.edits import Resize
from gte_surgery.surgery.pieces.piece import AddRow, Fill, Piece, element_bytes
from gte_surgery.surgery.planning.meaning import meaning_of_resize
from gte_surgery.surgery.planning.parts.given import GivenRows, given_rows
from gte_surgery.surgery.planning.parts.rewrite import TensorChanges, assembled, rewrite
from gte_surgery.surgery.planning.parts.tables import (
    RowSource,
    is_computed,
    refuse_absent_row,
    refuse_pad_beyond_positions,
    refuse_uncountable,
    row_source,
    word_table,
)
from gte_surgery.surgery.planning.plan import Plan, PlannedTensor
from gte_surgery.surgery.planning.target import Target
from gte_surgery.surgery.planning.tokens.roles import endangered
from gte_surgery.vocabulary.token_files import TOKENIZER_FILES


def plan_resize(target: Target, edit: Resize) -> Plan:
    """The plan of `edit` on a sound checkpoint; raises RefusedError where the two do not fit. Nothing to do: an empty
    plan.
    """
    _refuse_misfits(target, edit)
    given = _given(target, edit)
    changes = TensorChanges(dict(_rewritten(target, edit, given)), _removed(target, edit), _added(target, edit))
    return assembled(
        target.checkpoint,
        edit,
        rewrite(target.checkpoint, changes),
        _config_members(target.config, edit),
        removed=_removed_sidecars(target.checkpoint, edit),
        meaning=chain(endangered(target, edit), meaning_of_resize(target, edit)),
        read=(given.source,) if given is not None else (),
    )


def _given(target: Target, edit: Resize) -> GivenRows | None:
    """The rows of a file for the new ones; None where the table has its rows already."""
    words = target.tensors[target.names.words]
    held, again = words.shape[0], len(edit.renewed)
    if edit.rows == held and not again:
        return None
    return given_rows(edit.init, words, max(0, edit.vocab - held) + again, max(0, edit.rows - held) + again)


def _refuse_misfits(target: Target, edit: Resize) -> None:
    words, types = word_table(target), target.tensors.get(target.names.types)
    _refuse_types(target, edit)
    refuse_pad_beyond_positions(target, edit.pad)
    is_fresh = edit.rows > words.shape[0] or bool(edit.renewed)
    if is_fresh:
        refuse_absent_row(words, edit.init)
    draws = (is_fresh and is_computed(edit.init)) or edit.old_pad == "normal"
    if draws or folds(target, edit):
        refuse_uncountable(words, "use --init zeros, and --type-vocab-mode drop for the type vocabulary")
    if folds(target, edit) and types is not None and types.dtype != words.dtype:
        raise RefusedError(
            f"{types.shard.file.name}: `{types.name}`: dtype {types.dtype}, cannot be added to {words.dtype} rows",
            "give both tables one dtype first, or use --type-vocab-mode drop",
        )


def _refuse_types(target: Target, edit: Resize) -> None:
    """Raises RefusedError for a number of types that no model of the family runs with."""
    facts, wanted = target.family.facts, edit.type_vocab
    if wanted and not facts.has_types:
        raise RefusedError(f"type vocabulary: {wanted}, a {target.family.name} model has no token types")
    if wanted is not None and wanted < facts.least_types:
        raise RefusedError(
            f"type vocabulary: {wanted}, a {target.family.name} model runs with at least {facts.least_types}",
            f"--type-vocab {facts.least_types} folds row 0 into the words and leaves a row of zeros",
        )


def _config_members(config: GteConfig, edit: Resize) -> dict[str, object]:
    """The members of config.json that change, with their new values."""
    wanted = {"pad_token_id": edit.pad, "vocab_size": edit.rows, "type_vocab_size": edit.type_vocab}
    return {key: value for key, value in wanted.items() if value is not None and getattr(config, key) != value}


def _rewritten(target: Target, edit: Resize, given: GivenRows | None) -> Iterator[tuple[str, PlannedTensor]]:
    """(stored name, tensor) for each tensor that gets new bytes."""
    for canonical in (*target.names.sized_by_vocabulary, target.names.types):
        tensor = target.tensors.get(canonical)
        planned = _successor(target, edit, given, canonical, tensor) if tensor is not None else None
        if planned is not None:
            yield planned.name, planned


def _successor(
    target: Target, edit: Resize, given: GivenRows | None, canonical: str, tensor: StoredTensor
) -> PlannedTensor | None:
    """The tensor as the edit makes it; None when it stays as it is."""
    if canonical == target.names.types:
        if edit.type_vocab and folds(target, edit):
            zeros = RowSource(tensor).zeros(0, edit.type_vocab)
            return PlannedTensor(tensor.name, tensor.dtype, (edit.type_vocab, *tensor.shape[1:]), (zeros,))
        return _table(RowSource(tensor, "copy:0"), edit.type_vocab or tensor.shape[0])
    source = row_source(target, edit, given, canonical)
    return (
        _word_table(target, tensor, source, edit) if source.stream == target.names.words else _table(source, edit.rows)
    )


def _removed(target: Target, edit: Resize) -> tuple[str, ...]:
    types = target.tensors.get(target.names.types)
    return (types.name,) if types is not None and edit.type_vocab == 0 else ()


def _added(target: Target, edit: Resize) -> dict[str, PlannedTensor]:
    """A type table of zero rows, put before the word table, where there was none."""
    if not edit.type_vocab or target.names.types in target.tensors:
        return {}
    words = target.tensors[target.names.words]
    shape = (edit.type_vocab, target.config.hidden_size)
    zeros = Fill(bytes(element_bytes(words.dtype)), shape[0] * shape[1])
    name = target.family.naming.stored(target.names.types, target.layout)
    return {words.name: PlannedTensor(name, words.dtype, shape, (zeros,))}


def _removed_sidecars(checkpoint: Checkpoint, edit: Resize) -> tuple[str, ...]:
    return tuple(name for name in TOKENIZER_FILES if checkpoint.has(name)) if edit.tokenizer == "remove" else ()


def _table(source: RowSource, rows: int) -> PlannedTensor | None:
    """The table with `rows` rows; None when it has them already."""
    if rows == source.held and not source.renewed:
        return None
    tensor = source.tensor
    return PlannedTensor(tensor.name, tensor.dtype, (rows, *tensor.shape[1:]), tuple(source.resized(rows, {}).values()))


def _word_table(target: Target, tensor: StoredTensor, source: RowSource, edit: Resize) -> PlannedTensor | None:
    """The word table, or the stored decoder weight that is its copy: resized, pad row zero, type row folded in."""
    again = edit.renewed
    single: dict[int, Piece] = {}
    old_pad = target.config.pad_token_id
    if edit.old_pad == "normal" and old_pad is not None and old_pad != edit.pad and 0 <= old_pad < edit.rows:
        single[old_pad] = source.drawn(old_pad, old_pad + 1)
    is_new = edit.pad >= source.held or edit.pad in again
    if is_new or folds(target, edit) or not is_zero(read_rows(tensor, edit.pad), tensor.dtype):
        single[edit.pad] = source.zeros(edit.pad, edit.pad + 1)
    if edit.rows == source.held and not single and not again:
        return None
    pieces = source.resized(edit.rows, single)
    if not folds(target, edit):
        return PlannedTensor(tensor.name, tensor.dtype, (edit.rows, source.width), tuple(pieces.values()))
    row = RowSource(target.tensors[target.names.types]).kept(0, 1)
    folded = [p if first == edit.pad else AddRow(p, row, tensor.dtype) for first, p in pieces.items()]
    return PlannedTensor(tensor.name, tensor.dtype, (edit.rows, source.width), tuple(folded))


def folds(target: Target, edit: Resize) -> bool:
    """Whether type row 0 is added to the word rows before the type table goes, or becomes zeros where it must stay."""
    types = target.tensors.get(target.names.types)
    is_least = edit.type_vocab == target.family.facts.least_types and types is not None
    return edit.type_vocab_mode == "fold" and is_least and types is not None and types.shape[0] != edit.type_vocab
