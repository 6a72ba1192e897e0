"""Files of arrays: .npy, .npz and safetensors. What their rows are is left to `arrays`.

A .npy holds one array, so the other columns lie beside it: `input_ids.npy`, `attention_mask.npy`, or
`train_input_ids.npy`, `train_attention_mask.npy`; a file of any other name holds ids alone. The others hold them all.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.judging.blocks import Array, RawBlock
from gte_surgery.contract.scan.portions import Format, Source, Span
from gte_surgery.contract.scan.readers.arrays import OFFSETS, Arrays, Dtype, rows_of, spans_of

_SUFFIX = ".npy"


def plan(source: Source, columns: Columns) -> list[Span]:
    """Spans of rows; a whole .npz is one, since what is compressed can only be read from its beginning."""
    with ExitStack() as stack:
        spans = spans_of(_arrays(source, columns, stack), source, columns)
    return [Span(0, spans[-1].end, 0, spans[-1].end, source.nbytes)] if source.format is Format.NPZ else spans


def read(source: Source, span: Span, columns: Columns) -> Iterator[RawBlock]:
    """The rows of a span."""
    with ExitStack() as stack:
        yield from rows_of(_arrays(source, columns, stack), span, columns)


def is_companion(path: str, columns: Columns) -> bool:
    """Whether a .npy file is a column beside the ids of another."""
    folder, name = os.path.split(path)
    stem = name.removesuffix(_SUFFIX)
    ids = [stem.removesuffix(other) + columns.ids + _SUFFIX for other in _others(columns) if stem.endswith(other)]
    return name.endswith(_SUFFIX) and any(os.path.exists(os.path.join(folder, each)) for each in ids)


@dataclass(frozen=True, slots=True)
class FileArray:
    """An array at a byte offset of a file."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: Dtype

    def read(self, begin: int, end: int) -> Array:
        """The elements [begin, end) of the flattened array. Raises CorpusError where the file ends before."""
        at = self.offset + begin * self.dtype.itemsize
        found = np.fromfile(self.path, self.dtype, end - begin, offset=at)
        if len(found) < end - begin:
            raise CorpusError(Fault.UNREADABLE, f"ends at byte {at + found.nbytes}, in the middle of the array")
        return found.astype(self.dtype.newbyteorder("="), copy=False)


class _Member:
    """An array in a zip archive, which is read from its beginning on."""

    def __init__(self, archive: zipfile.ZipFile, name: str, stack: ExitStack) -> None:
        self._file = stack.enter_context(archive.open(name))
        self.shape, self.dtype = _header(self._file)

    def read(self, begin: int, end: int) -> Array:
        """The elements [begin, end) of the flattened array, where `begin` is the end of the last read."""
        raw = self._file.read((end - begin) * self.dtype.itemsize)
        if len(raw) < (end - begin) * self.dtype.itemsize:
            raise CorpusError(Fault.UNREADABLE, "an array ends before its header says")
        return np.frombuffer(raw, self.dtype).astype(self.dtype.newbyteorder("="), copy=False)


def _arrays(source: Source, columns: Columns, stack: ExitStack) -> Arrays:
    """The arrays of a file by their names, as long as the stack keeps it open."""
    match source.format:
        case Format.NPY:
            return _beside(source.path, columns)
        case Format.NPZ:
            return _members(source.path, stack)
        case _:
            return _tensors(source.path)


def _beside(path: str, columns: Columns) -> Arrays:
    """The array of a .npy file and those beside it, by the names of their columns."""
    arrays = {columns.ids: partial(_file_array, path)}
    folder, name = os.path.split(path)
    stem = name.removesuffix(_SUFFIX)
    if stem.endswith(columns.ids):
        for other in _others(columns):
            companion = os.path.join(folder, stem.removesuffix(columns.ids) + other + _SUFFIX)
            if os.path.exists(companion):
                arrays[other] = partial(_file_array, companion)
    return arrays


def _others(columns: Columns) -> list[str]:
    offsets = (columns.offsets,) if columns.offsets else OFFSETS
    return [name for role, name in columns.roles.items() if role != "ids"] + list(offsets)


def _file_array(path: str) -> FileArray:
    with open(path, "rb") as file:
        shape, dtype = _header(file)
        return FileArray(path, file.tell(), shape, dtype)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], Dtype]:
    """Shape and dtype of an array in C order, told by what precedes it [numpy.lib.format]."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = reader(file)
    if is_fortran and len(shape) > 1:
        raise CorpusError(Fault.UNREADABLE, "in Fortran order; save np.ascontiguousarray of it")
    if dtype.hasobject:
        raise CorpusError(Fault.UNREADABLE, "holds Python objects, which are never unpickled; must be integers")
    if dtype.subdtype is not None or dtype.itemsize == 0:
        raise CorpusError(Fault.UNREADABLE, f"holds elements of {dtype}, must be integers")
    return shape, dtype


def _members(path: str, stack: ExitStack) -> Arrays:
    archive = stack.enter_context(zipfile.ZipFile(path))
    names = [name for name in archive.namelist() if name.endswith(_SUFFIX)]
    return {name.removesuffix(_SUFFIX): partial(_Member, archive, name, stack) for name in names}


_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
"""What numpy calls the dtypes of safetensors; one that it lacks is opaque bytes of the same width."""


def _tensors(path: str) -> Arrays:
    from gte_surgery.checkpoint.headers.header import DTYPE_BITS, read_header

    header = read_header(Path(path))
    return {
        each.name: partial(
            FileArray,
            path,
            header.data_start + each.begin,
            each.shape,
            np.dtype(_DTYPES.get(each.dtype, f"V{DTYPE_BITS[each.dtype] // 8}")),
        )
        for each in header.tensors
        if DTYPE_BITS[each.dtype] % 8 == 0
    }
