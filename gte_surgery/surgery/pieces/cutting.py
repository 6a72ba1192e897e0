"""Cuts pieces into smaller ones and joins neighbours, without changing a byte of what they yield."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

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
    element_bytes,
)

ROWS = 1 << 14
"""Chosen rows that a part holds at most: elements chosen out of a bias are rows as well, and each costs memory."""


def merge(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same bytes in fewer pieces: empty ones go, neighbouring ranges of one file become one."""
    last: Piece | None = None
    for piece in pieces:
        if not piece.nbytes:
            continue
        if (
            isinstance(last, CopyRange)
            and isinstance(piece, CopyRange)
            and (last.source, last.end) == (piece.source, piece.begin)
        ):
            last = last._replace(end=piece.end)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def split(piece: Piece, nbytes: int) -> Iterator[Piece]:
    """Cuts a piece into pieces of at most about `nbytes` bytes, never inside an element, a row, or a random block."""
    unit, first = _unit(piece), 0
    match piece:
        case Normal():
            nbytes = BLOCK * unit
            first = -(piece.begin * unit % nbytes)
        case GatherRows() | Overlay():
            nbytes = min(nbytes, ROWS * unit)
        case Cast():
            nbytes = nbytes * element_bytes(piece.after) // element_bytes(piece.before)
    step = max(1, nbytes // unit) * unit
    for offset in range(first, piece.nbytes, step):
        yield cut(piece, max(0, offset), min(offset + step, piece.nbytes) - max(0, offset))


def cut(piece: Piece, offset: int, nbytes: int) -> Piece:
    """The `nbytes` bytes of a piece that start at byte `offset`; both must fall between its elements or rows."""
    unit = _unit(piece)
    first, stop = offset // unit, (offset + nbytes) // unit
    match piece:
        case CopyRange():
            return piece._replace(begin=piece.begin + offset, end=piece.begin + offset + nbytes)
        case GatherRows() if piece.offsets is not None:
            return piece._replace(offsets=piece.offsets[first : stop + 1])
        case GatherRows():
            return piece._replace(rows=piece.rows[first:stop])
        case Fill():
            return piece._replace(times=stop - first)
        case Normal():
            return piece._replace(begin=piece.begin + first, size=stop - first)
        case LikeTable() | Correlated():
            width = unit // element_bytes(piece.dtype if isinstance(piece, Correlated) else piece.table.dtype)
            noise = piece.noise._replace(begin=piece.noise.begin + first * width, size=(stop - first) * width)
            return piece._replace(noise=noise)
        case Overlay():
            return _cut_overlay(piece, offset, nbytes)
        case AddRow():
            return piece._replace(piece=cut(piece.piece, offset, nbytes))
        case Cast():
            before, after = element_bytes(piece.before), element_bytes(piece.after)
            return piece._replace(piece=cut(piece.piece, offset // after * before, nbytes // after * before))


def _unit(piece: Piece) -> int:
    """The bytes inside which a piece is never cut: those of an element, or of a row."""
    match piece:
        case CopyRange():
            return 1
        case GatherRows() | Overlay():
            return piece.row_bytes
        case Fill():
            return len(piece.pattern)
        case Normal():
            return element_bytes(piece.dtype)
        case LikeTable():
            return piece.table.row_bytes
        case Correlated():
            return len(piece.moments.mean) // element_bytes("F64") * element_bytes(piece.dtype)
        case AddRow():
            return piece.row.nbytes
        case Cast():
            before = element_bytes(piece.before)
            return max(_unit(piece.piece), before) // before * element_bytes(piece.after)


def _cut_overlay(piece: Overlay, offset: int, nbytes: int) -> Piece:
    """What covers nothing, or everything, is left out, so that what is not seen is not made either."""
    first, stop = offset // piece.row_bytes, (offset + nbytes) // piece.row_bytes
    begin, end = bisect_left(piece.places, first), bisect_left(piece.places, stop)
    over = cut(piece.over, begin * piece.row_bytes, (end - begin) * piece.row_bytes)
    if end - begin == stop - first:
        return over
    under = cut(piece.under, offset, nbytes)
    places = array("q", (place - first for place in piece.places[begin:end]))
    return piece._replace(under=under, over=over, places=places) if begin < end else under
