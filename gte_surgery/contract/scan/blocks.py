"""Rows in memory as flat arrays: what a reader yields (`RawBlock`) and what is judged (`Block`).

Nothing here looks at a row on its own. Rows that have no shape to judge, such as one whose mask is longer than its ids,
are reported by `aligned` and left out of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gte_surgery.contract.scan.faults import Fault

Array = npt.NDArray[Any]

PIECE = 1 << 17
"""Values judged at once: few enough that several passes over them stay in the processor's second-level cache."""

OPTIONAL = ("mask", "types", "labels", "positions")


@dataclass(frozen=True, slots=True)
class Ragged:
    """A column of lists: all `values` in a row, and the `lengths` (rows,) of the lists.

    `present` (rows,) tells where there is a list at all (None: everywhere; an absent one has length 0), `nulls` the
    places in `values` whose element is null.
    """

    values: Array
    lengths: Array
    present: Array | None = None
    nulls: Array | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """A row that could not be read: its number, why, and the value that stood in the way, if that can be shown."""

    row: int
    fault: Fault
    value: str = ""


@dataclass(frozen=True, slots=True)
class RawBlock:
    """Consecutive rows of a file as they were read. `rows` (rows,) are their numbers in the file, from 0; `offsets`
    cut the ids of each row into the rows that are packed in it."""

    rows: Array
    ids: Ragged
    others: Mapping[str, Ragged] = field(default_factory=dict)
    offsets: Ragged | None = None
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that share one set of `offsets` (rows + 1,): row i has the values [offsets[i], offsets[i + 1]) of each
    column. A column that is None is absent. `rows` are numbers in the file; `begins` is the place at which each
    row begins in the list that it is packed in."""

    rows: Array
    begins: Array
    offsets: Array
    ids: Array
    mask: Array | None = None
    types: Array | None = None
    labels: Array | None = None
    positions: Array | None = None

    @property
    def widths(self) -> Array:
        """Positions of each row, pads included, shape (rows,)."""
        return np.diff(self.offsets)

    def where(self, places: Array) -> tuple[Array, Array]:
        """Row index in this block and column in the file of flat places."""
        index = np.searchsorted(self.offsets, places, side="right") - 1
        return index, places - self.offsets[index] + self.begins[index]

    def kept(self, is_kept: Array) -> Block:
        """The rows where `is_kept` (rows,) holds."""
        if is_kept.all():
            return self
        values = np.repeat(is_kept, self.widths)
        columns = {name: column[values] for name, column in self.columns()}
        return replace(
            self,
            rows=self.rows[is_kept],
            begins=self.begins[is_kept],
            offsets=offsets_of(self.widths[is_kept]),
            **columns,
        )

    def pieces(self) -> Iterator[Block]:
        """The same rows in views of about `PIECE` values each."""
        cuts = np.searchsorted(self.offsets, np.arange(PIECE, self.ids.size + PIECE, PIECE), side="right") - 1
        edges = np.unique(np.concatenate(([0], cuts, [len(self.rows)])))
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            begin, end = int(self.offsets[first]), int(self.offsets[last])
            yield replace(
                self,
                rows=self.rows[first:last],
                begins=self.begins[first:last],
                offsets=self.offsets[first : last + 1] - begin,
                **{name: column[begin:end] for name, column in self.columns()},
            )

    def columns(self) -> Iterator[tuple[str, Array]]:
        """Name and flat values of every column that is there."""
        for name in ("ids", *OPTIONAL):
            column = getattr(self, name)
            if column is not None:
                yield name, column


Report = Callable[[Fault, Array, str], None]
"""(fault, numbers of the rows, value shown): tells of rows that are not judged further."""


def offsets_of(lengths: Array) -> Array:
    """[3, 0, 2] → [0, 3, 3, 5]."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def aligned(raw: RawBlock, report: Report) -> Iterator[Block]:
    """The rows of a raw block that have a shape to judge; one block for each set of columns that rows have.

    Everything else is told to `report`, a row once, under the first fault of `_shapeless`.
    """
    for unread in raw.unread:
        report(unread.fault, np.array([unread.row]), unread.value)
    is_good = np.ones(len(raw.rows), bool)
    for fault, is_faulty in _shapeless(raw):
        if (found := is_good & is_faulty).any():
            report(fault, raw.rows[found], "")
            is_good &= ~found
    for chosen, names in _patterns(raw.others, is_good):
        yield _block(raw, chosen, names)


def _shapeless(raw: RawBlock) -> Iterator[tuple[Fault, Array]]:
    """For each way of having no shape, which rows (as bools) are so."""
    everywhere = np.ones(len(raw.rows), bool)
    if raw.ids.present is not None:
        yield Fault.NULL, ~raw.ids.present
    yield from _null_elements(raw.ids)
    if raw.ids.values.dtype.kind not in "iu":
        yield Fault.IDS_TYPE, everywhere
    for name, column in raw.others.items():
        is_there = everywhere if column.present is None else column.present
        yield from _null_elements(column)
        if column.values.dtype.kind not in ("iub" if name == "mask" else "iu"):
            yield _TYPE_FAULTS[name], is_there
        if column.lengths is not raw.ids.lengths:
            yield _SHAPE_FAULTS[name], is_there & (column.lengths != raw.ids.lengths)
    if raw.offsets is not None:
        yield Fault.OFFSETS, _bad_offsets(raw.offsets, raw.ids.lengths)


def _null_elements(column: Ragged) -> Iterator[tuple[Fault, Array]]:
    if column.nulls is not None and len(column.nulls):
        is_faulty = np.zeros(len(column.lengths), bool)
        is_faulty[np.searchsorted(offsets_of(column.lengths), column.nulls, side="right") - 1] = True
        yield Fault.NULL, is_faulty


def _bad_offsets(offsets: Ragged, lengths: Array) -> Array:
    """Rows whose offsets are not 0 = o₀ ≤ o₁ ≤ … = length of the row's ids, as bools."""
    if offsets.values.dtype.kind not in "iu":
        return np.ones(len(lengths), bool)
    is_bad = (offsets.lengths == 0) if offsets.present is None else ~offsets.present | (offsets.lengths == 0)
    is_bad |= np.isin(np.arange(len(lengths)), _rows_of(offsets, offsets.nulls))
    values = offsets.values.astype(np.int64)
    ends = np.cumsum(offsets.lengths)
    begins = (ends - offsets.lengths)[~is_bad]
    is_bad[~is_bad] = (values[begins] != 0) | (values[ends[~is_bad] - 1] != lengths[~is_bad])
    falls = np.flatnonzero(values[1:] < values[:-1]) + 1
    is_bad[_rows_of(offsets, falls[~np.isin(falls, begins)])] = True
    return is_bad


def _rows_of(column: Ragged, places: Array | None) -> Array:
    """The rows that hold the flat places."""
    if places is None:
        return np.zeros(0, np.int64)
    return np.searchsorted(offsets_of(column.lengths), places, side="right") - 1


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
    begins = np.zeros(len(rows), np.int64)
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


_SHAPE_FAULTS = {
    "mask": Fault.MASK_SHAPE,
    "types": Fault.TYPES_SHAPE,
    "labels": Fault.LABELS_SHAPE,
    "positions": Fault.POSITIONS_SHAPE,
}
_TYPE_FAULTS = {
    "mask": Fault.MASK_TYPE,
    "types": Fault.TYPES_TYPE,
    "labels": Fault.LABELS_TYPE,
    "positions": Fault.POSITIONS_TYPE,
}
