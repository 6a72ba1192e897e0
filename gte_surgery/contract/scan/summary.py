"""What a scan has seen, in a form that adds up: `merged(a, b)` is the same whichever way the parts are put together.

Findings are kept for the first files in order, first offenders for each; sums are kept for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from heapq import nsmallest
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gte_surgery.contract.scan.faults import Fault

Array = npt.NDArray[Any]

OFFENDERS = 3
"""How many offenders of one kind are kept for each file."""


@dataclass(frozen=True, slots=True, order=True)
class Offender:
    """Where: the row in its file, and the column in that row, both from 0; −1 is "not that precise". What: `value`."""

    row: int
    column: int = -1
    value: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Sums:
    """How often something is so: in how many places (positions, or rows where the whole row is at fault) and rows."""

    places: int
    rows: int

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.places + other.places, self.rows + other.rows)


_NONE = Sums(0, 0)


@dataclass(frozen=True, slots=True)
class FileFault:
    """One kind of fault in one file: how often, and where first. `order` is the place of the file in the scan."""

    order: int
    file: str
    fault: Fault
    sums: Sums
    offenders: tuple[Offender, ...]

    @property
    def key(self) -> tuple[int, str]:
        return self.order, self.fault.value


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """All that was seen in some part of a corpus.

    `rows` as the files have them, `sequences` after unpacking and without those that could not be judged; `tokens` are
    positions, pads included, `real_tokens` without. `unmasked` sequences had no mask. `lengths[n]` sequences have n
    real tokens; the last entry counts all longer ones. `uses[i]` tells how often id i occurs, or with bools whether.
    `longest` counts real tokens.
    """

    rows: int
    sequences: int
    tokens: int
    real_tokens: int
    unmasked: int
    max_id: int
    longest: int
    lengths: Array
    uses: Array
    faults: tuple[FileFault, ...] = ()
    sums: Mapping[Fault, Sums] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Summary):
            return NotImplemented
        pairs = ((getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
        return all(np.array_equal(*pair) if isinstance(pair[0], np.ndarray) else pair[0] == pair[1] for pair in pairs)

    __hash__ = None  # type: ignore[assignment]


ADDED = ("rows", "sequences", "tokens", "real_tokens", "unmasked")
LARGEST = ("max_id", "longest")
"""The numbers of a summary: those that add up, and those of which the largest counts."""


def empty(vocab_size: int, max_length: int) -> Summary:
    """The summary of nothing: merged with any other, it changes nothing."""
    return Summary(0, 0, 0, 0, 0, -1, 0, np.zeros(max_length + 2, np.int64), np.zeros(vocab_size, bool))


def merged(parts: Iterable[Summary], most: int) -> Summary:
    """One summary of at least one, with the findings of the first `most` (file, code) pairs."""
    first, *rest = parts
    first = replace(first, faults=first.faults[:most])
    for part in rest:
        first = _sum(first, part, most)
    return first


def _sum(a: Summary, b: Summary, most: int) -> Summary:
    return Summary(
        **{name: getattr(a, name) + getattr(b, name) for name in (*ADDED, "lengths", "uses")},
        **{name: max(getattr(a, name), getattr(b, name)) for name in LARGEST},
        faults=joined((*a.faults, *b.faults), most),
        sums={fault: a.sums.get(fault, _NONE) + b.sums.get(fault, _NONE) for fault in (*a.sums, *b.sums)},
    )


def joined(faults: Iterable[FileFault], most: int) -> tuple[FileFault, ...]:
    """Findings of the same file and code become one.

    Cutting to the first `most` loses nothing that a later cut would keep: what is among the first of the whole is
    among the first of each part that has it.
    """
    by_key: dict[tuple[int, str], FileFault] = {}
    for fault in faults:
        known = by_key.get(fault.key)
        by_key[fault.key] = fault if known is None else _both(known, fault)
    return tuple(by_key[key] for key in nsmallest(most, by_key))


def _both(a: FileFault, b: FileFault) -> FileFault:
    offenders = tuple(nsmallest(OFFENDERS, (*a.offenders, *b.offenders)))
    return replace(a, sums=a.sums + b.sums, offenders=offenders)


def length_within(summary: Summary, share: float) -> int:
    """The least length that `share` of the judged rows do not exceed; 0 where there are none.

    Lengths beyond max_length count as the longest.
    """
    behind = np.cumsum(summary.lengths)
    if not behind[-1]:
        return 0
    length = int(np.searchsorted(behind, share * behind[-1]))
    return summary.longest if length == len(behind) - 1 else length


def length_bins(summary: Summary) -> list[tuple[int, int, int]]:
    """(least length, most, rows) of every doubling that has rows: 0, 1, 2 to 3, 4 to 7, …; the last ends where the
    model does, and what is longer has a bin of its own."""
    top = len(summary.lengths) - 2
    edges = [0, *(1 << n for n in range(top.bit_length())), top + 1]
    bins = [(begin, end - 1, int(summary.lengths[begin:end].sum())) for begin, end in pairwise(edges)]
    bins.append((top + 1, summary.longest, int(summary.lengths[-1])))
    return [each for each in bins if each[2]]
