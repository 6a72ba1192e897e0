"""JSON lines, plain or compressed with gzip or zstd; a row is a line, counted from 0.

Arrow's JSON reader does the work as long as every line is as it should be. A chunk of lines that it refuses is read
once more by `line_by_line`, to say which line is to blame.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.json as pj

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.judging.blocks import RawBlock
from gte_surgery.contract.scan.portions import EXPANDED, PORTION, Source, Span, most_bytes
from gte_surgery.contract.scan.readers.line_by_line import read_lines
from gte_surgery.contract.scan.readers.lists import raw_block, reading

CHUNK = 8 << 20
"""Bytes of lines that are parsed at once."""

SLOW = 1 << 16
"""Bytes of lines that are read one by one where Arrow refuses them."""

LONGEST_LINE = 16 << 20
"""Bytes of a line: a million ids, and a novel beside them."""

MOST_UNREAD = 100_000
"""Lines that hold no row after which a portion is given up: it is not what its name says."""

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


def plan(source: Source, columns: Columns) -> list[Span]:
    """Spans of whole lines; one for a compressed or small file, whose rows are then not known beforehand."""
    whole = Span(0, source.nbytes, 0, None, source.nbytes)
    return [whole] if source.nbytes <= PORTION or _compression(source.path) else list(_cut(source.path))


def count(source: Source, span: Span, most: int) -> int:
    """Lines of a span, or `most` where there are more."""
    lines = 0
    with reading():
        for chunk in _chunks(source.path, span):
            lines += _line_count(chunk)
            if lines >= most:
                return most
    return lines


def read(source: Source, span: Span, columns: Columns) -> Iterator[RawBlock]:
    """The rows of a span of lines."""
    row, unread = span.first_row, 0
    with reading():
        for chunk in _chunks(source.path, span):
            for block in _blocks(chunk, row, columns):
                yield block
                unread += len(block.unread)
                if unread > MOST_UNREAD:
                    raise CorpusError(Fault.UNREADABLE, f"more than {MOST_UNREAD:,} lines hold no row")
            row += _line_count(chunk)


def _blocks(chunk: bytes, row: int, columns: Columns) -> Iterator[RawBlock]:
    """Lines by Arrow; where it refuses them, each half on its own, and a few lines one by one."""
    if not chunk.strip():
        return
    lines = _line_count(chunk)
    block = _fast(chunk, row, lines, columns)
    middle = chunk.find(b"\n", len(chunk) // 2) + 1
    if block is not None:
        yield block
    elif len(chunk) <= SLOW or not 0 < middle < len(chunk):
        yield read_lines(chunk, row, columns)
    else:
        yield from _blocks(chunk[:middle], row, columns)
        yield from _blocks(chunk[middle:], row + _line_count(chunk[:middle]), columns)


def _compression(path: str) -> str | None:
    with open(path, "rb") as file:
        head = file.read(4)
    return next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), None)


def _cut(path: str) -> Iterator[Span]:
    """Spans that end behind a line feed, with the lines in each."""
    begin = row = 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while chunk := file.read(PORTION):
            chunk += file.readline(LONGEST_LINE)
            lines, end = _line_count(chunk), begin + len(chunk)
            if not chunk.endswith(b"\n"):  # the last line, or one that is too long, as reading it will tell
                end = size
            yield Span(begin, end, row, lines, end - begin)
            if end == size:
                return
            begin, row = end, row + lines


def _line_count(chunk: bytes) -> int:
    return chunk.count(b"\n") + (not chunk.endswith(b"\n"))


def _chunks(path: str, span: Span) -> Iterator[bytes]:
    """Whole lines of the span, about `CHUNK` bytes at a time."""
    compression = _compression(path)
    with pa.OSFile(path) as raw:
        raw.seek(span.begin)
        file = pa.CompressedInputStream(raw, compression) if compression else raw
        left = sys.maxsize if compression else span.end - span.begin
        most = most_bytes(span.nbytes)
        rest = b""
        while left > 0 and (got := file.read(min(CHUNK, left))):
            left, most = left - len(got), most - len(got)
            if most < 0:
                raise CorpusError(Fault.UNREADABLE, EXPANDED)
            whole, feed, tail = got.rpartition(b"\n")
            if feed:
                yield rest + whole + feed
                rest = tail
            elif len(rest) > LONGEST_LINE:
                raise CorpusError(Fault.UNREADABLE, f"a line of more than {LONGEST_LINE:,} bytes")
            else:
                rest += got
        if rest:
            yield rest


def _fast(chunk: bytes, first_row: int, lines: int, columns: Columns) -> RawBlock | None:
    """A chunk by Arrow; None where Arrow stumbles, or sees other rows than lines."""
    schema = _schema(chunk, columns)
    if schema is None:
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(chunk),
            pj.ReadOptions(use_threads=False, block_size=len(chunk)),
            pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != lines:
        return None
    (batch,) = table.combine_chunks().to_batches()
    return raw_block(batch, first_row, columns)


def _schema(chunk: bytes, columns: Columns) -> pa.Schema | None:
    """Lists of integers for all, but of booleans for a mask whose first row has them."""
    try:
        row = json.loads(chunk.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    fields = []
    for role, name in columns.roles.items():
        value = row.get(name)
        is_flags = role == "mask" and isinstance(value, list) and bool(value) and isinstance(value[0], bool)
        fields.append((name, pa.list_(pa.bool_() if is_flags else pa.int64())))
    if columns.offsets:
        fields.append((columns.offsets, pa.list_(pa.int64())))
    return pa.schema(fields)
