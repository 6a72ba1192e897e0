"""Cuts pieces into smaller ones and joins neighbours, without changing a byte of what they yield."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gte_surgery.surgery.pieces import (
    BLOCK,
    AddRow,
    Cast,
    CopyRange,
    Fill,
    GatherRows,
    Normal,
    Piece,
    Plain,
    element_bytes,
)


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
        case GatherRows():
            step = max(1, nbytes // piece.row_bytes)
            for first in range(0, len(piece.rows), step):
                yield replace(piece, rows=piece.rows[first : first + step])
        case Fill():
            step = max(1, nbytes // len(piece.pattern))
            for first in range(0, piece.count, step):
                yield replace(piece, count=min(step, piece.count - first))
        case Normal():
            yield from _split_normal(piece)
        case AddRow():
            rows = piece.nbytes // piece.row.nbytes
            step = max(1, nbytes // piece.row.nbytes)
            for first in range(0, rows, step):
                count = min(step, rows - first)
                yield replace(piece, piece=cut(piece.piece, first * piece.row.nbytes, count * piece.row.nbytes))
        case Cast():
            size = element_bytes(piece.before)
            step = max(1, nbytes // size) * size
            for first in range(0, piece.piece.nbytes, step):
                yield replace(piece, piece=cut(piece.piece, first, min(step, piece.piece.nbytes - first)))


def cut(piece: Plain, offset: int, nbytes: int) -> Plain:
    """The `nbytes` bytes of a piece that start at byte `offset`; both must fall between its elements or rows."""
    match piece:
        case CopyRange():
            return replace(piece, begin=piece.begin + offset, end=piece.begin + offset + nbytes)
        case GatherRows():
            first = offset // piece.row_bytes
            return replace(piece, rows=piece.rows[first : first + nbytes // piece.row_bytes])
        case Fill():
            return replace(piece, count=nbytes // len(piece.pattern))
        case Normal():
            size = element_bytes(piece.dtype)
            return replace(piece, begin=piece.begin + offset // size, count=nbytes // size)


def _split_normal(piece: Normal) -> Iterator[Normal]:
    begin, end = piece.begin, piece.begin + piece.count
    while begin < end:
        stop = min(end, (begin // BLOCK + 1) * BLOCK)
        yield replace(piece, begin=begin, count=stop - begin)
        begin = stop
