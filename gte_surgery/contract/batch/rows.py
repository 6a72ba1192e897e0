"""What is wrong with the values of a batch, row by row in plain Python: each offence with its row, column and value.

Slow and exact, the same for every framework. `verdict` spares a clean batch the way through here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from math import isfinite
from typing import Any

from gte_surgery.contract.batch.offences import Offence, Offences
from gte_surgery.contract.batch.structure import EMBEDS, IDS, LABELS, MASK, POSITIONS, TYPES, Frame
from gte_surgery.contract.frameworks import Member
from gte_surgery.contract.terms import Terms
from gte_surgery.findings import Finding

_HUGE = -1000.0
"""What is added to attention scores to switch a position off is below this in every code base."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a batch; what is absent or unsound is None. `has_mask` holds for an unsound mask as well."""

    has_mask: bool
    ids: list[int] | None
    mask: list[int] | None
    types: list[int] | None
    positions: list[int] | None
    labels: list[int] | None
    embeds: list[list[float]] | None


def offences_of(frame: Frame, contract: Terms) -> list[Finding]:
    """All findings about the values of the members, in order of code."""
    offences = Offences(contract)
    mask = frame.members.get(MASK)
    if mask is not None and _is_spoilt(frame, mask, contract, offences):
        del frame.members[MASK]
    has_label = False
    for number, row in enumerate(_rows(frame)):
        for offence in _row_offences(row, contract):
            offences.add(number, offence)
        has_label = has_label or any(label != contract.ignore_label for label in row.labels or ())
    if LABELS in frame.members and not has_label:
        offences.add_whole("GTE454", LABELS, f"every label is {contract.ignore_label}, one must be another")
    return offences.findings()


def _rows(frame: Frame) -> Iterator[_Row]:
    members = [frame.members.get(name) for name in (IDS, MASK, TYPES, POSITIONS, LABELS, EMBEDS)]
    columns = [_column(each) for each in members]
    for _ in range(frame.grid[0]):
        yield _Row(frame.has_mask, *map(next, columns))


def _column(each: Member | None) -> Iterator[Any]:
    """The rows of a member; a single one again and again."""
    if each is None:
        return repeat(None)
    return repeat(next(each.rows())) if each.shape[0] == 1 else each.rows()


def _is_spoilt(frame: Frame, mask: Member, contract: Terms, offences: Offences) -> bool:
    """Whether the mask as a whole means something else than a mask, which is then told once and not for each value."""
    values: set[float] = set()
    is_inverted = IDS in frame.members
    for row, row_ids in zip(mask.rows(), _column(frame.members.get(IDS)), strict=False):
        values.update(row if mask.kind != "other" else ())
        is_inverted = is_inverted and all(
            kept == (number == contract.pad_token_id) for kept, number in zip(row, row_ids, strict=True)
        )
    negative = [value for value in values if value != 0]
    if 0 in values and negative and max(negative) <= _HUGE:
        offences.add_whole("GTE424", MASK, f"values 0 and {min(negative):g}, must be 1 for tokens and 0 for pads")
    elif mask.kind not in ("booleans", "integers"):
        offences.add_whole("GTE423", MASK, f"{mask.dtype}, must be integers or booleans")
    elif is_inverted and values == {0, 1}:
        offences.add_whole("GTE426", MASK, "1 at pads and 0 at tokens, must be the other way round")
    else:
        return False
    return True


def _row_offences(row: _Row, contract: Terms) -> Iterator[Offence]:
    if row.ids is not None:
        yield from _outside(row.ids, contract.vocab_size, "GTE413", "GTE414", IDS)
    if row.types is not None:
        yield from _type_offences(row.types, contract)
    if row.positions is not None:
        yield from _outside(row.positions, contract.max_length, "GTE461", "GTE462", POSITIONS)
    if row.embeds is not None:
        yield from _embed_offences(row.embeds)
    mismatches = list(_mask_offences(row, contract))
    yield from mismatches
    kept = _kept(row, contract)
    if not mismatches and kept is not None:
        yield from _shape_offences(row, kept, contract)
    if row.labels is not None:
        yield from _label_offences(row.labels, _pads(row, kept, contract), contract)


