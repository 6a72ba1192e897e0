"""Looks at the numbers of one small block of a tensor after the other, at nearly the speed of reading them.

The numbers are looked at as integers: of two floats without their sign bits the larger one is the larger integer, so
the largest and the smallest magnitude of a block tell at once whether NaN, infinities, overflow or denormals are in it.
Only a block that has some is looked at again. Needs numpy, imported when called.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checkpoint.shards import numbers
from gte_surgery.checkpoint.source import Opened, Place
from gte_surgery.checks.statistics import TensorStatistics

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BLOCK_BYTES = 1 << 18
"""Bytes looked at together: few enough to stay in the second-level cache, many enough for Python not to matter."""
_FAINT_HALF = 2.0**-13
"""An F16 row of numbers of this size in the mean is looked at again, since those below 2^-14 are widened coarsely."""


@dataclass(frozen=True, slots=True)
class _Format:
    """How a dtype is stored: unsigned integers of `size` bytes with `mantissa` bits of fraction."""

    size: int
    mantissa: int

    @property
    def magnitude(self) -> int:
        """All bits but the sign; also the largest NaN."""
        return (1 << (8 * self.size - 1)) - 1

    @property
    def infinity(self) -> int:
        return self.magnitude >> self.mantissa << self.mantissa

    @property
    def least_normal(self) -> int:
        return 1 << self.mantissa


FORMATS = {"F64": _Format(8, 52), "F32": _Format(4, 23), "BF16": _Format(2, 7), "F16": _Format(2, 10)}
_HALF_LIMITS = {"F64": 0x40EFFE0000000000, "F32": 0x477FF000, "BF16": 0x4780, "F16": 0x7C00}
"""The bits of 65520 in each dtype, rounded up to what the dtype holds; in F16 those of infinity."""


@dataclass(frozen=True, slots=True)
class Block:
    """The numbers [begin, end) of a tensor: whole rows of `width` numbers, or part of one row where `width` is 0."""

    tensor: StoredTensor
    begin: int
    end: int
    width: int


def blocks_of(tensor: StoredTensor) -> Iterator[Block]:
    """The tensor cut into blocks, in order; whole rows each where rows are short enough."""
    fitting = BLOCK_BYTES // FORMATS[tensor.dtype].size
    count = tensor.nbytes // FORMATS[tensor.dtype].size
    width = row_width(tensor)
    step = fitting // width * width if width else fitting
    for begin in range(0, count, step):
        yield Block(tensor, begin, min(begin + step, count), width)


def _range(block: Block) -> tuple[int, int]:
    """The bytes [begin, end) of its file that a block is."""
    size, begin = FORMATS[block.tensor.dtype].size, block.tensor.file_begin
    return begin + block.begin * size, begin + block.end * size


def row_width(tensor: StoredTensor) -> int:
    """Numbers in a row of a matrix, or in the whole of a vector; 0 for other shapes, and where it exceeds a block."""
    width = tensor.shape[-1] if len(tensor.shape) in (1, 2) else 0
    return width if width * FORMATS[tensor.dtype].size <= BLOCK_BYTES else 0


class BlockReader(threading.local):
    """Reads blocks and looks at them. Each thread has buffers of its own; the room for norms is shared."""

    def __init__(self, norms: Mapping[str, Array]) -> None:
        """`norms` holds the room for the row norms of the tensors, by name, where they are wanted."""
        import numpy as np

        self.norms = norms
        self.raw = np.empty(BLOCK_BYTES, np.uint8)
        self.magnitudes = np.empty(BLOCK_BYTES, np.uint8)
        self.widened = np.empty(BLOCK_BYTES // 2, np.uint32)
        self.place: Place | None = None
        self.file: Opened | None = None

    def look(self, batch: list[Block]) -> list[TensorStatistics]:
        """The statistics of each block."""
        import numpy as np

        try:
            with np.errstate(all="ignore"):
                return [self._look(block) for block in self._announced(batch)]
        finally:
            self._close()

    def _announced(self, batch: list[Block]) -> Iterator[Block]:
        """The blocks, after the file of each has been told which ranges of it will be read."""
        for place, blocks in groupby(batch, key=lambda block: block.tensor.shard.file.place):
            mine = list(blocks)
            if place.near is None:
                self._open(place).expect([_range(block) for block in mine])
            yield from mine

    def _look(self, block: Block) -> TensorStatistics:
        import numpy as np

        kind = FORMATS[block.tensor.dtype]
        stored = self._read(block, kind.size)
        magnitudes = self.magnitudes[: stored.nbytes].view(stored.dtype)
        np.bitwise_and(stored, stored.dtype.type(kind.magnitude), out=magnitudes)
        lowest, highest = int(magnitudes.min()), int(magnitudes.max())
        seen = TensorStatistics(stored.size, number_of(highest, block.tensor.dtype), constant=None)
        if highest >= _HALF_LIMITS[block.tensor.dtype]:
            seen = _with_large(seen, magnitudes, block, kind)
        if lowest < kind.least_normal:
            small = int(np.count_nonzero(magnitudes < stored.dtype.type(kind.least_normal)))
            seen = replace(seen, subnormals=small - (stored.size - int(np.count_nonzero(magnitudes))))
        if lowest == highest and (not highest or bool((stored == stored[0]).all())):
            seen = replace(seen, constant=int(stored[0]) if highest else 0)
        return replace(seen, widest=self._norms(block, stored, magnitudes)) if block.width else seen

    def _norms(self, block: Block, stored: Array, magnitudes: Array) -> float:
        """The largest norm of the block's rows; all of them are kept if they are wanted."""
        import numpy as np

        dtype = block.tensor.dtype
        norms = np.sqrt(_squares(self._floats(dtype, stored, magnitudes).reshape(-1, block.width)))
        kept = self.norms.get(block.tensor.name)
        if kept is not None:
            faint = norms <= (_FAINT_HALF * block.width**0.5 if dtype == "F16" else 0.0)
            if faint.any():
                norms[faint] = _exact_norms(stored.reshape(-1, block.width)[faint], dtype)
            kept[block.begin // block.width : block.end // block.width] = norms
        return float(np.fmax.reduce(norms))

    def _floats(self, dtype: str, stored: Array, magnitudes: Array) -> Array:
        """The numbers in float32 (F64: float64), 16-bit ones without their signs.

        F16 by adding to the exponent what its bias lacks: numbers below 2^-14, zero among them, come out up to 2^-14.
        """
        import numpy as np

        if dtype in ("F32", "F64"):
            return stored.view(f"<f{stored.itemsize}")
        widened = self.widened[: stored.size]
        np.copyto(widened, magnitudes)
        if dtype == "BF16":
            np.left_shift(widened, np.uint32(16), out=widened)
        else:
            np.left_shift(widened, np.uint32(13), out=widened)
            np.add(widened, np.uint32((127 - 15) << 23), out=widened)
        floats: Array = widened.view(np.float32)
        return floats

    def _read(self, block: Block, size: int) -> Array:
        tensor = block.tensor
        begin, end = _range(block)
        wanted = end - begin
        if self._open(tensor.shard.file.place).read_into(self.raw.data[:wanted], begin) < wanted:
            raise EOFError(f"{tensor.shard.file.name}: ends inside `{tensor.name}`")
        return self.raw[:wanted].view(f"<u{size}")

    def _open(self, place: Place) -> Opened:
        if self.file is None or place != self.place:
            self._close()
            self.place, self.file = place, place.open()
        return self.file

    def _close(self) -> None:
        file, self.file = self.file, None
        if file is not None:
            file.close()


def _with_large(seen: TensorStatistics, magnitudes: Array, block: Block, kind: _Format) -> TensorStatistics:
    """The statistics of a block that holds NaN, infinities or numbers beyond float16."""
    import numpy as np

    infinity = magnitudes.dtype.type(kind.infinity)
    is_nan, is_infinite = magnitudes > infinity, magnitudes == infinity
    nans, infinities = int(np.count_nonzero(is_nan)), int(np.count_nonzero(is_infinite))
    finite = magnitudes[magnitudes < infinity] if nans or infinities else magnitudes
    limit = magnitudes.dtype.type(_HALF_LIMITS[block.tensor.dtype])
    return replace(
        seen,
        largest=number_of(int(finite.max(initial=0)), block.tensor.dtype),
        nans=nans,
        infinities=infinities,
        overflowing=int(np.count_nonzero(finite >= limit)),
        first_nan=block.begin + int(is_nan.argmax()) if nans else -1,
        first_infinity=block.begin + int(is_infinite.argmax()) if infinities else -1,
    )


def number_of(bits: int, dtype: str) -> float:
    """The number that the bits of one element mean."""
    (number,) = numbers(bits.to_bytes(FORMATS[dtype].size, "little"), dtype) or ()
    return number


def _exact_norms(rows: Array, dtype: str) -> Array:
    """The norms of rows whose squares are too small for float32, or whose F16 numbers are too small for `_floats`."""
    import numpy as np

    is_brain = dtype == "BF16"
    floats = (rows.astype(np.uint32) << 16).view(np.float32) if is_brain else rows.view(f"<f{rows.itemsize}")
    exact: Array = np.linalg.norm(floats.astype(np.float64), axis=1)
    return exact


def _squares(rows: Array) -> Array:
    """The squared norm of each row."""
    import numpy as np

    if hasattr(np, "vecdot"):
        found: Array = np.vecdot(rows, rows)
        return found
    summed: Array = np.einsum("ij,ij->i", rows, rows)  # numpy 1
    return summed
