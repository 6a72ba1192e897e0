"""Pieces: the few ways in which the bytes of a tensor come about. A tensor of a plan is a list of them.

A piece is a pure description that knows how many bytes it yields. `cutting` makes smaller ones of it, `evaluate` turns
a small one into bytes, and the writer lets the kernel copy the long `CopyRange`s.
"""

from __future__ import annotations

from dataclasses import dataclass

from gte_surgery.checkpoint.header import DTYPE_BITS

BLOCK = 1 << 18
"""Elements that one random generator draws: the unit in which random streams are addressed."""


@dataclass(frozen=True, slots=True)
class CopyRange:
    """The bytes [begin, end) of the source file named `source`."""

    source: str
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.begin

    def describe(self) -> str:
        return f"copy {self.nbytes} bytes of {self.source} from {self.begin}"


@dataclass(frozen=True, slots=True)
class GatherRows:
    """Rows of `row_bytes` bytes, in the order of `rows`, of the table that starts at byte `begin` of `source`."""

    source: str
    begin: int
    row_bytes: int
    rows: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return len(self.rows) * self.row_bytes

    def describe(self) -> str:
        distinct = len(set(self.rows))
        which = f"row {self.rows[0]} {len(self.rows)} times" if distinct == 1 else f"{len(self.rows)} chosen rows"
        return f"copy {which} of {self.source}"


@dataclass(frozen=True, slots=True)
class Fill:
    """`pattern` repeated `count` times; the pattern is one element of the tensor."""

    pattern: bytes
    count: int

    @property
    def nbytes(self) -> int:
        return len(self.pattern) * self.count

    def describe(self) -> str:
        return f"{self.count} zeros" if not any(self.pattern) else f"{self.count} times 0x{self.pattern.hex()}"


@dataclass(frozen=True, slots=True)
class Normal:
    """Elements [begin, begin + count) of the endless stream of N(0, std) draws that (seed, stream) names.

    The stream is named by the tensor, so a table grown in two steps equals one grown in a single step, and
    `begin` is the element's place in the tensor. `dtype` is F32, F16 or BF16 (rounded to nearest even).
    """

    stream: str
    seed: int
    std: float
    dtype: str
    begin: int
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * element_bytes(self.dtype)

    def describe(self) -> str:
        return f"{self.count} draws of N(0, {self.std:g}), seed {self.seed}"


@dataclass(frozen=True, slots=True)
class AddRow:
    """`piece`, whole rows of it, with the elements of `row` added to each row; sums are rounded to `dtype`."""

    piece: Plain
    row: CopyRange
    dtype: str

    @property
    def nbytes(self) -> int:
        return self.piece.nbytes

    def describe(self) -> str:
        return f"{self.piece.describe()}, plus the row at {self.row.begin} of {self.row.source}"


@dataclass(frozen=True, slots=True)
class Cast:
    """`piece`, elements of dtype `before`, rounded to dtype `after`."""

    piece: Plain
    before: str
    after: str

    @property
    def nbytes(self) -> int:
        return self.piece.nbytes // element_bytes(self.before) * element_bytes(self.after)

    def describe(self) -> str:
        return f"{self.piece.describe()}, {self.before} to {self.after}"


Plain = CopyRange | GatherRows | Fill | Normal
Piece = Plain | AddRow | Cast


def element_bytes(dtype: str) -> int:
    """Bytes of one element of a dtype of whole bytes: 2 for "BF16"."""
    return DTYPE_BITS[dtype] // 8
