"""Rows out of plain arrays: [rows, columns] integers, or flat ids that `offsets` cut into rows.

What the arrays lie in, a .npy file, a zip member or a safetensors file, is left to `array_files`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Protocol

import numpy as np

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import SHAPE_FAULTS, CorpusError, Fault
from gte_surgery.contract.scan.judging.blocks import Array, Ragged, RawBlock
from gte_surgery.contract.scan.portions import BLOCK, PORTION, Source, Span, numbered

OFFSETS = ("offsets", "cu_seqlens")
"""Names of offsets that are looked for unasked."""

Dtype = np.dtype[np.generic]

_CUTS = 1 << 21
"""Rows whose offsets are held at once."""


class Stored(Protocol):
    """An array that lies in a file, in C order."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Dtype: ...

    def read(self, begin: int, end: int) -> Array:
        """The elements [begin, end) of the flattened array."""


Arrays = Mapping[str, Callable[[], Stored]]
"""Arrays by their names, each opened when it is wanted: what lies beside them may be anything."""


def spans_of(arrays: Arrays, source: Source, columns: Columns) -> list[Span]:
    """Spans of rows. Raises CorpusError where the arrays are not there or do not go together."""
    rows = _row_count(chosen(arrays, columns), columns)
    count = max(1, round(source.nbytes / PORTION))
    edges = [rows * n // count for n in range(count + 1)]
    return [
        Span(begin, end, begin, end - begin, source.nbytes * (end - begin) // rows)
        for begin, end in pairwise(edges)
        if begin < end
    ] or [Span(0, 0, 0, 0, source.nbytes)]


def rows_of(arrays: Arrays, span: Span, columns: Columns) -> Iterator[RawBlock]:
    """The rows [begin, end) of the arrays."""
    chosen_arrays = dict(chosen(arrays, columns))
    _row_count(chosen_arrays, columns)
    offsets = chosen_arrays.pop("offsets", None)
    if offsets is not None:
        yield from _read_flat(chosen_arrays, offsets, span)
        return
    rows = max(1, BLOCK // max(1, chosen_arrays["ids"].shape[1]))
    for begin in range(span.begin, span.end, rows):
        count = min(rows, span.end - begin)
        lists = {role: _rectangle(array, begin, count) for role, array in chosen_arrays.items()}
        yield RawBlock(numbered(begin, count), lists.pop("ids"), lists)


def chosen(arrays: Arrays, columns: Columns) -> dict[str, Stored]:
    """Role → array of those that are wanted and there; flat ids bring their offsets along."""
    for role, name in columns.required.items():
        if name not in arrays:
            there = ", ".join(sorted(arrays)) or "none"
            raise CorpusError(Fault.NO_COLUMN, f"no array {name!r} for {role}, there are {there}")
    found = {role: arrays[name]() for role, name in columns.roles.items() if name in arrays}
    if len(found["ids"].shape) == 1:
        names = (columns.offsets,) if columns.offsets else OFFSETS
        offsets = next((arrays[name]() for name in names if name in arrays), None)
        if offsets is None:
            raise CorpusError(Fault.NOT_ROWS, f"flat ids of shape {_shape(found['ids'])} without offsets to cut them")
        found["offsets"] = offsets
    return found


def _row_count(arrays: Mapping[str, Stored], columns: Columns) -> int:
    """How many rows the arrays hold, all of them alike. Raises CorpusError where their shapes do not go together."""
    ids = arrays["ids"]
    if len(ids.shape) not in (1, 2):
        raise CorpusError(Fault.NOT_ROWS, f"{columns.ids!r} has shape {_shape(ids)}, must be [rows, columns]")
    for role, array in arrays.items():
        if role != "offsets" and (len(array.shape) != len(ids.shape) or array.shape[0] != ids.shape[0]):
            reason = f"{role} has shape {_shape(array)}, the ids have {_shape(ids)}"
            raise CorpusError(SHAPE_FAULTS[role], reason)
    if len(ids.shape) == 2:
        if ids.shape[0] > BLOCK and not ids.shape[1]:
            raise CorpusError(Fault.NOT_ROWS, f"{columns.ids!r} has shape {_shape(ids)}, rows must have columns")
        return ids.shape[0]
    offsets = arrays["offsets"]
    if len(offsets.shape) != 1 or offsets.shape[0] == 0 or offsets.dtype.kind not in "iu":
        reason = (
            f"offsets of shape {_shape(offsets)}, {offsets.dtype}, must be a flat array of integers that begins with 0"
        )
        raise CorpusError(Fault.BAD_OFFSETS, reason)
    return offsets.shape[0] - 1


def _shape(array: Stored) -> str:
    return str(list(array.shape))


def _rectangle(array: Stored, begin: int, count: int) -> Ragged:
    width = math.prod(array.shape[1:])
    return Ragged(array.read(begin * width, (begin + count) * width), np.full(count, width))


def _read_flat(arrays: Mapping[str, Stored], offsets: Stored, span: Span) -> Iterator[RawBlock]:
    """Rows of flat arrays, as many at once as have about `BLOCK` values."""
    for first_row, cuts in _checked_cuts(offsets, arrays["ids"].shape[0], span):
        begin = 0
        while begin < len(cuts) - 1:
            end = max(begin + 1, int(np.searchsorted(cuts, cuts[begin] + BLOCK, side="right")) - 1)
            lengths, here = np.diff(cuts[begin : end + 1]), (int(cuts[begin]), int(cuts[end]))
            lists = {role: Ragged(array.read(*here), lengths) for role, array in arrays.items()}
            yield RawBlock(numbered(first_row + begin, end - begin), lists.pop("ids"), lists)
            begin = end


def _checked_cuts(offsets: Stored, size: int, span: Span) -> Iterator[tuple[int, Array]]:
    """(number of the first row, offsets of it and the rows behind it), `_CUTS` rows at a time, each read once.

    Raises CorpusError where they do not rise from 0 to `size`.
    """
    last = offsets.read(span.begin, span.begin + 1).astype(np.int64)
    if span.begin == 0 and last[0] != 0:
        raise CorpusError(Fault.BAD_OFFSETS, f"offsets begin with {last[0]}, must begin with 0")
    for begin in range(span.begin, span.end, _CUTS):
        end = min(begin + _CUTS, span.end)
        cuts = np.concatenate((last, offsets.read(begin + 1, end + 1).astype(np.int64)))
        falls = np.flatnonzero(cuts[1:] < cuts[:-1])
        if falls.size:
            before, behind = cuts[falls[0] : falls[0] + 2]
            raise CorpusError(Fault.BAD_OFFSETS, f"offsets fall from {before} to {behind} at row {begin + falls[0]}")
        if cuts[-1] > size or (end == offsets.shape[0] - 1 and cuts[-1] != size):
            raise CorpusError(Fault.BAD_OFFSETS, f"offsets end with {cuts[-1]}, there are {size} ids")
        yield begin, cuts
        last = cuts[-1:]
