"""Texts on this disk, read in parts that several workers can take: plain text by lines, JSON lines, csv and parquet by
a column. What a file is, its ending says. A row may hold ids instead of a text where that is asked for.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from shlex import join
from typing import Any, TypeGuard

from gte_surgery.checkpoint.files import SNIFFED_BYTES, Content, sniff
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.vocabulary.token_files import is_id

PART = 1 << 23
"""Bytes of a part of a file that is read by lines; of others at least."""
_MOST_PARTS = {"csv": 8, "parquet": 64}
"""What lies before a part of a csv must be read too, since only that tells where a row begins."""
LONGEST = 1 << 24
"""Bytes of the longest line that is read."""
TEXT_COLUMN = "text"
_HEAD = 1 << 16
_FOREIGN = 500
"""Bytes of a text in which one that is no UTF-8 is taken for a slip; where there are more, it is in other letters."""
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh91AY&SY": "bzip2", b"\xfd7zXZ": "xz"}
_LABELLED = 'give JSON lines: {"query": "…", "positives": ["…"]}'
_NO_TEXT = (Content.SAFETENSORS, Content.PICKLE, Content.TORCH_ZIP, Content.ZIP, Content.LFS_POINTER)

Row = str | list[int]
"""A text, or the ids of one."""


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that begin in bytes [begin, end) of a file, the rows of a csv, or the row groups of a parquet file."""

    path: str
    kind: str
    column: str
    begin: int
    end: int
    weight: int = 1
    """How often each text of it counts."""


