"""Rows of one's own for new tokens: an array [new rows, hidden size] of a .npy file, which is read as bytes alone.

The planner reads its header and looks at every number once; what is written comes from the file as it then is, and a
file that changed in between is refused like any other source.
"""

from __future__ import annotations

import ast
import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checkpoint.source import LocalFile, Opened
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.surgery.pieces.evaluate import ARITHMETIC_DTYPES, first_endless
from gte_surgery.surgery.pieces.piece import Cast, Fill, GatherRows, Overlay, Piece, element_bytes
from gte_surgery.surgery.planning.plan import SourceFile

SUFFIX = ".npy"
_MAGIC = b"\x93NUMPY"
_DTYPES = {"<f2": "F16", "<f4": "F32", "<f8": "F64"}
_MOST_HEADER = 1 << 16
_BLOCK = 1 << 20
_SAVED = "np.save('rows.npy', np.ascontiguousarray(rows, 'float32'))"


class GivenRows(NamedTuple):
    """`held` rows of `width` numbers of `dtype`, from byte `begin` of a file."""

    source: SourceFile
    begin: int
    held: int
    width: int
    dtype: str

    def piece(self, places: Sequence[int], dtype: str) -> Piece:
        """The rows at these places of the file, one for each; zeros where the file has ended."""
        inside = [at for at in places if at < self.held]
        found: Piece = GatherRows(self.source.name, self.begin, self.width * element_bytes(self.dtype), inside)
        if dtype != self.dtype:
            found = Cast(found, self.dtype, dtype)
        if len(inside) == len(places):
            return found
        zeros = Fill(bytes(element_bytes(dtype)), len(places) * self.width)
        covered = array("q", (n for n, at in enumerate(places) if at < self.held))
        return Overlay(zeros, found, covered, self.width * element_bytes(dtype)) if covered else zeros


def given_rows(init: str, words: StoredTensor, wanted: int, rounded: int) -> GivenRows | None:
    """The rows that `init` names, None where it names no file. Raises RefusedError unless they are as many as new rows
    are `wanted`, or as there are after rounding, as wide as the table, and finite in its dtype.
    """
    if not init.endswith(SUFFIX):
        return None
    path = Path(init)
    try:
        opened = LocalFile(path).open()
    except OSError as error:
        raise UsageError(f"{init}: {error.strerror or error}", f"make it by `{_SAVED}`") from error
    try:
        given = _understood(path, opened)
        wide = words.shape[1]
        if given.width != wide or given.held not in (wanted, rounded):
            found = f"{init}: shape [{given.held}, {given.width}], must be [{wanted}, {wide}]: a row for each new id"
            raise RefusedError(found, "rows are taken in order of the new ids" if wanted else "there is no new row")
        if words.dtype in ARITHMETIC_DTYPES:
            _refuse_endless(given, opened, words.dtype)
    finally:
        opened.close()
    return given


def init_of_decoder(init: str) -> str:
    """The `init` of a decoder weight that is no copy of the words: rows of words are none of its."""
    return "normal" if init.endswith(SUFFIX) else init


def _understood(path: Path, opened: Opened) -> GivenRows:
    """What the file says of itself [numpy, lib/format.py, versions 1 to 3 of the format]."""
    head = opened.read(0, 12)
    size, skipped = (2, 10) if head[6:7] == b"\x01" else (4, 12)
    length = int.from_bytes(head[8 : 8 + size], "little")
    if head[:6] != _MAGIC or head[6:7] not in (b"\x01", b"\x02", b"\x03") or length > _MOST_HEADER:
        raise RefusedError(f"{path}: is no .npy file", f"make it by `{_SAVED}`")
    text = opened.read(skipped, length).decode("latin-1")
    try:
        said = ast.literal_eval(text.strip())
        descr, is_fortran, shape = said["descr"], said["fortran_order"], said["shape"]
        is_sound = all(type(side) is int and side >= 0 for side in shape)
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise RefusedError(f"{path}: its header cannot be read", f"make it by `{_SAVED}`") from error
    if not is_sound or len(shape) != 2 or is_fortran or descr not in _DTYPES:
        order = ", in Fortran order" if is_fortran else ""
        raise RefusedError(
            f"{path}: {_plain(descr)} of shape {_plain(shape)}{order}, must be float16, 32 or 64 of [new rows, hidden]",
            f"make it by `{_SAVED}`",
        )
    rows, width = shape
    begin, found = skipped + length, opened.identity
    if found.size != begin + rows * width * element_bytes(_DTYPES[descr]):
        wanted = begin + rows * width * element_bytes(_DTYPES[descr])
        raise RefusedError(f"{path}: {found.size} bytes, its header needs {wanted}", "copy it again, whole")
    source = SourceFile(path.name, LocalFile(path), found.size, found.mtime_ns, "")
    return GivenRows(source, begin, rows, width, _DTYPES[descr])


def _plain(value: object) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", str(value))[:80]


def _refuse_endless(given: GivenRows, opened: Opened, dtype: str) -> None:
    """Raises RefusedError for the first number that is not finite, or is not in the dtype of the table."""
    row_bytes = given.width * element_bytes(given.dtype)
    step = max(1, _BLOCK // max(1, row_bytes))
    for first in range(0, given.held, step):
        count = min(step, given.held - first)
        raw = opened.read(given.begin + first * row_bytes, count * row_bytes)
        if (endless := first_endless(raw, given.dtype, dtype)) is not None:
            (row, column), value = divmod(endless[0], given.width), endless[1]
            raise RefusedError(
                f"{given.source.name}: {value} at row {first + row}, column {column}, must be finite as {dtype}",
                "a row that is not known may be zeros",
            )
