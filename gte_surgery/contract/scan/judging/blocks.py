"""Rows in memory as flat arrays: what a reader yields (`RawBlock`) and what is judged (`Block`).

The way from one to the other is `alignment`. Nothing here looks at a row on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gte_surgery.contract.scan.faults import Fault

Array = npt.NDArray[Any]

PIECE = 1 << 17
"""Values judged at once: few enough that several passes over them stay in the processor's second-level cache."""

ADDED = -1000
"""What is added to attention scores to hide a position is far below this: −10000 [BERT], or a dtype's lowest value."""

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

    def head(self, count: int) -> Ragged:
        """The first `count` rows."""
        lengths = self.lengths[:count]
        end = int(lengths.sum())
        present = None if self.present is None else self.present[:count]
        nulls = None if self.nulls is None else self.nulls[self.nulls < end]
        return Ragged(self.values[:end], lengths, present, nulls)


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

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        columns = [self.ids, *self.others.values(), *([self.offsets] if self.offsets is not None else [])]
        return int(self.rows.nbytes + sum(each.values.nbytes + each.lengths.nbytes for each in columns))

    def before(self, row: int) -> RawBlock:
        """The rows numbered below `row`."""
        count = int(np.searchsorted(self.rows, row))
        return RawBlock(
            rows=self.rows[:count],
            ids=self.ids.head(count),
            others={name: column.head(count) for name, column in self.others.items()},
            offsets=self.offsets.head(count) if self.offsets is not None else None,
            unread=tuple(unread for unread in self.unread if unread.row < row),
        )


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
        return self._part(is_kept, np.repeat(is_kept, self.widths), offsets_of(self.widths[is_kept]))

    def having(self, is_so: Array) -> Array:
        """Rows (as bools) that have at least one position where `is_so` holds."""
        return count_in(is_so, self.offsets) > 0

    def first_of(self, is_so: Array) -> Array:
        """Of the positions that are so, only the first of each row."""
        before = offsets_of(is_so)
        is_first: Array = is_so & (before[:-1] == np.repeat(before[self.offsets[:-1]], self.widths))
        return is_first

    def pieces(self) -> Iterator[Block]:
        """The same rows in views of about `PIECE` values each."""
        cuts = np.searchsorted(self.offsets, np.arange(PIECE, self.ids.size, PIECE), side="right") - 1
        edges = np.unique(np.concatenate(([0], cuts, [len(self.rows)])))
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            begin, end = int(self.offsets[first]), int(self.offsets[last])
            yield self._part(slice(first, last), slice(begin, end), self.offsets[first : last + 1] - begin)

    def _part(self, rows: Array | slice, values: Array | slice, offsets: Array) -> Block:
        """Some of the rows with their values."""
        columns = {name: column[values] for name, column in self.columns()}
        return Block(self.rows[rows], self.begins[rows], offsets, **columns)

    def columns(self) -> Iterator[tuple[str, Array]]:
        """Name and flat values of every column that is there."""
        for name in ("ids", *OPTIONAL):
            column = getattr(self, name)
            if column is not None:
                yield name, column


def offsets_of(lengths: Array) -> Array:
    """[3, 0, 2] → [0, 3, 3, 5]."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def count_in(is_so: Array, offsets: Array) -> Array:
    """How many positions of each row are so, shape (rows,)."""
    return np.diff(offsets_of(is_so)[offsets])


def as_unsigned(values: Array) -> Array:
    """The same bits without a sign: what was negative is now very large, so that one maximum finds both."""
    return values.view(f"u{values.dtype.itemsize}") if values.dtype.kind == "i" else values


def is_within(values: Array, size: int) -> bool:
    """Whether all values are from 0 to `size` − 1. One maximum tells, where what is negative becomes large enough."""
    unsigned = as_unsigned(values)
    if not values.size:
        return True
    is_telling = unsigned is values or size <= 1 << (8 * values.dtype.itemsize - 1)
    return bool(unsigned.max() < size and (is_telling or values.min() >= 0))