def _outside(values: list[int], limit: int, below: str, beyond: str, name: str) -> Iterator[Offence]:
    """Values below 0 or not below `limit`."""
    if min(values) < 0:
        yield from (Offence(below, name, at, value) for at, value in enumerate(values) if value < 0)
    if max(values) >= limit:
        yield from (Offence(beyond, name, at, value) for at, value in enumerate(values) if value >= limit)


def _type_offences(types: list[int], contract: Terms) -> Iterator[Offence]:
    if contract.type_vocab_size > 0:
        yield from _outside(types, contract.type_vocab_size, "GTE441", "GTE442", TYPES)
    elif any(types):
        yield from (Offence("GTE443", TYPES, at, value) for at, value in enumerate(types) if value != 0)


def _embed_offences(embeds: list[list[float]]) -> Iterator[Offence]:
    for at, vector in enumerate(embeds):
        strange = [value for value in vector if not isfinite(value)]
        if strange:
            yield Offence("GTE473", EMBEDS, at, strange[0])


def _mask_offences(row: _Row, contract: Terms) -> Iterator[Offence]:
    """Values of the mask, and where it and the pads disagree."""
    pad = contract.pad_token_id
    if row.mask is None:
        if row.ids is not None and not row.has_mask and pad in row.ids:
            yield from (Offence("GTE420", IDS, at, pad) for at, number in enumerate(row.ids) if number == pad)
        return
    for at, value in enumerate(row.mask):
        number = row.ids[at] if row.ids is not None else None
        if value not in (0, 1):
            yield Offence("GTE425", MASK, at, value)
        elif value and number == pad:
            yield Offence("GTE427", MASK, at, pad)
        elif not value and number not in (None, pad):
            yield Offence("GTE428", MASK, at, number)


def _kept(row: _Row, contract: Terms) -> list[bool] | None:
    """Where the row has tokens; None where a mask that makes no sense leaves that open."""
    if row.mask is not None:
        return [value != 0 for value in row.mask]
    if row.has_mask:
        return None
    if row.ids is not None:
        return [number != contract.pad_token_id for number in row.ids]
    return [True] * len(row.embeds or ())


def _pads(row: _Row, kept: list[bool] | None, contract: Terms) -> list[bool]:
    """Where the row has padding beyond dispute."""
    if kept is None:
        return []
    ids = row.ids if row.ids is not None else repeat(contract.pad_token_id)
    return [not is_kept and number == contract.pad_token_id for is_kept, number in zip(kept, ids, strict=False)]


def _shape_offences(row: _Row, kept: list[bool], contract: Terms) -> Iterator[Offence]:
    """How tokens and pads lie in a row whose mask and pads agree; without a mask there are no pads."""
    if True not in kept:
        yield Offence("GTE429", MASK, None, None)
        return
    begin, end = kept.index(True), len(kept) - kept[::-1].index(True)
    if False in kept[begin:end]:
        yield Offence("GTE430", MASK, kept.index(False, begin), None)
    elif begin > 0 and contract.padding_side == "right":
        yield Offence("GTE431", MASK, 0, begin)
    elif end < len(kept) and contract.padding_side == "left":
        yield Offence("GTE431", MASK, end, len(kept) - end)
    if row.ids is not None and contract.cls_token_id not in (None, row.ids[begin]):
        yield Offence("GTE416", IDS, begin, row.ids[begin])
    if row.positions is not None:
        yield from _position_offences(row.positions, kept, contract)


def _position_offences(positions: list[int], kept: list[bool], contract: Terms) -> Iterator[Offence]:
    found = [position for position, is_kept in zip(positions, kept, strict=True) if is_kept]
    wanted = range(len(found))
    if found != list(wanted) and all(0 <= position < contract.max_length for position in found):
        at = [at for at, is_kept in enumerate(kept) if is_kept]
        wrong = next(number for number in wanted if found[number] != number)
        yield Offence("GTE463", POSITIONS, at[wrong], found[wrong])


def _label_offences(labels: list[int], pads: list[bool], contract: Terms) -> Iterator[Offence]:
    for at, label in enumerate(labels):
        if label == contract.ignore_label:
            continue
        if label < 0:
            yield Offence("GTE451", LABELS, at, label)
        elif label >= contract.vocab_size:
            yield Offence("GTE452", LABELS, at, label)
        elif pads and pads[at]:
            yield Offence("GTE453", LABELS, at, label)
