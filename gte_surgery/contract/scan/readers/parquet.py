"""Parquet files, read batch by batch, so that a row group of any size takes the same memory."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.parquet as pq

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.judging.blocks import RawBlock
from gte_surgery.contract.scan.portions import BLOCK, Source, Span, grouped
from gte_surgery.contract.scan.readers.lists import raw_block, reading, wanted

_BUFFER = 1 << 20


def plan(source: Source, columns: Columns) -> list[Span]:
    """Spans of row groups, told from the footer."""
    with reading(), _open(source.path) as file:
        wanted(file.schema_arrow, columns)
        groups = (file.metadata.row_group(index) for index in range(file.num_row_groups))
        return grouped([(group.num_rows, group.total_byte_size) for group in groups], source.nbytes)


def read(source: Source, span: Span, columns: Columns) -> Iterator[RawBlock]:
    """The rows of a span of row groups."""
    with reading(), _open(source.path) as file:
        names = wanted(file.schema_arrow, columns)
        groups = list(range(span.begin, span.end))
        row = span.first_row
        for batch in file.iter_batches(_rows_at_once(file, span, columns.ids), groups, names, use_threads=False):
            yield raw_block(batch, row, columns)
            row += batch.num_rows


def _open(path: str) -> pq.ParquetFile:
    return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)


def _rows_at_once(file: pq.ParquetFile, span: Span, ids: str) -> int:
    """As many rows as have about `BLOCK` ids, and no more than that without any."""
    rows = values = 1
    for index in range(span.begin, span.end):
        group = file.metadata.row_group(index)
        columns = (group.column(n) for n in range(group.num_columns))
        rows += group.num_rows
        values += sum(column.num_values for column in columns if column.path_in_schema.startswith(f"{ids}."))
    return max(1, min(BLOCK * rows // values, BLOCK))
