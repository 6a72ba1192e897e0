"""From rows as they were read to rows that can be judged: every column of a row as long as its ids, nothing null.

Rows that have no such shape are told under one fault each and left out; what the values mean is left to `judge`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from gte_surgery.contract.scan.faults import SHAPE_FAULTS, Fault
from gte_surgery.contract.scan.judging.blocks import ADDED, Array, Block, Ragged, RawBlock, count_in, offsets_of

Report = Callable[[Fault, Array, str], None]
"""(fault, numbers of the rows, value shown): tells of rows that are not judged further."""


def aligned(raw: RawBlock, report: Report) -> Iterator[Block]:
    """The rows of a raw block that have a shape to judge; one block for each set of columns that rows have.

    Everything else is told to `report`, a row once, under the first fault of `_shapeless`.
    """
    for unread in raw.unread:
        report(unread.fault, np.array([unread.row]), unread.value)
    is_good = np.ones(len(raw.rows), bool)
    for fault, is_faulty, value in _shapeless(raw):
        if (found := is_good & is_faulty).any():
            report(fault, raw.rows[found], value)
            is_good &= ~found
    for chosen, names in _patterns(raw.others, is_good):
        yield _block(raw, chosen, names)


def _shapeless(raw: RawBlock) -> Iterator[tuple[Fault, Array, str]]:
    """For each way of having no shape, which rows (as bools) are so, and what to show for it."""
    everywhere = np.ones(len(raw.rows), bool)
    if raw.ids.present is not None:
        yield Fault.BAD_ROW, ~raw.ids.present, "ids are null"
    yield Fault.BAD_ROW, _has_null(raw.ids), "a null in ids"
    if raw.ids.values.dtype.kind not in "iu":
        yield Fault.NOT_INTEGERS, everywhere, f"ids are {raw.ids.values.dtype}"
    for name, column in raw.others.items():
        is_there = everywhere if column.present is None else column.present
        kind = column.values.dtype.kind
        yield Fault.BAD_ROW, _has_null(column), f"a null in {name}"
        if name == "mask" and kind == "f":
            yield Fault.MASK_ADDITIVE, is_there & _is_additive(column), ""
        if kind not in ("iub" if name == "mask" else "iu"):
            fault = Fault.MASK_TYPE if name == "mask" else Fault.NOT_INTEGERS
            yield fault, is_there, f"{name} is {column.values.dtype}"
        if column.lengths is not raw.ids.lengths:
            yield SHAPE_FAULTS[name], is_there & (column.lengths != raw.ids.lengths), ""
    if raw.offsets is not None:
        yield Fault.BAD_OFFSETS, _bad_offsets(raw.offsets, raw.ids.lengths), "offsets do not cut the ids"


def _has_null(column: Ragged) -> Array:
    """Rows (as bools) that hold an element that is null."""
    has_null = np.zeros(len(column.lengths), bool)
    if column.nulls is not None:
        has_null[_rows_of(column, column.nulls)] = True
    return has_null


def _is_additive(mask: Ragged) -> Array:
    """Rows (as bools) of a floating-point mask that hold 0 and hugely negative values, and nothing else."""
    offsets = offsets_of(mask.lengths)
    zeros, low = count_in(mask.values == 0, offsets), count_in(mask.values <= ADDED, offsets)
    is_so: Array = (zeros > 0) & (low > 0) & (zeros + low == mask.lengths)
    return is_so


def _bad_offsets(offsets: Ragged, lengths: Array) -> Array:
    """Rows whose offsets are not 0 = o₀ ≤ o₁ ≤ … = length of the row's ids, as bools."""
    if offsets.values.dtype.kind not in "iu":
        return np.ones(len(lengths), bool)
    is_bad: Array = (offsets.lengths == 0) | _has_null(offsets)
    values, ends = offsets.values, np.cumsum(offsets.lengths)
    begins = (ends - offsets.lengths)[~is_bad]
    is_bad[~is_bad] = (values[begins] != 0) | (values[ends[~is_bad] - 1] != lengths[~is_bad])
    falls = np.flatnonzero(values[1:] < values[:-1]) + 1
    is_bad[_rows_of(offsets, falls[~np.isin(falls, begins)])] = True
    return is_bad


def _rows_of(column: Ragged, places: Array) -> Array:
    """The rows that hold the flat places."""
    rows: Array = np.searchsorted(offsets_of(column.lengths), places, side="right") - 1
    return rows


def _patterns(others: Mapping[str, Ragged], is_good: Array) -> Iterator[tuple[Array, tuple[str, ...]]]:
    """Which good rows have which columns: (rows as bools, names of columns), in general one pair."""
    groups: list[tuple[Array, tuple[str, ...]]] = [(is_good, ())]
    for name, column in others.items():
        is_there = column.present
        if is_there is None:
            groups = [(rows, (*names, name)) for rows, names in groups]
        else:
            groups = [(rows & is_there, (*names, name)) for rows, names in groups] + [
                (rows & ~is_there, names) for rows, names in groups
            ]
    return (group for group in groups if group[0].any())


def _block(raw: RawBlock, chosen: Array, names: tuple[str, ...]) -> Block:
    """The chosen rows with the named columns, taken apart where `offsets` say that rows are packed in them."""
    columns = {name: _values(raw.others[name], chosen) for name in names}
    lengths = raw.ids.lengths[chosen]
    rows = raw.rows[chosen]
    begins = np.zeros_like(rows)
    if raw.offsets is not None:
        counts = raw.offsets.lengths[chosen]
        starts = _values(raw.offsets, chosen).astype(np.int64)
        is_last = np.zeros(len(starts), bool)
        is_last[np.cumsum(counts) - 1] = True
        lengths = np.diff(starts, append=0)[~is_last]
        rows, begins = np.repeat(rows, counts)[~is_last], starts[~is_last]
    return Block(rows, begins, offsets_of(lengths), _values(raw.ids, chosen), **columns)


def _values(column: Ragged, chosen: Array) -> Array:
    """The flat values of the chosen rows, without a copy when that is all of them."""
    return column.values if chosen.all() else column.values[np.repeat(chosen, column.lengths)]
