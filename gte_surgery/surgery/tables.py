"""Rows of a table that grows or shrinks: which are kept, which are new and how those come about. The word table, the
decoder weight and bias and the type table are all resized by this one mechanism; a bias is a table whose rows are one
element.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.surgery.edits import copied_row
from gte_surgery.surgery.pieces import CopyRange, Fill, GatherRows, Normal, Plain, element_bytes


@dataclass(frozen=True, slots=True)
class RowSource:
    """Makes rows for the successor of a stored table; `init` is an edit's: "normal", "zeros" or "copy:ID".

    `stream` names the random stream, in which every row has its fixed place.
    """

    tensor: StoredTensor
    init: str
    stream: str = ""
    seed: int = 0
    std: float = 0.0

    @property
    def held(self) -> int:
        """Rows that the stored table has."""
        return self.tensor.shape[0]

    @property
    def width(self) -> int:
        """Elements of one row."""
        return math.prod(self.tensor.shape[1:])

    def kept(self, first: int, stop: int) -> CopyRange:
        """Rows [first, stop) as they are stored."""
        row_bytes = self.width * element_bytes(self.tensor.dtype)
        begin = self.tensor.file_begin
        return CopyRange(self.tensor.shard.file.name, begin + first * row_bytes, begin + stop * row_bytes)

    def zeros(self, first: int, stop: int) -> Fill:
        return Fill(bytes(element_bytes(self.tensor.dtype)), (stop - first) * self.width)

    def drawn(self, first: int, stop: int) -> Normal:
        count = (stop - first) * self.width
        return Normal(self.stream, self.seed, self.std, self.tensor.dtype, first * self.width, count)

    def fresh(self, first: int, stop: int) -> Plain:
        """Rows [first, stop) by `init`."""
        source = copied_row(self.init)
        if source is not None:
            row = self.kept(source, source + 1)
            return GatherRows(row.source, self.tensor.file_begin, row.nbytes, (source,) * (stop - first))
        return self.drawn(first, stop) if self.init == "normal" else self.zeros(first, stop)

    def resized(self, rows: int, single: Mapping[int, Plain]) -> dict[int, Plain]:
        """The table with `rows` rows, as {first row: piece}: kept, then fresh, with the rows of `single` put in.

        With 4 rows held, `resized(6, {1: zero})` is {0: kept(0, 1), 1: zero, 2: kept(2, 4), 4: fresh(4, 6)}.
        """
        pieces: dict[int, Plain] = {}
        first = 0
        for stop in (*sorted(single), rows):
            middle = max(first, min(stop, self.held))
            if first < middle:
                pieces[first] = self.kept(first, middle)
            if middle < stop:
                pieces[middle] = self.fresh(middle, stop)
            if stop in single:
                pieces[stop] = single[stop]
            first = stop + 1
        return pieces
