"""The header of a safetensors file: read more strictly than the format's own parser, and written as it writes.

Eight bytes hold the little-endian length N of a JSON text, N bytes hold the text, the rest is tensor data
[https://github.com/huggingface/safetensors, README, "Format"]. Tensor data is never read here.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gte_surgery.checkpoint.bounds import MAX_READ_HEADER_BYTES, count_values
from gte_surgery.checkpoint.files import open_regular, read_at
from gte_surgery.checkpoint.header_fault import HeaderFault
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.strict_json import decode
from gte_surgery.errors import HeaderError

__all__ = [
    "DTYPE_BITS",
    "MAX_HEADER_BYTES",
    "Header",
    "HeaderFault",
    "TensorEntry",
    "parse_header",
    "read_header",
    "read_header_at",
    "render_header",
    "tensor_nbytes",
]

MAX_HEADER_BYTES = 100_000_000
MAX_UNSIGNED = 2**64 - 1
_REPR = reprlib.Repr()  # abridges what a hostile header may make long
_REPR.maxlist = 8

DTYPE_BITS: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 8,
        "F4": 4,
        "F6_E2M3": 6,
        "F6_E3M2": 6,
        "U8": 8,
        "I8": 8,
        "F8_E5M2": 8,
        "F8_E4M3": 8,
        "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8,
        "F8_E5M2FNUZ": 8,
        "I16": 16,
        "U16": 16,
        "F16": 16,
        "BF16": 16,
        "I32": 32,
        "U32": 32,
        "F32": 32,
        "C64": 64,
        "F64": 64,
        "I64": 64,
        "U64": 64,
    }
)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a header; `begin` and `end` are byte offsets relative to the start of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Header:
    """A well-formed header: tensors in the order of their offsets (empty ones that tie, in the header's own order).

    `data_start` is the file offset of the tensor data; `digest` is "sha256:" and the hex digest of all bytes before it.
    """

    metadata: tuple[tuple[str, str], ...] | None
    tensors: tuple[TensorEntry, ...]
    data_start: int
    digest: str


def read_header(path: Path) -> Header:
    """Read and parse the header of the file at `path`, allocating no more than the header needs.

    Raises HeaderError if it is not well-formed, CheckpointError if it cannot be read or is no regular file.
    """
    with open_regular(path) as file:
        return read_header_at(file.descriptor, file.size)


def read_header_at(descriptor: int, size: int, most_values: int | None = None) -> Header:
    """As `read_header`, for an open file of `size` bytes.

    With `most_values` a header of more JSON values, or one that is larger than any GTE's, is refused before it is
    parsed (HEADER_TOO_LARGE): the format allows headers that take gigabytes of memory.
    """
    raw = read_at(descriptor, 0, min(size, 1 << 16))
    wanted = 8 + _header_length(raw, size)
    if most_values is not None and wanted > MAX_READ_HEADER_BYTES:
        reason = f"header of {wanted - 8} bytes, at most {MAX_READ_HEADER_BYTES} are read: no GTE needs more"
        raise _fault(HeaderFault.HEADER_TOO_LARGE, reason)
    if wanted > len(raw):
        raw += read_at(descriptor, len(raw), wanted - len(raw))
    if most_values is not None and count_values(raw[:wanted]) > most_values:
        raise _fault(HeaderFault.HEADER_TOO_LARGE, "header of more tensors than any GTE has")
    return parse_header(raw[:wanted], size)


def parse_header(raw: bytes, file_size: int) -> Header:
    """Parse the header of a file of `file_size` bytes from its first 8 + N bytes.

    Raises HeaderError, whose `fault` is the value of a `HeaderFault`, naming the tensor where there is one.
    """
    data_start = 8 + _header_length(raw, file_size)
    if len(raw) < data_start:
        raise _fault(HeaderFault.HEADER_BEYOND_FILE, f"header of {data_start - 8} bytes, only {len(raw) - 8} were read")
    raw = raw[:data_start]
    members = _parse_json(raw[8:])
    metadata = _metadata(members.pop("__metadata__")) if "__metadata__" in members else None
    tensors = sorted((_entry(name, entry) for name, entry in members.items()), key=lambda t: (t.begin, t.end))
    _check_layout(tensors, file_size - data_start)
    return Header(metadata, tuple(tensors), data_start, "sha256:" + hashlib.sha256(raw).hexdigest())


def render_header(
    tensors: Sequence[tuple[str, str, Sequence[int]]], metadata: Sequence[tuple[str, str]] | None
) -> bytes:
    """The first bytes of a file that holds `tensors` (name, dtype, shape), their data contiguous in that order.

    Byte for byte what the safetensors package writes: `__metadata__` first, compact JSON, padded with spaces to a
    multiple of 8. Raises HeaderError for what would not be well-formed.
    """
    members: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    offset = 0
    for name, dtype, shape in tensors:
        if name in members or name == "__metadata__":
            raise _fault(HeaderFault.DUPLICATE_NAME, "the name occurs twice", name)
        end = offset + tensor_nbytes(name, dtype, shape)
        members[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    try:
        text = json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _fault(HeaderFault.NOT_UTF8, f"a name or metadata text is not Unicode: {error.reason}") from None
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise _fault(HeaderFault.HEADER_TOO_LARGE, f"header of {len(text)} bytes, at most {MAX_HEADER_BYTES}")
    return len(text).to_bytes(8, "little") + text


def tensor_nbytes(name: str, dtype: str, shape: Sequence[int]) -> int:
    """Bytes of a tensor. Raises HeaderError naming the tensor if its dtype or shape cannot be."""
    if (bits := DTYPE_BITS.get(dtype)) is None:
        raise _fault(HeaderFault.UNKNOWN_DTYPE, f"dtype {shown(dtype)}, wanted one of {', '.join(DTYPE_BITS)}", name)
    if any(dimension < 0 for dimension in shape):
        raise _fault(HeaderFault.BAD_SHAPE, f"shape {_brief(shape)}, wanted non-negative integers", name)
    size = 1
    for dimension in (*shape, bits):  # left to right, as the format's own parser multiplies
        size *= dimension
        if size > MAX_UNSIGNED:
            raise _fault(HeaderFault.SHAPE_OVERFLOW, f"shape {_brief(shape)} of {dtype} overflows 64 bits", name)
    if size % 8:
        reason = f"{size} bits (shape {_brief(shape)} of {dtype}), wanted whole bytes"
        raise _fault(HeaderFault.SUB_BYTE_MISALIGNED, reason, name)
    return size // 8


def _header_length(raw: bytes, file_size: int) -> int:
    if file_size < 8 or len(raw) < 8:
        raise _fault(HeaderFault.TOO_SHORT, f"{min(file_size, len(raw))} bytes, wanted at least 8")
    length = int.from_bytes(raw[:8], "little")
    if length > MAX_HEADER_BYTES:
        reason = f"header of {length} bytes, at most {MAX_HEADER_BYTES}"
        raise _fault(HeaderFault.HEADER_TOO_LARGE, reason, hint="this is no safetensors file, or its start is damaged")
    if 8 + length > file_size:
        raise _fault(HeaderFault.HEADER_BEYOND_FILE, f"header of {length} bytes in a file of {file_size} bytes")
    return length


def _parse_json(raw: bytes) -> dict[str, object]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"header byte {error.start} (0x{raw[error.start]:02x}) is not UTF-8"
        raise _fault(HeaderFault.NOT_UTF8, reason) from None
    if not text.startswith("{") and text.lstrip(" \t\n\r").startswith("{"):
        raise _fault(HeaderFault.LEADING_SPACE, "the header starts with white space, wanted `{`")
    value, offence = decode(text)
    if offence is not None and offence.duplicate is not None:
        is_name = offence.depth == 1
        reason = "the name occurs twice" if is_name else f"duplicate key {shown(offence.duplicate)}"
        raise _fault(HeaderFault.DUPLICATE_NAME, reason, offence.duplicate if is_name else "")
    if offence is not None:
        raise _fault(HeaderFault.INVALID_JSON, f"header character {offence.offset}: {offence.reason}")
    if not isinstance(value, dict):
        raise _fault(HeaderFault.NOT_AN_OBJECT, f"the header is a JSON {type(value).__name__}, wanted an object")
    return value


def _metadata(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise _fault(HeaderFault.BAD_METADATA, f"`__metadata__` is {_kind(value)}, wanted an object of strings")
    for key, text in value.items():
        if not isinstance(text, str):
            reason = f"`__metadata__` has {_kind(text)} under {shown(key)}, wanted a string"
            raise _fault(HeaderFault.BAD_METADATA, reason)
    return tuple(value.items())


def _entry(name: str, value: object) -> TensorEntry:
    if not isinstance(value, dict):
        raise _fault(HeaderFault.BAD_ENTRY, f"the entry is {_kind(value)}, wanted an object", name)
    for wanted in ("dtype", "shape", "data_offsets"):
        if wanted not in value:
            raise _fault(HeaderFault.BAD_ENTRY, f"the entry has no {wanted}", name)
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str):
        raise _fault(HeaderFault.BAD_ENTRY, f"dtype is {_kind(dtype)}, wanted a string", name)
    if not _is_unsigned_list(shape):
        raise _fault(HeaderFault.BAD_SHAPE, f"shape {_brief(shape)}, wanted a list of non-negative integers", name)
    if not _is_unsigned_list(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _fault(HeaderFault.BAD_OFFSETS, f"data_offsets {_brief(offsets)}, wanted [begin, end]", name)
    nbytes = tensor_nbytes(name, dtype, shape)
    if offsets[1] - offsets[0] != nbytes:
        reason = f"data of {offsets[1] - offsets[0]} bytes, dtype {dtype} and shape {_brief(shape)} need {nbytes}"
        raise _fault(HeaderFault.SIZE_MISMATCH, reason, name)
    return TensorEntry(name, dtype, tuple(shape), offsets[0], offsets[1])


def _check_layout(tensors: Sequence[TensorEntry], data_size: int) -> None:
    expected = 0
    for tensor in tensors:
        if tensor.begin > expected:
            raise _fault(HeaderFault.HOLE, f"data begins at {tensor.begin}, wanted {expected}", tensor.name)
        if tensor.begin < expected:
            reason = f"data begins at {tensor.begin}, inside the tensor that ends at {expected}"
            raise _fault(HeaderFault.OVERLAP, reason, tensor.name)
        if tensor.end > data_size:
            reason = f"data ends at {tensor.end}, the file has {data_size} bytes of data"
            raise _fault(HeaderFault.BEYOND_FILE, reason, tensor.name, "the file was cut short: fetch it again")
        expected = tensor.end
    if expected < data_size:
        reason = f"{data_size - expected} bytes follow the last tensor"
        raise _fault(HeaderFault.TRAILING_BYTES, reason)


def _is_unsigned_list(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= MAX_UNSIGNED for item in value)


def _kind(value: object) -> str:
    return f"a JSON {type(value).__name__}"


def _brief(value: object) -> str:
    return _REPR.repr(list(value) if isinstance(value, tuple) else value)


def _fault(fault: HeaderFault, reason: str, tensor: str = "", hint: str = "") -> HeaderError:
    return HeaderError(fault.value, reason, shown(tensor), hint)
