"""Single rows of a stored table, read at once and decoded with the standard library: enough for the handful
of rows (pad, special tokens) that inspecting, checking and planning look at. Bulk arithmetic belongs to
`surgery.evaluate`.
"""

from __future__ import annotations

import math
import struct
from contextlib import closing

from gte_surgery.checkpoint.directory import StoredTensor


def row_nbytes(tensor: StoredTensor) -> int:
    """Bytes of one row (one index of dimension 0) of a table."""
    return tensor.nbytes // tensor.shape[0]


def read_rows(tensor: StoredTensor, first: int, count: int = 1) -> bytes:
    """The bytes of rows [first, first + count); raises OSError, and EOFError when the file has become shorter."""
    wanted = count * row_nbytes(tensor)
    with closing(tensor.shard.file.place.open()) as file:
        raw = file.read(tensor.file_begin + first * row_nbytes(tensor), wanted)
    if len(raw) != wanted:
        raise EOFError(f"{tensor.shard.file.name}: ends inside `{tensor.name}`")
    return raw


def norm(raw: bytes, dtype: str) -> float | None:
    """Euclidean norm of little-endian F64, F32, F16 or BF16 elements; None for dtypes that are not plain floats."""
    values = numbers(raw, dtype)
    return None if values is None else math.sqrt(math.fsum(value * value for value in values))


def numbers(raw: bytes, dtype: str) -> tuple[float, ...] | None:
    """Little-endian F64, F32, F16 or BF16 elements; None for dtypes that are not plain floats."""
    match dtype:
        case "F64" | "F32" | "F16":
            size, letter = {"F64": (8, "d"), "F32": (4, "f"), "F16": (2, "e")}[dtype]
            return struct.unpack(f"<{len(raw) // size}{letter}", raw)
        case "BF16":
            widened = b"".join(b"\0\0" + raw[at : at + 2] for at in range(0, len(raw), 2))
            return struct.unpack(f"<{len(raw) // 2}f", widened)
        case _:
            return None


def is_zero(raw: bytes, dtype: str) -> bool:
    """Whether every element is zero; for floats -0.0 counts as zero."""
    if not any(raw):
        return True
    return norm(raw, dtype) == 0.0 if dtype in ("F64", "F32", "F16", "BF16") else False
