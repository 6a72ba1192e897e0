"""Two stored tensors side by side: whether their bytes are equal, and how far apart their numbers are.

Both are streamed in blocks, so that memory stays the same for any size. Needs numpy, imported when called, for the
numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.source import Opened
from gte_surgery.errors import CheckpointError
from gte_surgery.surgery.pieces.evaluate import decode
from gte_surgery.surgery.pieces.piece import element_bytes

if TYPE_CHECKING:
    import numpy as np

_BYTES = 4 << 20
"""Compared at a time."""
_ELEMENTS = 1 << 18
"""Subtracted at a time: few enough for a processor's cache."""
MOST_RANGES = 1000
"""So many ranges of changed rows are kept, whatever the table."""

Advance = Callable[[int], None]
"""Told the bytes of one side that have been compared since its last call."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of elements of one dtype in an open weight file, which messages call `name`, from byte `begin` on."""

    file: Opened
    name: str
    begin: int
    dtype: str

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from byte `offset` of it on; raises CheckpointError when the file has become shorter."""
        raw = self.file.read(self.begin + offset, count)
        if len(raw) != count:
            raise CheckpointError(f"{self.name}: became shorter while it was read")
        return raw

    def expect(self, nbytes: int) -> None:
        """So many bytes of it will be read, from front to back."""
        self.file.expect([(self.begin, self.begin + nbytes)])

    @property
    def place(self) -> tuple[Hashable, int]:
        """What tells one place from every other, by whatever names it is reached: the file itself, and the offset."""
        return self.file.identity.holder, self.begin


@dataclass(frozen=True, slots=True)
class RowChanges:
    """Rows of two tables that differ in any byte (tables of two dtypes: in any number), as ranges [first, last].

    Of very many ranges the first `MOST_RANGES` are kept; `left_out` counts the others.
    """

    compared: int
    changed: int
    ranges: tuple[tuple[int, int], ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """How far apart the elements of two tensors are: the largest and the mean absolute difference, and the cosine.

    These three are about elements that are finite on both sides; `not_finite` counts the others. `cosine` is None
    where one side is all zero. `rows` is None where rows were not asked for.
    """

    compared: int
    not_finite: int
    largest: float
    mean: float
    cosine: float | None
    rows: RowChanges | None


@contextmanager
def opened_weights(checkpoint: Checkpoint) -> Iterator[Mapping[str, Opened]]:
    """The weight files of a checkpoint by name, open for reading."""
    with ExitStack() as stack:
        files = [shard.file for shard in checkpoint.shards]
        yield {file.name: stack.enter_context(closing(file.place.open())) for file in files}


def has_equal_bytes(left: Extent, right: Extent, nbytes: int, advance: Advance) -> bool:
    """Whether the first `nbytes` bytes of both are equal; stops at the first block that differs."""
    if not nbytes or left.place == right.place:
        advance(nbytes)
        return True
    left.expect(nbytes)
    right.expect(nbytes)
    for offset in range(0, nbytes, _BYTES):
        count = min(_BYTES, nbytes - offset)
        if left.read(offset, count) != right.read(offset, count):
            return False
        advance(count)
    return True


def measure(left: Extent, right: Extent, rows: int, width: int, counts_rows: bool, advance: Advance) -> Gap:
    """How far apart the first rows × width elements of both are, and, if asked, which rows changed.

    Both dtypes must be of `ARITHMETIC_DTYPES`. Sums are in float64, block by block in order, so that the same files
    give the same digits.
    """
    sizes = element_bytes(left.dtype) * width, element_bytes(right.dtype) * width
    totals, changed = _Totals(), _Ranges()
    step = max(1, _ELEMENTS // max(1, width))
    left.expect(rows * sizes[0])
    right.expect(rows * sizes[1])
    for first in range(0, rows if width else 0, step):
        count = min(step, rows - first)
        raws = left.read(first * sizes[0], count * sizes[0]), right.read(first * sizes[1], count * sizes[1])
        numbers = _numbers(raws[0], left.dtype), _numbers(raws[1], right.dtype)
        totals.add(*numbers)
        if counts_rows and (left.dtype != right.dtype or raws[0] != raws[1]):
            differing = _differing_bytes(*raws) if left.dtype == right.dtype else _differing_numbers(*numbers)
            for row in differing.reshape(count, -1).any(axis=1).nonzero()[0].tolist():
                changed.add(first + row)
        advance(len(raws[0]))
    return totals.gap(rows * width, changed.of(rows) if counts_rows else None)


def _numbers(raw: bytes, dtype: str) -> np.ndarray[Any, Any]:
    import numpy as np

    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        return decode(raw, dtype).astype(np.float64)


def _differing_bytes(one: bytes, other: bytes) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.not_equal(np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8))


def _differing_numbers(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where two arrays differ; NaN equals NaN, for a cast keeps no more of it than that."""
    import numpy as np

    differing: np.ndarray[Any, Any] = (one != other) & ~(np.isnan(one) & np.isnan(other))
    return differing


class _Totals:
    """Sums over the elements seen so far that are finite on both sides."""

    def __init__(self) -> None:
        self.not_finite = 0
        self.largest = self.total = self.product = 0.0
        self.squares = [0.0, 0.0]

    def add(self, one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> None:
        import numpy as np

        is_finite = np.isfinite(one) & np.isfinite(other)
        if not is_finite.all():
            self.not_finite += int(is_finite.size - np.count_nonzero(is_finite))
            one, other = one[is_finite], other[is_finite]
        with np.errstate(over="ignore", under="ignore"):
            gaps = np.abs(one - other)
            self.largest = max(self.largest, float(gaps.max(initial=0.0)))
            self.total += float(gaps.sum())
            self.product += float((one * other).sum())
            for side, values in enumerate((one, other)):
                self.squares[side] += float(np.square(values).sum())

    def gap(self, compared: int, rows: RowChanges | None) -> Gap:
        mean = self.total / max(1, compared - self.not_finite)
        return Gap(compared, self.not_finite, self.largest, mean, self._cosine(), rows)

    def _cosine(self) -> float | None:
        norms = math.sqrt(self.squares[0]) * math.sqrt(self.squares[1])
        if not norms or not math.isfinite(norms) or not math.isfinite(self.product):
            return None
        return max(-1.0, min(1.0, self.product / norms))


class _Ranges:
    """Gathers rows, given in ascending order, into ranges; of very many keeps the first and counts the rest."""

    def __init__(self) -> None:
        self.rows = self.count = 0
        self.kept: list[tuple[int, int]] = []
        self.last = -2

    def add(self, row: int) -> None:
        self.rows += 1
        if row != self.last + 1:
            self.count += 1
        if self.count <= MOST_RANGES:
            if row == self.last + 1:
                self.kept[-1] = self.kept[-1][0], row
            else:
                self.kept.append((row, row))
        self.last = row

    def of(self, compared: int) -> RowChanges:
        return RowChanges(compared, self.rows, tuple(self.kept), self.count - len(self.kept))
