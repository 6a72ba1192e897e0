"""Pieces: the few ways in which the bytes of a tensor come about. A tensor of a plan is a list of them.

A piece is a pure description that knows how many bytes it yields. `cutting` makes smaller ones of it, `evaluate` turns
a small one into bytes, and the writer lets the kernel copy the long `CopyRange`s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from gte_surgery.checkpoint.headers.header import DTYPE_BITS
from gte_surgery.errors import RefusedError

BLOCK = 1 << 18
"""Elements that one random generator draws: the unit in which random streams are addressed."""


class CopyRange(NamedTuple):
    """The bytes [begin, end) of the source file named `source`."""

    source: str
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.begin

    def describe(self) -> str:
        return f"copy {self.nbytes} bytes of {self.source} from {self.begin}"


class GatherRows(NamedTuple):
    """Rows of `row_bytes` bytes, in the order of `rows`, of the table that starts at byte `begin` of `source`.

    With `offsets`, row i is the mean of rows[offsets[i]:offsets[i + 1]], added up in float64 and rounded to `dtype`; of
    one row it is that row, byte for byte. With `rows` (7, 3, 4) and `offsets` (0, 1, 3): row 7, then the mean of rows
    3 and 4.
    """

    source: str
    begin: int
    row_bytes: int
    rows: Sequence[int]
    offsets: Sequence[int] | None = None
    dtype: str = ""

    @property
    def used(self) -> Sequence[int]:
        """Those of `rows` of which anything is made."""
        return self.rows if self.offsets is None else self.rows[self.offsets[0] : self.offsets[-1]]

    @property
    def size(self) -> int:
        """How many rows it yields."""
        return len(self.rows) if self.offsets is None else len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        return self.size * self.row_bytes

    def describe(self) -> str:
        if self.offsets is not None:
            means = sum(end - begin > 1 for begin, end in pairwise(self.offsets))
            return f"copy {self.size - means} chosen rows of {self.source}, and make {means} of the means of several"
        first = self.rows[0] if self.rows else None
        is_one = first is not None and all(row == first for row in self.rows)
        which = f"row {first} {len(self.rows)} times" if is_one else f"{len(self.rows)} chosen rows"
        return f"copy {which} of {self.source}"


class Fill(NamedTuple):
    """`pattern` repeated `times` times; the pattern is one element of the tensor, or one row."""

    pattern: bytes
    times: int

    @property
    def nbytes(self) -> int:
        return len(self.pattern) * self.times

    def describe(self) -> str:
        return f"{self.times} zeros" if not any(self.pattern) else f"{self.times} times 0x{self.pattern.hex()}"


class Normal(NamedTuple):
    """Elements [begin, begin + size) of the endless stream of N(0, std) draws that (seed, stream) names.

    The stream is named by the tensor, so a table grown in two steps equals one grown in a single step, and
    `begin` is the element's place in the tensor. `dtype` is F32, F16 or BF16 (rounded to nearest even).
    """

    stream: str
    seed: int
    std: float
    dtype: str
    begin: int
    size: int
    cut: float | None = None
    """Standard deviations beyond which a draw is drawn again."""

    @property
    def nbytes(self) -> int:
        return self.size * element_bytes(self.dtype)

    def describe(self) -> str:
        within = "" if self.cut is None else f" within {self.cut:g} deviations"
        return f"{self.size} draws of N(0, {self.std:g}){within}, seed {self.seed}"


class Table(NamedTuple):
    """A stored table of numbers: `rows` rows of `width` elements of `dtype`, from byte `begin` of `source`."""

    source: str
    begin: int
    rows: int
    width: int
    dtype: str

    @property
    def row_bytes(self) -> int:
        return self.width * element_bytes(self.dtype)

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes


class LikeTable(NamedTuple):
    """Rows like those of a whole table: its mean, or draws from N(mean, covariance) made of the standard draws `noise`.

    `statistics` measures the table when the plan is carried out, and settles this piece into a `Fill` or `Correlated`.
    """

    table: Table
    noise: Normal
    is_drawn: bool

    @property
    def nbytes(self) -> int:
        return self.noise.size * element_bytes(self.table.dtype)

    def describe(self) -> str:
        rows = self.noise.size // self.table.width
        what = f"mean of the {self.table.rows} rows"
        if not self.is_drawn:
            return f"{rows} times the {what}"
        return f"{rows} draws from N({what}, their covariance), seed {self.noise.seed}"


class Moments(NamedTuple):
    """The mean of the rows of a table, and what turns standard draws into draws with its covariance; see `statistics`.

    Little-endian float64: `mean` has one element a column. `factor`, empty when only the mean was wanted, is a square
    matrix of whole numbers, a row of it for each column of the table, and `steps` the unit of each of those rows.
    """

    mean: bytes
    factor: bytes = b""
    steps: bytes = b""


class Correlated(NamedTuple):
    """The standard draws `noise`, row by row, turned into draws with the mean and covariance of `moments`."""

    noise: Normal
    moments: Moments
    dtype: str

    @property
    def nbytes(self) -> int:
        return self.noise.size * element_bytes(self.dtype)

    def describe(self) -> str:
        return f"{self.noise.size} correlated draws, seed {self.noise.seed}"


class Overlay(NamedTuple):
    """The rows of `under`, where row places[i] is replaced by row i of `over`; `places` ascend."""

    under: Piece
    over: Piece
    places: Sequence[int]
    row_bytes: int

    @property
    def nbytes(self) -> int:
        return self.under.nbytes

    def describe(self) -> str:
        rows = self.nbytes // self.row_bytes
        return f"{self.over.describe()}; the other {rows - len(self.places)} of {rows} from {self.under.describe()}"


class AddRow(NamedTuple):
    """`piece`, whole rows of it, with the elements of `row` added to each row; sums are rounded to `dtype`."""

    piece: Piece
    row: CopyRange
    dtype: str

    @property
    def nbytes(self) -> int:
        return self.piece.nbytes

    def describe(self) -> str:
        return f"{self.piece.describe()}, plus the row at {self.row.begin} of {self.row.source}"


class Cast(NamedTuple):
    """`piece`, elements of dtype `before`, rounded to dtype `after`."""

    piece: Piece
    before: str
    after: str

    @property
    def nbytes(self) -> int:
        return self.piece.nbytes // element_bytes(self.before) * element_bytes(self.after)

    def describe(self) -> str:
        return f"{self.piece.describe()}, {self.before} to {self.after}"


Piece = CopyRange | GatherRows | Fill | Normal | LikeTable | Correlated | Overlay | AddRow | Cast


def within(piece: Piece) -> Iterator[Piece]:
    """The piece and all of which it is made."""
    yield piece
    match piece:
        case Overlay():
            yield from (*within(piece.under), *within(piece.over))
        case AddRow():
            yield from (*within(piece.piece), piece.row)
        case Cast():
            yield from within(piece.piece)


def element_bytes(dtype: str) -> int:
    """Bytes of one element of a dtype: 2 for "BF16". Raises RefusedError for one of less than a byte."""
    if DTYPE_BITS[dtype] % 8:
        hint = "give it whole numbers where it was quantised"
        raise RefusedError(f"dtype {dtype}: {DTYPE_BITS[dtype]} bits an element, rows are cut from whole bytes", hint)
    return DTYPE_BITS[dtype] // 8
