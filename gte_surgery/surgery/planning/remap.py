"""Plans a `Remap`: every vocabulary-sized tensor gets the rows that the map chooses, the pad row becomes zero, and
config.json says where the pad and the special ids went. Reads no tensor but the row that becomes the pad row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checkpoint.rows import is_zero, read_rows
from gte_surgery.errors import RefusedError
from gte_surgery.surgery.edits import Remap
from gte_surgery.surgery.pieces.cutting import merge
from gte_surgery.surgery.pieces.piece import Piece
from gte_surgery.surgery.planning.meaning import CONFIG_IDS
from gte_surgery.surgery.planning.meaning_of_remap import meaning_of_remap
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
from gte_surgery.vocabulary.row_map import RowMap
from gte_surgery.vocabulary.token_files import CONTRACTED, TOKENIZER_FILES
from gte_surgery.vocabulary.tokenizer import read_tokenizer


def plan_remap(target: Target, edit: Remap) -> Plan:
    """The plan of `edit` on a sound checkpoint; raises RefusedError where the two do not fit. Nothing to do: an empty
    plan.
    """
    _refuse_misfits(target, edit)
    pad = _pad(target, edit)
    refuse_pad_beyond_positions(target, pad)
    kept = len(edit.origins.new)
    given = given_rows(edit.init, target.tensors[target.names.words], edit.wanted - kept, edit.rows - kept)
    sidecars = TOKENIZER_FILES if edit.tokenizer == "remove" else ()
    return assembled(
        target.checkpoint,
        edit,
        rewrite(target.checkpoint, TensorChanges(dict(_rewritten(target, edit, pad, given)))),
        _config_members(target, edit, pad),
        removed=tuple(name for name in sidecars if target.checkpoint.has(name)),
        meaning=meaning_of_remap(target, edit, pad),
        read=(given.source,) if given is not None else (),
    )


def _refuse_misfits(target: Target, edit: Remap) -> None:
    words, origins = word_table(target), edit.origins
    held = words.shape[0]
    for at, old in enumerate(origins.old):
        if old >= held:
            entry = bisect_right(origins.offsets, at) - 1
            raise RefusedError(
                f"{origins.places[entry]}: old id {old}, the table has rows 0 to {held - 1}",
                "is the map made for this checkpoint?",
            )
    has_fresh = len(origins.new) < edit.rows
    if has_fresh:
        refuse_absent_row(words, edit.init)
    if (has_fresh and is_computed(edit.init)) or len(origins.old) > len(origins.new):
        refuse_uncountable(words, "use --init zeros, and a map from ids to ids")


def _pad(target: Target, edit: Remap) -> int | None:
    """The new pad id: as asked for, else where the map takes the old one; None where there never was one."""
    old = target.config.pad_token_id
    if edit.pad is not None or old is None:
        return edit.pad
    new = edit.origins.new_id(old)
    if new is None:
        raise RefusedError(f"pad: row {old}, the pad row, gets no new id", "say which new id is to pad: --pad ID")
    return new


def _config_members(target: Target, edit: Remap, pad: int | None) -> dict[str, object]:
    """vocab_size, pad_token_id and the special ids that config.json has, with their new values."""
    special = {key: _followed(target.values[key], edit.origins) for key in CONFIG_IDS if key in target.values}
    special |= {f"{role}_token_id": number for role, number in (_told(target, edit) | dict(edit.roles)).items()}
    sizes = {"vocab_size": edit.rows, "pad_token_id": pad}
    return special | {key: value for key, value in sizes.items() if value != getattr(target.config, key)}


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
    target: Target, edit: Remap, pad: int | None, given: GivenRows | None
) -> Iterator[tuple[str, PlannedTensor]]:
    """(stored name, tensor) for each tensor that gets new bytes."""
    for canonical in target.names.sized_by_vocabulary:
        tensor = target.tensors.get(canonical)
        if tensor is None:
            continue
        source = row_source(target, edit, given, canonical)
        is_words = source.stream == target.names.words
        zeroed = {} if pad is None or not is_words else _zero_row(tensor, source, edit.origins, pad)
        pieces = tuple(merge(source.chosen(edit.origins, edit.rows, zeroed)))
        yield tensor.name, PlannedTensor(tensor.name, tensor.dtype, (edit.rows, *tensor.shape[1:]), pieces)


def _zero_row(tensor: StoredTensor, source: RowSource, origins: RowMap, pad: int) -> dict[int, Piece]:
    """The pad row as a piece of its own, unless the row that the map puts there is zero already."""
    origin = origins.origin(pad)
    if len(origin) == 1 and is_zero(read_rows(tensor, origin[0]), tensor.dtype):
        return {}
    return {pad: source.zeros(pad, pad + 1)}
