"""Turns a small piece into its bytes. The only module of surgery that does arithmetic, and so the only one that needs
numpy, which it imports when a piece asks for it: pure copies and fills, such as a shrink, never load it.

BF16, which numpy lacks, is kept in 16-bit integers: the upper half of a float32, rounded to nearest even.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gte_surgery.gte.tensors import FLOATS
from gte_surgery.surgery.pieces.correlation import correlated
from gte_surgery.surgery.pieces.piece import (
    BLOCK,
    AddRow,
    Cast,
    CopyRange,
    Correlated,
    Fill,
    GatherRows,
    LikeTable,
    Normal,
    Overlay,
    Piece,
)

if TYPE_CHECKING:
    import numpy as np

Read = Callable[[str, int, int], bytes]
"""(source, offset, count) -> exactly `count` bytes of that source file."""

GAP = 4096
"""Bytes between two wanted rows that are rather read along than skipped with another read."""

ARITHMETIC_DTYPES = tuple(FLOATS)
"""The dtypes in which numbers can be drawn and added; all others are only carried."""


def evaluate(piece: Piece, read: Read) -> bytes:
    """The bytes of a piece, all at once: keep it small (see `pieces.split`)."""
    match piece:
        case CopyRange():
            return read(piece.source, piece.begin, piece.nbytes)
        case GatherRows():
            found = _read_rows(piece, read)
            return b"".join(map(found.__getitem__, piece.rows) if piece.offsets is None else _means(piece, found))
        case Fill():
            return piece.pattern * piece.times
        case Normal():
            return encode(_normal(piece), piece.dtype)
        case AddRow():
            row = decode(evaluate(piece.row, read), piece.dtype)
            table = decode(evaluate(piece.piece, read), piece.dtype).reshape(-1, row.size)
            return encode(_sum(table, row), piece.dtype)
        case Cast():
            return encode(decode(evaluate(piece.piece, read), piece.before), piece.after)
        case LikeTable():
            raise ValueError("the table is not measured yet: `statistics.settled` comes first")
        case Correlated():
            return encode(correlated(piece.moments, _normal(piece.noise)), piece.dtype)
        case Overlay():
            return _overlay(piece, read)


def first_endless(raw: bytes, before: str, after: str) -> tuple[int, float] | None:
    """Place and value of the first number of dtype `before` that is not finite as dtype `after`; None: all are."""
    import numpy as np

    numbers = decode(raw, before)
    wrong = np.flatnonzero(~np.isfinite(decode(encode(numbers, after), after)))
    return (int(wrong[0]), float(numbers[wrong[0]])) if wrong.size else None


def _sum(table: np.ndarray[Any, Any], row: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Element by element, infinities and NaN as IEEE 754 has them, without a word of warning."""
    import numpy as np

    with np.errstate(invalid="ignore", over="ignore"):
        total: np.ndarray[Any, Any] = np.add(table, row)
    return total


def decode(raw: bytes, dtype: str) -> np.ndarray[Any, Any]:
    """Little-endian elements as float32 (F64: float64) numbers, exactly."""
    import numpy as np

    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype == "F16":
        return np.frombuffer(raw, "<f2").astype(np.float32)
    return np.frombuffer(raw, {"F32": "<f4", "F64": "<f8"}[dtype])


def encode(values: np.ndarray[Any, Any], dtype: str) -> bytes:
    """float32 (F64: float64) numbers as little-endian elements, rounded to nearest, ties to even; NaN stays NaN."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        if dtype != "BF16":
            return values.astype({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]).tobytes()
        bits = _float32_bits(values)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.where(is_nan, (bits >> 16) | 0x40, rounded).astype("<u2").tobytes()


def _float32_bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bits of numbers as float32; float64 numbers are rounded to odd, so that rounding them once more, to BF16,
    gives what rounding them once would give [Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums"].
    """
    import numpy as np

    near = np.ascontiguousarray(values, np.float32)
    bits: np.ndarray[Any, Any] = near.view(np.uint32)
    if values.dtype == np.float64:
        bits -= np.abs(near.astype(np.float64)) > np.abs(values)
        bits |= (near != values) & ~np.isnan(near)
    return bits


def _read_rows(piece: GatherRows, read: Read) -> dict[int, bytes]:
    """The bytes of the rows of the table, each read once: in ascending order, near ones together."""
    size, found = piece.row_bytes, {}
    for run in _runs(sorted(set(piece.used)), 1 + GAP // size):
        first = run[0]
        block = read(piece.source, piece.begin + first * size, (run[-1] + 1 - first) * size)
        for row in run:
            found[row] = block[(row - first) * size : (row + 1 - first) * size]
    return found


def _runs(rows: Sequence[int], apart: int) -> Iterator[Sequence[int]]:
    """Ascending rows in runs whose members are at most `apart` from the next."""
    begin = 0
    for at in range(1, len(rows) + 1):
        if at == len(rows) or rows[at] - rows[at - 1] > apart:
            yield rows[begin:at]
            begin = at


def _means(piece: GatherRows, found: Mapping[int, bytes]) -> Iterator[bytes]:
    """Sums run in the order of the rows, in float64, so that they are the same everywhere."""
    import numpy as np

    for begin, end in pairwise(piece.offsets or ()):
        first, *others = piece.rows[begin:end]
        if others:
            total = decode(found[first], piece.dtype).astype(np.float64)
            for row in others:
                total += decode(found[row], piece.dtype)
            yield encode(total / (end - begin), piece.dtype)
        else:
            yield found[first]


def _overlay(piece: Overlay, read: Read) -> bytes:
    rows, over, size = bytearray(evaluate(piece.under, read)), evaluate(piece.over, read), piece.row_bytes
    for at, place in enumerate(piece.places):
        rows[place * size : (place + 1) * size] = over[at * size : (at + 1) * size]
    return bytes(rows)


def _normal(piece: Normal) -> np.ndarray[Any, Any]:
    import numpy as np

    end = piece.begin + piece.size
    blocks = range(piece.begin // BLOCK, -(-end // BLOCK))
    drawn = np.concatenate([_block(piece, block, min(BLOCK, end - block * BLOCK)) for block in blocks])
    values = drawn[piece.begin - blocks.start * BLOCK :]
    values *= np.float32(piece.std)
    return values


def _block(piece: Normal, block: int, count: int) -> np.ndarray[Any, Any]:
    """The first `count` draws of one block, from a generator of its own (SFC64, numpy's float32 ziggurat)."""
    import numpy as np

    name = f"gte-surgery normal\0{piece.seed}\0{piece.stream}\0{block}".encode()
    entropy = int.from_bytes(hashlib.sha256(name).digest(), "little")
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))
    if piece.cut is None:
        return generator.standard_normal(count, dtype=np.float32)
    drawn = generator.standard_normal(BLOCK, dtype=np.float32)
    while (beyond := np.abs(drawn) > piece.cut).any():
        drawn[beyond] = generator.standard_normal(int(beyond.sum()), dtype=np.float32)
    return drawn[:count]
