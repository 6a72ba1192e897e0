"""Plans what moves the rows of the vocabulary, a `Resize` or a `Remap`: every vocabulary-sized tensor gets its new
rows, the pad row becomes zero, the type table follows, and config.json says where the pad and the special ids went.
Reads no tensor but the one row that becomes the pad row and those that the plan talks about in words.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checkpoint.shards import is_zero, read_rows
from gte_surgery.errors import RefusedError
from gte_surgery.surgery.edits import Edit, Remap, Resize
from gte_surgery.surgery.pieces.cutting import merge
from gte_surgery.surgery.pieces.piece import AddRow, Piece
from gte_surgery.surgery.planning.meaning import meaning_of_remap, meaning_of_resize
from gte_surgery.surgery.planning.parts.given import GivenRows, given_rows
from gte_surgery.surgery.planning.parts.rewrite import TensorChanges, assembled, rewrite
from gte_surgery.surgery.planning.parts.row_changes import as_remap
from gte_surgery.surgery.planning.parts.tables import (
    RowSource,
    is_computed,
    refuse_absent_row,
    refuse_pad_beyond_positions,
    refuse_uncountable,
    row_source,
    table_of,
    word_table,
)
from gte_surgery.surgery.planning.parts.types import folds, refuse_types, type_table
from gte_surgery.surgery.planning.plan import Plan, PlannedTensor
from gte_surgery.surgery.planning.roles import CONFIG_IDS, endangered
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.row_map import RowMap
from gte_surgery.vocabulary.token_files import CONTRACTED, TOKENIZER_FILES
from gte_surgery.vocabulary.tokenizer import read_tokenizer


def plan_rows(target: Target, edit: Resize | Remap, asked: Edit | None = None) -> Plan:
    """The plan of `edit` on a sound checkpoint, kept as that of the edit that was `asked` for where it was made of
    another. Raises RefusedError where edit and checkpoint do not fit. Nothing to do: an empty plan.
    """
    moved = as_remap(target, edit)
    _refuse_misfits(target, edit, moved)
    given, types = _given(target, edit, moved), type_table(target, edit)
    rewritten = {**dict(_rewritten(target, edit, moved, given)), **types.rewritten}
    sidecars = TOKENIZER_FILES if edit.tokenizer == "remove" else ()
    plan = assembled(
        target.checkpoint,
        asked or edit,
        rewrite(target.checkpoint, TensorChanges(rewritten, types.removed, types.added)),
        _config_members(target, edit, moved),
        removed=tuple(filter(target.checkpoint.has, sidecars)),
        meaning=_meaning(target, edit, moved),
        read=(given.source,) if given is not None else (),
    )
    return replace(plan, curve=moved.origins.curve)


def _meaning(target: Target, edit: Resize | Remap, moved: Remap) -> Iterator[str]:
    if isinstance(edit, Resize):
        yield from endangered(target, edit)
        yield from meaning_of_resize(target, edit)
    else:
        yield from meaning_of_remap(target, moved)


def _refuse_misfits(target: Target, edit: Resize | Remap, moved: Remap) -> None:
    words, origins = word_table(target), moved.origins
    held = words.shape[0]
    if max(origins.old, default=0) >= held:
        at, old = next((at, old) for at, old in enumerate(origins.old) if old >= held)
        place = origins.places[bisect_right(origins.offsets, at) - 1]
        message = f"{place}: old id {old}, the table has rows 0 to {held - 1}"
        raise RefusedError(message, "is the map made for this checkpoint?")
    refuse_pad_beyond_positions(target, moved.pad)
    is_fresh = len(origins.new) < moved.rows
    if is_fresh:
        refuse_absent_row(words, moved.init)
    is_made = (is_fresh and is_computed(moved.init)) or len(origins.old) > len(origins.new)
    if isinstance(edit, Resize):
        if is_made or edit.old_pad == "normal" or folds(target, edit):
            refuse_uncountable(words, "use --init zeros, and --type-vocab-mode drop for the type vocabulary")
        refuse_types(target, edit)
    elif is_made:
        refuse_uncountable(words, "use --init zeros, and a map from ids to ids")


def _given(target: Target, edit: Resize | Remap, moved: Remap) -> GivenRows | None:
    """The rows of a file for the new ones; None where a table that is resized has its rows already."""
    words, kept = target.tensors[target.names.words], len(moved.origins.new)
    if isinstance(edit, Resize) and moved.rows == kept == words.shape[0]:
        return None
    wanted = max(edit.vocab, moved.origins.rows) if isinstance(edit, Resize) else moved.wanted
    return given_rows(moved.init, words, wanted - kept, moved.rows - kept)


def _config_members(target: Target, edit: Resize | Remap, moved: Remap) -> dict[str, object]:
    """The sizes and the pad id that change, and the special ids that config.json has, with their new values."""
    special: dict[str, object] = {}
    sizes = {"vocab_size": moved.rows, "pad_token_id": moved.pad}
    if isinstance(edit, Resize):
        sizes = {"pad_token_id": edit.pad, "vocab_size": edit.rows, "type_vocab_size": edit.type_vocab}
    else:
        special |= {key: _followed(target.values[key], edit.origins) for key in CONFIG_IDS if key in target.values}
        special |= {f"{role}_token_id": number for role, number in (_told(target, edit) | dict(edit.roles)).items()}
    changed = {key: size for key, size in sizes.items() if size is not None and size != getattr(target.config, key)}
    return special | changed


def _told(target: Target, edit: Remap) -> dict[str, int]:
    """The new ids of the parts that a tokenizer told of and tells of no longer: it goes, or stays with the old ids."""
    if edit.tokenizer == "rewrite":
        return {}
    ids = read_tokenizer(target.checkpoint).ids
    found = {role: edit.origins.new_id(ids[role]) for role in CONTRACTED if role in ids}
    return {role: number for role, number in found.items() if number is not None}


def _followed(value: object, origins: RowMap) -> object:
    """A special id, or a list of them, after the map; None for one that is no more. Anything else stays as it is."""
    if isinstance(value, list):
        followed = [_followed(item, origins) for item in value]
        return [item for item in followed if item is not None]
    return origins.new_id(value) if type(value) is int else value


def _rewritten(
    target: Target, edit: Resize | Remap, moved: Remap, given: GivenRows | None
) -> Iterator[tuple[str, PlannedTensor]]:
    """(stored name, tensor) for each tensor that has a row for each id, with the type row folded in where it goes."""
    for canonical in target.names.sized_by_vocabulary:
        tensor = target.tensors.get(canonical)
        if tensor is None:
            continue
        source = row_source(target, moved, given, canonical)
        is_words = source.stream == target.names.words
        single = _single_rows(target, edit, moved, source, tensor) if is_words else {}
        pieces = tuple(merge(source.chosen(moved.origins, moved.rows, single)))
        if is_words and moved.pad is not None and folds(target, edit):
            row, zero = RowSource(table_of(target.tensors[target.names.types])).kept(0, 1), single[moved.pad]
            pieces = tuple(piece if piece is zero else AddRow(piece, row, tensor.dtype) for piece in pieces)
        yield tensor.name, PlannedTensor(tensor.name, tensor.dtype, (moved.rows, *tensor.shape[1:]), pieces)


def _single_rows(
    target: Target, edit: Resize | Remap, moved: Remap, source: RowSource, tensor: StoredTensor
) -> dict[int, Piece]:
    """The rows of the word table, or of the decoder weight that is its copy, that are pieces of their own: the pad row,
    unless what comes there is zero already, and the old pad row where it is drawn anew.
    """
    single: dict[int, Piece] = {}
    pad, old = moved.pad, target.config.pad_token_id
    if isinstance(edit, Resize) and edit.old_pad == "normal" and old is not None and old != pad:
        single |= {row: source.drawn(row, row + 1) for row in (old,) if 0 <= row < edit.rows}
    if pad is None:
        return single
    origin = moved.origins.origin(pad)
    is_kept = len(origin) == 1 and not folds(target, edit)
    if not (is_kept and is_zero(read_rows(tensor, origin[0]), tensor.dtype)):
        single[pad] = source.zeros(pad, pad + 1)
    return single
