"""Texts on this disk, read in parts that several workers can take: plain text by lines, JSON lines, csv and parquet by
a column. What a file is, its ending says.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gte_surgery.errors import RefusedError, UsageError

PART = 1 << 23
"""Bytes of a part of a file that is read by lines."""
LONGEST = 1 << 24
"""Bytes of the longest line that is read."""
TEXT_COLUMN = "text"


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that begin in bytes [begin, end) of a file, or row groups [begin, end) of a parquet file; all of a csv."""

    path: str
    kind: str
    column: str
    begin: int
    end: int


def parts(paths: list[Path], column: str | None) -> list[Part]:
    """The parts of all files, in order. Raises UsageError for a file that is not there."""
    found: list[Part] = []
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path}: no such file", "give files of text, JSON lines, csv or parquet")
        kind = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".json": "json", ".ndjson": "json"}.get(
            path.suffix.lower(), "text"
        )
        size = path.stat().st_size
        step = size if kind in ("csv", "parquet") else PART
        for begin in range(0, max(size, 1), max(step, 1)):
            found.append(Part(str(path), kind, column or TEXT_COLUMN, begin, min(begin + step, size)))
    return found


def texts_of(part: Part) -> Iterator[str]:
    """The texts of a part. Raises RefusedError for rows that are none, with their place."""
    match part.kind:
        case "parquet":
            yield from _parquet(part)
        case "csv":
            yield from _csv(part)
        case "json":
            for at, line in _lines(part):
                yield _member(line, part, at)
        case _:
            for _, line in _lines(part):
                yield line


def _lines(part: Part) -> Iterator[tuple[int, str]]:
    """(offset, line) of each line that begins in the part and is not empty; bytes that are no UTF-8 are replaced."""
    with Path(part.path).open("rb") as file:
        if part.begin:
            file.seek(part.begin - 1)
            while not (skipped := file.readline(LONGEST)).endswith(b"\n") and skipped:
                pass
        at = file.tell()
        while at < part.end and (line := file.readline(LONGEST)):
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if text:
                yield at, text
            at += len(line)


def _member(line: str, part: Part, at: int) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise RefusedError(f"{part.path}: byte {at}: not a JSON value, must be one a line") from None
    text = value.get(part.column) if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise RefusedError(f"{part.path}: byte {at}: no text in `{part.column}`", "name the column: --column NAME")
    return text


def _csv(part: Part) -> Iterator[str]:
    with Path(part.path).open(encoding="utf-8", errors="replace", newline="") as file:
        for at, row in enumerate(csv.DictReader(file), 2):
            text = row.get(part.column)
            if text is None:
                raise RefusedError(f"{part.path}: row {at}: no column `{part.column}`", "name it: --column NAME")
            yield text


def _parquet(part: Part) -> Iterator[str]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise RefusedError(f"pyarrow: cannot be imported: {error}", "`pip install 'gte-surgery[data]'`") from error
    with parquet.ParquetFile(part.path, memory_map=False) as file:
        if part.column not in file.schema_arrow.names:
            raise RefusedError(f"{part.path}: no column `{part.column}`", "name it: --column NAME")
        for batch in file.iter_batches(batch_size=1024, columns=[part.column]):
            yield from (text for text in batch.column(0).to_pylist() if isinstance(text, str))
