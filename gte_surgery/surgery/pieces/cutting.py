"""Cuts pieces into smaller ones and joins neighbours, without changing a byte of what they yield."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gte_surgery.surgery.pieces.piece import (
    BLOCK,
    AddRow,
    Cast,
    CopyRange,
    Correlated,
    Fill,
    GatherRows,
    LikeTable,
    MeanRows,
    Normal,
    Overlay,
    Piece,
    Plain,
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
            last = replace(last, end=piece.end)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def split(piece: Piece, nbytes: int) -> Iterator[Piece]:
    """Cuts a piece into pieces of at most about `nbytes` bytes, never inside an element, a row, or a random block."""
    match piece:
        case CopyRange():
            for begin in range(piece.begin, piece.end, nbytes):
                yield replace(piece, begin=begin, end=min(begin + nbytes, piece.end))
        case GatherRows() | MeanRows() | Overlay():
            yield from _split_rows(piece, piece.row_bytes, min(nbytes, ROWS * piece.row_bytes))
        case Fill():
            yield from _split_rows(piece, len(piece.pattern), nbytes)
        case LikeTable():
            yield from _split_rows(piece, piece.table.row_bytes, nbytes)
        case Correlated():
            width = len(piece.moments.mean) // element_bytes("F64")
            yield from _split_rows(piece, width * element_bytes(piece.dtype), nbytes)
        case Normal():
            yield from _split_normal(piece)
        case AddRow():
            for first, count in _steps(piece.nbytes, piece.row.nbytes, nbytes):
                yield replace(piece, piece=cut(piece.piece, first, count))
        case Cast():
            for first, count in _steps(piece.piece.nbytes, element_bytes(piece.before), nbytes):
                yield replace(piece, piece=cut(piece.piece, first, count))


def cut(piece: Plain, offset: int, nbytes: int) -> Plain:
    """The `nbytes` bytes of a piece that start at byte `offset`; both must fall between its elements or rows."""
    match piece:
        case CopyRange():
            return replace(piece, begin=piece.begin + offset, end=piece.begin + offset + nbytes)
        case GatherRows():
            first = offset // piece.row_bytes
            return replace(piece, rows=piece.rows[first : first + nbytes // piece.row_bytes])
        case MeanRows():
            first = offset // piece.row_bytes
            return replace(piece, offsets=piece.offsets[first : first + nbytes // piece.row_bytes + 1])
        case Fill():
            return replace(piece, count=nbytes // len(piece.pattern))
        case Normal():
            size = element_bytes(piece.dtype)
            return replace(piece, begin=piece.begin + offset // size, count=nbytes // size)
        case LikeTable():
            return replace(piece, noise=_cut_noise(piece.noise, piece.table.dtype, offset, nbytes))
        case Correlated():
            return replace(piece, noise=_cut_noise(piece.noise, piece.dtype, offset, nbytes))
        case Overlay():
            return _cut_overlay(piece, offset, nbytes)


def _cut_noise(noise: Normal, dtype: str, offset: int, nbytes: int) -> Normal:
    """The draws of which elements of `dtype` at these bytes are made."""
    size = element_bytes(dtype)
    return replace(noise, begin=noise.begin + offset // size, count=nbytes // size)


def _cut_overlay(piece: Overlay, offset: int, nbytes: int) -> Plain:
    """What covers nothing, or everything, is left out, so that what is not seen is not made either."""
    first, stop = offset // piece.row_bytes, (offset + nbytes) // piece.row_bytes
    begin, end = bisect_left(piece.places, first), bisect_left(piece.places, stop)
    over = cut(piece.over, begin * piece.row_bytes, (end - begin) * piece.row_bytes)
    if end - begin == stop - first:
        return over
    under = cut(piece.under, offset, nbytes)
    places = array("q", (place - first for place in piece.places[begin:end]))
    return replace(piece, under=under, over=over, places=places) if begin < end else under


def _split_rows(piece: Plain, row_bytes: int, nbytes: int) -> Iterator[Plain]:
    for first, count in _steps(piece.nbytes, row_bytes, nbytes):
        yield cut(piece, first, count)


def _steps(total: int, unit: int, nbytes: int) -> Iterator[tuple[int, int]]:
    """(offset, size) of parts of whole units that hold about `nbytes` bytes."""
    step = max(1, nbytes // unit) * unit
    for offset in range(0, total, step):
        yield offset, min(step, total - offset)


def _split_normal(piece: Normal) -> Iterator[Normal]:
    begin, end = piece.begin, piece.begin + piece.count
    while begin < end:
        stop = min(end, (begin // BLOCK + 1) * BLOCK)
        yield replace(piece, begin=begin, count=stop - begin)
        begin = stop
