"""Reads the files that say which old rows make a new vocabulary. By content a file is a .npy array, JSON, or lines; all
are read strictly, and every fault is refused with its line.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from gte_surgery.checkpoint.files import read_whole
from gte_surgery.checkpoint.json.scan import skip_space
from gte_surgery.errors import CheckpointError, RefusedError, UsageError
from gte_surgery.vocabulary.row_map import ID_LIMIT, Places, RowMap, place, refused_id, row_map

FILE_LIMIT = 1 << 28
"""Bytes of the largest map that is read: more than ten million lines."""

_NUMPY = b"\x93NUMPY"
_ID = "(0|[1-9][0-9]*)"
_LINE = re.compile(rf"{_ID}(?:\t# [0-9]+)?")
"""An id, and the count that `scan --write-counts` puts beside it, which is left aside."""
_COUNT_LINE = re.compile(rf"{_ID}\t# ([0-9]+)")
_PAIR_LINE = re.compile(rf"{_ID}\t{_ID}")
_ITEM = re.compile(rf"{_ID}[ \t\r\n]*([,\]])")
_MEMBER = re.compile(rf'"{_ID}"[ \t\r\n]*:[ \t\r\n]*{_ID}[ \t\r\n]*([,}}])')


def read_map(path: Path, allow_repeats: bool = False) -> RowMap:
    """A map from a JSON object {"new id": old id}, from lines of new id, tab, old id, or from a .npy array that holds
    the old id of each new id, -1 for none.

    Raises UsageError for a file that cannot be opened, and RefusedError, with its line, for any fault in it.
    """
    raw, source = read_given(path), str(path)
    record: dict[str, object] = {"map": source, "map_sha256": hashlib.sha256(raw).hexdigest()}
    if raw.startswith(_NUMPY):
        new, old, rows = _array(path, source)
        return row_map(new, old, Places(source, "element", new), record, rows=rows, allow_repeats=allow_repeats)
    text = _text(raw, source)
    del raw  # as large as the columns to come
    if text.lstrip()[:1] == "{":
        found = _flat(text, "{", _MEMBER, source, '"new id": old id')
    else:
        found = _lines(text, _PAIR_LINE, source, "new id, tab, old id")
    (new, old), lines = _columns(found, 2, source)
    del text, found
    return row_map(new, old, Places(source, "line", lines), record, allow_repeats=allow_repeats)


def read_keep(path: Path, allow_repeats: bool = False) -> RowMap:
    """A map that keeps old ids in the order of a file: one id a line as `scan --write-counts` writes too, a JSON array,
    or a .npy array. Raises as `read_map`.
    """
    raw, source = read_given(path), str(path)
    record: dict[str, object] = {"keep": source, "keep_sha256": hashlib.sha256(raw).hexdigest()}
    if raw.startswith(_NUMPY):
        new, old, rows = _array(path, source)
        holes = (at for at, present in enumerate((*new, rows)) if at != present)
        if (hole := next(holes, rows)) < rows:
            raise refused_id(place(source, "element", hole), -1)
        places = Places(source, "element", new)
    else:
        text = _text(raw, source)
        is_json = text.lstrip()[:1] == "["
        found = _flat(text, "[", _ITEM, source, "an id") if is_json else _lines(text, _LINE, source, "one id")
        (old,), lines = _columns(found, 1, source)
        places = Places(source, "line", lines)
    return row_map(range(len(old)), old, places, record, allow_repeats=allow_repeats)


def read_counts(path: Path) -> Iterator[tuple[int, int]]:
    """(id, times) of the lines that `scan --write-counts` and `trim --write-counts` write. Raises as `read_map`."""
    raw, source = read_given(path), str(path)
    for _, (number, times) in _lines(_text(raw, source), _COUNT_LINE, source, "an id, a tab and `# times`"):
        if len(number) > 10 or len(times) > 15:
            raise refused_id(source, number[:40])
        yield int(number), int(times)


def read_given(path: Path, limit: int = FILE_LIMIT) -> bytes:
    """The content of a file that the user names, of at most so many bytes. Raises UsageError."""
    try:
        return read_whole(path, limit)
    except CheckpointError as error:
        raise UsageError(error.message, error.hint) from None


def _columns(
    found: Iterator[tuple[int, tuple[str, ...]]], count: int, source: str
) -> tuple[list[array[int]], array[int]]:
    """The ids of every entry, column by column, and their lines."""
    columns, lines = [array("q") for _ in range(count)], array("q")
    for line, fields in found:
        for column, digits in zip(columns, fields, strict=False):
            if len(digits) > 10 or int(digits) >= ID_LIMIT:
                raise refused_id(place(source, "line", line), digits[:40])
            column.append(int(digits))
        lines.append(line)
    return columns, lines


def _lines(text: str, wanted: re.Pattern[str], source: str, words: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, fields) of each line; the last may end without a line break."""
    begin, number = 0, 1
    while begin < len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        line = text[begin:end].removesuffix("\r")
        match = wanted.fullmatch(line)
        if match is None:
            _refuse(source, number, line, words)
        yield number, match.groups()
        begin, number = end + 1, number + 1


def _flat(
    text: str, opening: str, member: re.Pattern[str], source: str, words: str
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, fields) of each member of a JSON object or array that holds nothing but ids."""
    closing = {"{": "}", "[": "]"}[opening]
    at = skip_space(text, text.index(opening) + 1)
    line, counted, end = 1, 0, ","
    if text[at : at + 1] == closing:
        at, end = at + 1, closing
    while end != closing:
        line, counted = line + text.count("\n", counted, at), at
        match = member.match(text, at)
        if match is None:
            _refuse(source, line, text[at : at + 40].partition("\n")[0], words)
        *fields, end = match.groups()
        yield line, tuple(fields)
        at = skip_space(text, match.end())
    at = skip_space(text, at)
    if at < len(text):
        _refuse(source, text.count("\n", 0, at) + 1, text[at : at + 40].partition("\n")[0], "the end of the file")


def _array(path: Path, source: str) -> tuple[array[int], array[int], int]:
    """New ids, old ids and length of a .npy array, which is mapped, not read; where it holds -1, nothing is named."""
    import numpy as np

    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise RefusedError(f"{source}: not a readable .npy array: {error}") from error
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise RefusedError(
            f"{source}: {ids.dtype} of shape {list(ids.shape)}, must be whole numbers in one dimension",
            "save it with numpy.save(file, ids.astype('int64'))",
        )
    wrong = np.flatnonzero((ids < -1) | (ids >= ID_LIMIT))
    if wrong.size:
        raise refused_id(place(source, "element", int(wrong[0])), int(ids[wrong[0]]))
    new = np.flatnonzero(ids >= 0)
    return array("q", new.astype("=i8").tobytes()), array("q", ids[new].astype("=i8").tobytes()), len(ids)


def _text(raw: bytes, source: str) -> str:
    try:
        return raw.removeprefix(BOM_UTF8).decode("ascii")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RefusedError(f"{source}:{line}: byte 0x{raw[error.start]:02x}, must be ASCII digits") from None


def _refuse(source: str, line: int, found: str, wanted: str) -> NoReturn:
    raise RefusedError(f"{source}:{line}: {found[:40]!r}, must be {wanted}")
