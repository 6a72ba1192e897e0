"""safetensors files: input_ids [rows, columns] and the like, or flat ids with offsets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gte_surgery.checkpoint.headers.header import DTYPE_BITS, read_header
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.judging.blocks import RawBlock
from gte_surgery.contract.scan.portions import Source, Span
from gte_surgery.contract.scan.readers.arrays import FileArray, Stored
from gte_surgery.contract.scan.readers.arrays import plan as plan_arrays
from gte_surgery.contract.scan.readers.arrays import read as read_arrays

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


def plan(source: Source, columns: Columns) -> list[Span]:
    """Spans of rows."""
    return plan_arrays(_arrays(source.path), source, columns)


def read(source: Source, span: Span, columns: Columns) -> Iterator[RawBlock]:
    """The rows of a span."""
    yield from read_arrays(_arrays(source.path), span, columns)


def _arrays(path: str) -> dict[str, Stored]:
    header = read_header(Path(path))
    return {
        entry.name: FileArray(path, header.data_start + entry.begin, entry.shape, _dtype(entry.dtype))
        for entry in header.tensors
        if DTYPE_BITS[entry.dtype] % 8 == 0
    }


def _dtype(name: str) -> np.dtype[np.generic]:
    """What numpy calls it; a dtype that it lacks is opaque bytes of the same width."""
    return np.dtype(_DTYPES.get(name, f"V{DTYPE_BITS[name] // 8}"))
