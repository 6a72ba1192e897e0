"""What a cast to a narrower dtype would lose: numbers too large, which become infinite, and numbers too small, which
become zero.

One pass over the bytes to be cast, on several threads, a few blocks in memory. Needs numpy, imported when called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.pieces.cutting import split
from gte_surgery.surgery.pieces.evaluate import Read, decode, encode, evaluate
from gte_surgery.surgery.pieces.piece import Cast, Piece
from gte_surgery.surgery.pieces.sources import Sources
from gte_surgery.surgery.planning.plan import PlannedTensor, SourceFile

_LOSSY = {("F64", "F32"), ("F64", "F16"), ("F64", "BF16"), ("F32", "F16"), ("F32", "BF16"), ("BF16", "F16")}
_PART = 1 << 18


@dataclass(frozen=True, slots=True)
class Losses:
    """Elements of one tensor that do not survive its cast: finite ones that overflow, and ones that become zero."""

    tensor: str
    overflowed: int
    flushed: int


def cast_losses(tensors: Iterable[PlannedTensor], sources: Sequence[SourceFile], threads: int) -> list[Losses]:
    """The losses of every tensor that has any, in the order of `tensors`; raises OSError, and RefusedError
    for a file that changed meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    with Sources(sources, Filesystem()) as opened, ThreadPoolExecutor(threads) as pool:
        parts = [(tensor.name, part) for tensor in tensors for part in _lossy_parts(tensor)]
        opened.expect(part for _, part in parts)
        counted = pool.map(lambda named: (named[0], *_count(named[1], opened.read)), parts)
        totals: dict[str, tuple[int, int]] = {}
        for name, overflowed, flushed in counted:
            before = totals.get(name, (0, 0))
            totals[name] = before[0] + overflowed, before[1] + flushed
    return [Losses(name, *total) for name, total in totals.items() if any(total)]


def _lossy_parts(tensor: PlannedTensor) -> Iterator[Piece]:
    for piece in tensor.pieces:
        if isinstance(piece, Cast) and (piece.before, piece.after) in _LOSSY:
            yield from split(piece, _PART)


def _count(part: Piece, read: Read) -> tuple[int, int]:
    """(overflowed, flushed) of one small cast."""
    import numpy as np

    if not isinstance(part, Cast):
        return 0, 0
    before = decode(evaluate(part.piece, read), part.before)
    after = decode(encode(before, part.after), part.after)
    overflowed = np.count_nonzero(np.isinf(after) & np.isfinite(before))
    return int(overflowed), int(np.count_nonzero((after == 0) & (before != 0)))
