"""Arrow IPC files and streams: what Hugging Face datasets keep on disk.

Planning maps the file and looks at one column of each record batch; reading copies one record batch at a time, so a
batch is what memory must hold.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.judging.blocks import RawBlock
from gte_surgery.contract.scan.portions import Source, Span, grouped
from gte_surgery.contract.scan.readers.lists import raw_block, reading, wanted

_FILE_MAGIC = b"ARROW1"


def plan(source: Source, columns: Columns) -> list[Span]:
    """Spans of record batches: by number in a file, by byte offset in a stream."""
    with reading(), pa.memory_map(source.path) as file:
        if _is_file(file):
            reader = pa.ipc.open_file(file, options=_only(pa.ipc.open_file(file).schema, columns, [columns.ids]))
            rows = [reader.get_batch(index).num_rows for index in range(reader.num_record_batches)]
            return grouped([(count, count) for count in rows], source.nbytes)
        return _plan_stream(file, source, columns)


def read(source: Source, span: Span, columns: Columns) -> Iterator[RawBlock]:
    """The rows of a span of record batches."""
    row = span.first_row
    with reading(), pa.OSFile(source.path) as file:
        batches = _file_batches(file, span, columns) if _is_file(file) else _stream_batches(file, span)
        for batch in batches:
            yield raw_block(batch, row, columns)
            row += batch.num_rows


def _is_file(file: pa.NativeFile) -> bool:
    is_file: bool = file.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    file.seek(0)
    return is_file


def _only(schema: pa.Schema, columns: Columns, names: list[str] | None = None) -> pa.ipc.IpcReadOptions:
    """Options that leave the columns out which nobody wants. Raises CorpusError as `wanted`."""
    found = wanted(schema, columns)
    return pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(name) for name in names or found])


def _plan_stream(file: pa.NativeFile, source: Source, columns: Columns) -> list[Span]:
    """Batches of a stream can be read on their own, from their offset, unless they need dictionaries read before."""
    options = _only(pa.ipc.open_stream(file).schema, columns, [columns.ids])
    file.seek(0)
    reader = pa.ipc.open_stream(file, options=options)
    offsets, rows = [file.tell()], []
    for batch in reader:
        offsets.append(file.tell())
        rows.append(batch.num_rows)
    file.seek(offsets[0])
    if rows and pa.ipc.read_message(file).type != "record batch":
        return [Span(0, 0, 0, sum(rows), source.nbytes)]
    spans = grouped([(count, count) for count in rows], source.nbytes)
    return [Span(offsets[span.begin], offsets[span.end], span.first_row, span.rows, span.nbytes) for span in spans]


def _file_batches(file: pa.NativeFile, span: Span, columns: Columns) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(file, options=_only(pa.ipc.open_file(file).schema, columns))
    for index in range(span.begin, span.end):
        yield reader.get_batch(index)


def _stream_batches(file: pa.NativeFile, span: Span) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_stream(file)
    if span.end == 0:
        yield from reader
        return
    file.seek(span.begin)
    while file.tell() < span.end:
        yield pa.ipc.read_record_batch(pa.ipc.read_message(file), reader.schema)
