"""Arrow IPC files and streams: what Hugging Face datasets keep on disk.

Planning walks from message to message and reads what precedes each record batch; reading copies one batch at a time, so
a batch is what memory must hold. Nothing is mapped: who shortens a file that is mapped ends the process that reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.judging.blocks import RawBlock
from gte_surgery.contract.scan.portions import Source, Span, grouped
from gte_surgery.contract.scan.readers.lists import raw_block, reading, wanted

_FILE_MAGIC = b"ARROW1"
_MORE = b"\xff\xff\xff\xff"
"""What precedes the size of a message, but in files of before version 0.15."""

_BATCH = 3
"""The kind of a message that holds rows [Message.fbs, MessageHeader]."""

_MOST = 1 << 26
"""Bytes of a message without its body."""


class _Message(NamedTuple):
    """Where a message begins and the next one does, its kind, and the rows of a record batch."""

    begin: int
    end: int
    kind: int
    rows: int


def plan(source: Source, columns: Columns) -> list[Span]:
    """Spans of record batches: by number in a file, by byte offset in a stream, whose batches can be read on their own
    unless they need dictionaries read before."""
    with reading(), pa.OSFile(source.path) as file:
        reader = _opened(file)
        is_file = isinstance(reader, pa.RecordBatchFileReader)
        wanted(reader.schema, columns)
        messages = list(_messages(file, *((8, reader.num_record_batches) if is_file else (0, None))))
    batches = [each for each in messages if each.kind == _BATCH]
    spans = grouped([(each.rows, each.rows) for each in batches], source.nbytes)
    if is_file:
        return spans
    if len(batches) < len(messages) - 1:
        return [Span(0, 0, 0, sum(each.rows for each in batches), source.nbytes)]
    edges = [each.begin for each in batches] + [each.end for each in batches[-1:]]
    return [Span(edges[span.begin], edges[span.end], span.first_row, span.rows, span.nbytes) for span in spans]


def read(source: Source, span: Span, columns: Columns) -> Iterator[RawBlock]:
    """The rows of a span of record batches, each of which is looked through before anything is done with it: what is
    read from a file may point anywhere."""
    row = span.first_row
    with reading(), pa.OSFile(source.path) as file:
        reader = _opened(file)
        is_file = isinstance(reader, pa.RecordBatchFileReader)
        names = wanted(reader.schema, columns)
        for batch in (_file_batches if is_file else _stream_batches)(file, reader.schema, span, names):
            chosen = batch.select(names)
            chosen.validate(full=True)
            yield raw_block(chosen, row, columns)
            row += batch.num_rows


def _opened(file: pa.NativeFile) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    is_file = file.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    file.seek(0)
    return pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)


def _messages(file: pa.NativeFile, at: int, most: int | None) -> Iterator[_Message]:
    """The messages from an offset to the end, or to the last of so many record batches. Raises CorpusError where one
    makes no sense, or batches are missing.

    Each is its size, a table of flatbuffers, and a body [Arrow columnar format, Encapsulated message format].
    """
    size, left = file.size(), most
    while at + 8 <= size and left != 0:
        file.seek(at)
        head = file.read(8)
        begin, length = (at + 8, head[4:]) if head.startswith(_MORE) else (at + 4, head[:4])
        (count,) = struct.unpack("<i", length)
        if count == 0:
            break
        file.seek(begin)
        try:
            if not 0 < count <= min(_MOST, size - begin):
                raise ValueError
            table = _Table.root(file.read(count))
            kind, body = table.number(1, "<B"), table.number(3, "<q")
            rows = table.below(2).number(0, "<q") if kind == _BATCH else 0
            end = begin + count + body
            if not begin < end <= size or rows < 0:
                raise ValueError
        except (struct.error, ValueError):
            raise CorpusError(Fault.UNREADABLE, f"no message of Arrow at byte {at}") from None
        yield _Message(at, end, kind, rows)
        at = end
        if left is not None and kind == _BATCH:
            left -= 1
    if left:
        raise CorpusError(Fault.UNREADABLE, f"{left} of its {most} record batches are missing")


class _Table(NamedTuple):
    """A table of flatbuffers: where it begins in its buffer."""

    raw: bytes
    begin: int

    @staticmethod
    def root(raw: bytes) -> _Table:
        return _Table(raw, *struct.unpack_from("<I", raw))

    def _place(self, slot: int) -> int | None:
        """Where the value of a slot stands; None where it is left at its default."""
        fields = self.begin - _unpacked("<i", self.raw, self.begin)
        at = 4 + 2 * slot
        offset = _unpacked("<H", self.raw, fields + at) if at < _unpacked("<H", self.raw, fields) else 0
        return self.begin + offset if offset else None

    def number(self, slot: int, form: str) -> int:
        place = self._place(slot)
        return 0 if place is None else _unpacked(form, self.raw, place)

    def below(self, slot: int) -> _Table:
        """The table that a slot refers to."""
        place = self._place(slot)
        if place is None:
            raise ValueError
        return _Table(self.raw, place + _unpacked("<I", self.raw, place))


def _unpacked(form: str, raw: bytes, at: int) -> int:
    if at < 0:
        raise ValueError
    number: int = struct.unpack_from(form, raw, at)[0]
    return number


def _file_batches(file: pa.NativeFile, schema: pa.Schema, span: Span, names: list[str]) -> Iterator[pa.RecordBatch]:
    options = pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(name) for name in names])
    reader = pa.ipc.open_file(file, options=options)
    for index in range(span.begin, span.end):
        yield reader.get_batch(index)


def _stream_batches(file: pa.NativeFile, schema: pa.Schema, span: Span, names: list[str]) -> Iterator[pa.RecordBatch]:
    if span.end == 0:
        file.seek(0)
        yield from pa.ipc.open_stream(file)
        return
    file.seek(span.begin)
    while file.tell() < span.end:
        yield pa.ipc.read_record_batch(pa.ipc.read_message(file), schema)
