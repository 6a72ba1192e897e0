"""The unit of work: a portion of one file that one process reads and judges on its own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

PORTION = 4 << 20
"""Bytes on disk that make a portion worth its while; a row group or batch is never cut. Small, so that workers end at
nearly the same time."""

BLOCK = 1 << 21
"""Values of a column that are read at once."""


_LEAST, _RATIO = 2 << 30, 10_000
EXPANDED = f"expands to more than {_RATIO:,} times its size, as no corpus does"


class Format(Enum):
    """What a corpus can be stored as."""

    PARQUET = "parquet"
    ARROW = "arrow"
    JSON_LINES = "json_lines"
    NPY = "npy"
    NPZ = "npz"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file, [begin, end) in units of its reader: row groups, record batches, bytes or rows.

    `first_row` is the number of its first row in the file. `rows` is None where only reading tells; a span that was
    cut to a limit has fewer rows than [begin, end) holds. `nbytes` on disk are for the progress shown.
    """

    begin: int
    end: int
    first_row: int
    rows: int | None
    nbytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file to be scanned: the `name` that findings show, where it lies, its place in the order of the scan, what it
    is, and its size."""

    name: str
    path: str
    order: int
    format: Format
    nbytes: int


@dataclass(frozen=True, slots=True)
class Portion:
    """A span of a source. `is_whole` tells that the source has no other."""

    source: Source
    span: Span
    is_whole: bool


def grouped(sizes: list[tuple[int, int]], nbytes: int) -> list[Span]:
    """Spans of whole units, given each unit's (rows, bytes in memory), of about `PORTION` bytes on disk each."""
    spans, begin, first_row, row = [], 0, 0, 0
    share = nbytes / max(1, sum(size for _, size in sizes))
    pending = 0.0
    for index, (rows, size) in enumerate(sizes):
        row, pending = row + rows, pending + size * share
        if pending >= PORTION or index == len(sizes) - 1:
            spans.append(Span(begin, index + 1, first_row, row - first_row, round(pending)))
            begin, first_row, pending = index + 1, row, 0.0
    return spans


def most_bytes(nbytes: int) -> int:
    """Bytes of rows that a file of `nbytes` can honestly hold. Rows padded to 8192 positions take a few thousandths of
    themselves on disk; a bomb takes a millionth."""
    return max(_LEAST, _RATIO * nbytes)


def numbered(first_row: int, rows: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Numbers of consecutive rows."""
    return np.arange(first_row, first_row + rows)