def parts(paths: list[Path], column: str | None, weights: Sequence[int] = ()) -> list[Part]:
    """The parts of all files, in order, each text counting as often as its file's weight says. Raises UsageError for a
    file that is not there.
    """
    found: list[Part] = []
    for path, weight in zip(paths, weights or repeat(1), strict=False):
        _require_readable(path, "give files of text, JSON lines, csv or parquet")
        kind = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".json": "json", ".ndjson": "json"}.get(
            path.suffix.lower(), "text"
        )
        if kind != "parquet":
            _require_text(path)
        size = path.stat().st_size
        step = max(PART, -(-size // _MOST_PARTS[kind])) if kind in _MOST_PARTS else PART
        for begin in range(0, max(size, 1), max(step, 1)):
            found.append(Part(str(path), kind, column or TEXT_COLUMN, begin, min(begin + step, size), weight))
    return found


def texts_of(part: Part) -> Iterator[str]:
    """The texts of a part. Raises RefusedError for rows that are none, with their place."""
    return (text for text in _values(part, has_ids=False) if isinstance(text, str))


def rows_of(part: Part) -> Iterator[Row]:
    """The texts of a part, or the lists of ids where its column holds such. Raises as `texts_of`."""
    return _values(part, has_ids=True)


def labelled(path: Path) -> Iterator[tuple[Row, list[Row]]]:
    """(query, positives) of each line of a file of JSON lines {"query": …, "positives": […]}, texts or lists of ids.

    Raises UsageError for a file that is not there, RefusedError for a line that is none, with its place.
    """
    _require_readable(path, _LABELLED)
    _require_text(path)
    for at, line in _lines(Part(str(path), "json", "", 0, path.stat().st_size)):
        value = _parsed(line, str(path), at)
        query, positives = (value.get(key) for key in ("query", "positives")) if isinstance(value, dict) else (0, 0)
        listed = [each for each in (query, *(positives if isinstance(positives, list) else ())) if _is_row(each)]
        if not isinstance(positives, list) or not positives or len(listed) != 1 + len(positives):
            raise RefusedError(f"{path}: byte {at}: not a query with its positives", _LABELLED)
        yield _sound(listed[0]), list(map(_sound, listed[1:]))


def _require_readable(path: Path, hint: str) -> None:
    if not path.is_file():
        raise UsageError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}", hint)


def _require_text(path: Path) -> None:
    """Raises RefusedError for a file that begins as no text in UTF-8 does: what it holds would be counted as words."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic, program in _PACKED.items():
        if head.startswith(magic):
            raise RefusedError(
                f"{path}: compressed, must be text", f"unpack it first: `{join((program, '-dk', str(path)))}`"
            )
    if (content := sniff(head[:SNIFFED_BYTES])) in _NO_TEXT:
        raise RefusedError(f"{path}: {content.value}, must be text")
    foreign = head.decode("utf-8", "replace").count("\ufffd") - head.count("\ufffd".encode())
    if b"\0" in head or foreign * _FOREIGN > len(head):
        command = join(("iconv", "-f", "UTF-16" if b"\0" in head else "LATIN1", "-t", "UTF-8", str(path)))
        raise RefusedError(f"{path}: not in UTF-8, must be", f"if that is what it is in, `{command}` prints it so")


def _values(part: Part, has_ids: bool) -> Iterator[Row]:
    match part.kind:
        case "parquet":
            yield from _parquet(part, has_ids)
        case "csv":
            yield from _csv(part)
        case "json":
            for at, line in _lines(part):
                yield _member(line, part, at, has_ids)
        case _:
            for _, line in _lines(part):
                yield line


def _is_row(value: object) -> TypeGuard[Row]:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and all(map(is_id, value)))


def _lines(part: Part) -> Iterator[tuple[int, str]]:
    """(offset, line) of each line that begins in the part and is not empty; bytes that are no UTF-8 are replaced."""
    with Path(part.path).open("rb") as file:
        if part.begin:
            file.seek(part.begin - 1)
            while not (skipped := file.readline(LONGEST)).endswith(b"\n") and skipped:
                pass
        at = file.tell()
        while at < part.end and (line := file.readline(LONGEST)):
            text = line.decode("utf-8" if at else "utf-8-sig", "replace").rstrip("\r\n")
            if text:
                yield at, text
            at += len(line)


def _member(line: str, part: Part, at: int, has_ids: bool) -> Row:
    value = _parsed(line, part.path, at)
    row = value.get(part.column) if isinstance(value, dict) else value
    if not isinstance(row, str) and not (has_ids and _is_row(row)):
        raise RefusedError(f"{part.path}: byte {at}: no text in `{part.column}`", "name the column: --column NAME")
    return _sound(row)


def _sound(row: Row) -> Row:
    """A text without halves of surrogate pairs, which JSON can say and no tokenizer takes: replaced, as bytes that are
    no UTF-8 are.
    """
    return row.encode(errors="replace").decode() if isinstance(row, str) and not row.isascii() else row


def _parsed(line: str, path: str, at: int) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        fault = "not a JSON value, must be one a line"
        if len(line) > LONGEST // 4:
            fault += f" of at most {LONGEST >> 20} MiB"
        raise RefusedError(f"{path}: byte {at}: {fault}") from None


def _csv(part: Part) -> Iterator[str]:
    size = Path(part.path).stat().st_size
    with Path(part.path).open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = _Lines(file)
        csv.field_size_limit(LONGEST)
        rows = csv.reader(lines)
        place = {name: place for place, name in enumerate(next(rows, []))}.get(part.column, LONGEST)
        begin = lines.done
        for at, row in enumerate(rows, 2):
            if min(begin, size - 1) >= part.end:
                return
            if row and begin >= part.begin:
                if place >= len(row):
                    raise RefusedError(f"{part.path}: row {at}: no column `{part.column}`", "name it: --column NAME")
                yield row[place]
            begin = lines.done


class _Lines:
    """The lines of a text file, with the bytes `done`."""

    def __init__(self, file: Iterable[str]) -> None:
        self._file, self.done = iter(file), 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.done += len(line) if line.isascii() else len(line.encode())
        return line


def _parquet(part: Part, has_ids: bool) -> Iterator[Row]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise RefusedError(f"pyarrow: cannot be imported: {error}", "`pip install 'gte-surgery[data]'`") from error
    with parquet.ParquetFile(part.path, memory_map=False) as file:
        if part.column not in file.schema_arrow.names:
            raise RefusedError(f"{part.path}: no column `{part.column}`", "name it: --column NAME")
        begins = [_begin(file.metadata.row_group(number).column(0), part.path) for number in range(file.num_row_groups)]
        groups = [number for number, begin in enumerate(begins) if part.begin <= begin < part.end]
        for batch in file.iter_batches(batch_size=1024, columns=[part.column], row_groups=groups) if groups else ():
            values = batch.column(0).to_pylist()
            yield from (each for each in values if isinstance(each, str) or (has_ids and _is_row(each)))


def _begin(column: Any, path: str) -> int:
    """Where a row group says that its first column lies, within the file."""
    begin = int(column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset)
    return max(0, min(begin, Path(path).stat().st_size - 1))
