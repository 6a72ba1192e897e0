"""Which ranges are asked of a hub for the ranges that are needed: near ones together, none too long."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise

Range = tuple[int, int]
"""Bytes [begin, end)."""

GAP = 64 << 10
"""A gap of fewer bytes is rather fetched along than skipped by another request, as long as `WASTE` allows."""
LONGEST = 8 << 20
"""Bytes of one request at most."""
WASTE = 0.25
"""Of the bytes that are needed, so many may be fetched besides: a table of scattered rows would else come whole."""


def coalesced(ranges: Iterable[Range]) -> list[Range]:
    """The requests that fetch `ranges`, ascending, none overlapping another.

    The smallest gaps are bridged first.

    >>> coalesced([(0, 1000), (1200, 2000), (900_000, 901_000)])
    [(0, 2000), (900000, 901000)]
    """
    whole = list(union(ranges))
    room = int(WASTE * sum(end - begin for begin, end in whole))
    gaps = array("q", (after[0] - before[1] for before, after in pairwise(whole)))
    bridged = bytearray(len(gaps))
    for at in sorted(range(len(gaps)), key=gaps.__getitem__):
        if gaps[at] >= GAP or gaps[at] > room:
            break
        room -= gaps[at]
        bridged[at] = True
    return [part for joined in _joined(whole, bridged) for part in _cut(joined)]


def union(ranges: Iterable[Range]) -> Iterator[Range]:
    """The same bytes as ascending ranges that do not touch; empty ones go."""
    last: Range | None = None
    for begin, end in sorted(ranges):
        if begin >= end:
            continue
        if last is not None and begin <= last[1]:
            last = last[0], max(last[1], end)
            continue
        if last is not None:
            yield last
        last = begin, end
    if last is not None:
        yield last


def repeated(ranges: Iterable[Range]) -> Iterator[Range]:
    """The bytes that are in more than one of `ranges`."""
    furthest = 0
    for begin, end in sorted(ranges):
        if begin < min(end, furthest):
            yield begin, min(end, furthest)
        furthest = max(furthest, end)


def without(ranges: Iterable[Range], taken: Iterable[Range]) -> Iterator[Range]:
    """The bytes of `ranges` that are in none of `taken`, as ascending ranges."""
    others = list(union(taken))
    at = 0
    for begin, end in union(ranges):
        while at < len(others) and others[at][1] <= begin:
            at += 1
        for first, last in others[at:]:
            if first >= end:
                break
            if begin < first:
                yield begin, first
            begin = max(begin, last)
        if begin < end:
            yield begin, end


def _joined(whole: list[Range], bridged: bytearray) -> Iterator[Range]:
    begin = 0
    for at in range(len(whole)):
        if at == len(bridged) or not bridged[at]:
            yield whole[begin][0], whole[at][1]
            begin = at + 1


def _cut(joined: Range) -> Iterator[Range]:
    """Parts of nearly equal length, so that none is a rest that is not worth its request."""
    begin, end = joined
    parts = -(-(end - begin) // LONGEST)
    step = -(-(end - begin) // parts)
    for first in range(begin, end, step):
        yield first, min(first + step, end)
