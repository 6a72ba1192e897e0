"""What a plan needs of files that are far away: exactly the bytes that its pieces read, and how they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from gte_surgery.checkpoint.hub.coalesce import Range, coalesced
from gte_surgery.surgery.pieces.piece import CopyRange, GatherRows, LikeTable, Piece, within


class Fetch(NamedTuple):
    """What is fetched from a hub for a surgery: bytes in all, in how many requests, of how many that lie there."""

    source: str
    nbytes: int
    requests: int
    of: int


def fetch_of(source: str, pieces: Iterable[Piece], sizes: Mapping[str, int], total: int) -> Fetch:
    """What `pieces` fetch of the far files in `sizes`; `total` bytes lie at `source`."""
    asked = [coalesced(ranges) for ranges in needed(pieces, sizes).values()]
    nbytes = sum(end - begin for requests in asked for begin, end in requests)
    return Fetch(source, nbytes, sum(map(len, asked)), total)


def needed(pieces: Iterable[Piece], sources: Collection[str]) -> dict[str, list[Range]]:
    """The ranges of each of `sources` that the pieces read, in the order in which they first do."""
    found: dict[str, list[Range]] = {source: [] for source in sources}
    for part in (part for piece in pieces for part in within(piece)):
        for source, begin, end in _reads(part):
            if source in found:
                found[source].append((begin, end))
    return found


def _reads(part: Piece) -> Iterator[tuple[str, int, int]]:
    match part:
        case CopyRange():
            yield part.source, part.begin, part.end
        case GatherRows():
            yield from _rows(part)
        case LikeTable(table=table):
            yield table.source, table.begin, table.begin + table.nbytes


def _rows(piece: GatherRows) -> Iterator[tuple[str, int, int]]:
    """Each row once, neighbours together."""
    size, first, last = piece.row_bytes, -1, -1
    for row in sorted(set(piece.used)):
        if row != last:
            if last > first:
                yield piece.source, piece.begin + first * size, piece.begin + last * size
            first = row
        last = row + 1
    if last > first:
        yield piece.source, piece.begin + first * size, piece.begin + last * size
