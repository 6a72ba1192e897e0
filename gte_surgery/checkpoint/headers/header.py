"""The header of a safetensors file: read more strictly than the format's own parser, and written as it writes.

Eight bytes hold the little-endian length N of a JSON text, N bytes hold the text, the rest is tensor data
[https://github.com/huggingface/safetensors, README, "Format"]. Tensor data is never read here.
"""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from operator import mul
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from gte_surgery.checkpoint.bounds import (
    MAX_HEADER_BYTES,
    MAX_HEADER_MEMORY,
    is_readable_whole,
    memory_of,
    memory_of_shape,
    room_beside,
)
from gte_surgery.checkpoint.faults import HeaderFault
from gte_surgery.checkpoint.files import FileEntry, opened
from gte_surgery.checkpoint.headers.text import NotPlainError, PlainEntry, read_members
from gte_surgery.checkpoint.json.strict import decode, kind_of
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.source import Opened
from gte_surgery.errors import HeaderError

MAX_UNSIGNED = 2**64 - 1
_TOO_MUCH = "take more memory than a checkpoint may"
Metadata = tuple[tuple[str, str], ...] | None
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


class TensorEntry(NamedTuple):
    """One tensor of a header; `begin` and `end` are byte offsets relative to the start of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.begin


class Header(NamedTuple):
    """A well-formed header: tensors in the order of their offsets (empty ones that tie, in the header's own order).

    `data_start` is the file offset of the tensor data; `digest` is "sha256:" and the hex digest of all bytes before it.
    """

    metadata: Metadata
    tensors: tuple[TensorEntry, ...]
    data_start: int
    digest: str


def read_header(path: Path) -> Header:
    """Read and parse the header of the file at `path`, allocating no more than the header needs.

    Raises HeaderError if it is not well-formed, CheckpointError if it cannot be read or is no regular file.
    """
    with opened(path) as file:
        return read_header_at(file)


def read_header_at(file: Opened, room: int = MAX_HEADER_MEMORY) -> Header:
    """As `read_header`, for an open file.

    A header that would take more than `room` bytes of memory, by `memory_of`, is refused as HEADER_TOO_LARGE: the
    format allows headers that take gigabytes.
    """
    size = file.identity.size
    return parse_header(_read_raw(file, size), size, room)


def read_digest(file: Opened) -> str:
    """The `digest` of the header of an open file, whose text is not looked at. Raises HeaderError, OSError."""
    return _digest(_read_raw(file, file.identity.size))


def parse_header(raw: bytes, file_size: int, room: int | None = None) -> Header:
    """Parse the header of a file of `file_size` bytes from its first 8 + N bytes; `room` as for `read_header_at`.

    Raises HeaderError, whose `fault` is the value of a `HeaderFault`, naming the tensor where there is one.
    """
    data_start = 8 + _header_length(raw, file_size)
    if len(raw) < data_start:
        raise _fault(HeaderFault.HEADER_BEYOND_FILE, f"header of {data_start - 8} bytes, only {len(raw) - 8} were read")
    raw = raw[:data_start]
    if nuls := _trailing_nuls(raw):
        parse_header(raw[:-nuls] + b" " * nuls, file_size, room)  # raises what is wrong with it beside
        reason = f"the header ends with {nuls} NUL byte{'s' if nuls > 1 else ''}, wanted spaces"
        raise _fault(HeaderFault.NUL_PADDED, reason, hint="gte-surgery check CKPT --fix")
    room = None if room is None else room_beside(raw, room)
    metadata, tensors = _collect_plain(raw, room) or _collect(_parse_json(raw, room).items(), room)
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    _check_layout(tensors, file_size - data_start)
    return Header(metadata, tuple(tensors), data_start, _digest(raw))


def render_header(
    tensors: Sequence[tuple[str, str, Sequence[int]]], metadata: Sequence[tuple[str, str]] | None
) -> bytes:
    """The first bytes of a file that holds `tensors` (name, dtype, shape), their data contiguous in that order.

    Byte for byte what the safetensors package writes: `__metadata__` first, compact JSON, padded with spaces to a
    multiple of 8. Raises HeaderError for what would not be well-formed.
    """
    members = [] if metadata is None else [f'"__metadata__":{_dump(dict(metadata))}']
    names = {"__metadata__"}
    offset = 0
    for name, dtype, shape in tensors:
        if name in names:
            raise _fault(HeaderFault.DUPLICATE_NAME, "the name occurs twice", name)
        names.add(name)
        end = offset + tensor_nbytes(name, dtype, shape)
        entry = f'{{"dtype":"{dtype}","shape":{_dump(list(shape))},"data_offsets":[{offset},{end}]}}'
        members.append(f"{_dump(name)}:{entry}")
        offset = end
    try:
        text = f"{{{','.join(members)}}}".encode()
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
    if shape and min(shape) < 0:
        raise _fault(HeaderFault.BAD_SHAPE, f"shape {_brief(shape)}, wanted non-negative integers", name)
    if _overflows(shape, bits):
        raise _fault(HeaderFault.SHAPE_OVERFLOW, f"shape {_brief(shape)} of {dtype} overflows 64 bits", name)
    size = math.prod(shape) * bits
    if size % 8:
        reason = f"{size} bits (shape {_brief(shape)} of {dtype}), wanted whole bytes"
        raise _fault(HeaderFault.SUB_BYTE_MISALIGNED, reason, name)
    return size // 8


def _overflows(shape: Sequence[int], bits: int) -> bool:
    """Whether the product exceeds 64 bits on its way from left to right, as the format's own parser multiplies."""
    if len(shape) < 8 and 0 < math.prod(shape) * bits <= MAX_UNSIGNED:
        return False
    return any(product > MAX_UNSIGNED for product in accumulate((*shape, bits), mul))


def read_nul_padded(file: FileEntry) -> Header:
    """As `read_header`, of a file whose header is padded with NUL bytes, as if they were spaces."""
    with opened(file) as reading:
        size = reading.identity.size
        raw = _read_raw(reading, size)
    nuls = _trailing_nuls(raw)
    return parse_header(raw[: len(raw) - nuls] + b" " * nuls, size)._replace(digest=_digest(raw))


def _trailing_nuls(raw: bytes) -> int:
    """How many NUL bytes follow the closing brace of a header."""
    text = raw.rstrip(b"\0") if raw.endswith(b"\0") else raw
    return len(raw) - len(text) if text.endswith(b"}") and len(text) > 8 else 0


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


def _read_raw(file: Opened, size: int) -> bytes:
    """The first 8 + N bytes of a file."""
    raw = file.read(0, min(size, 1 << 16))
    wanted = 8 + _header_length(raw, size)
    return raw[:wanted] if wanted <= len(raw) else file.read(0, wanted)


def _digest(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def _collect_plain(raw: bytes, room: int | None) -> tuple[Metadata, list[TensorEntry]] | None:
    """As `_collect`; None for a header that is not an object of small members, or no JSON."""
    try:
        return _collect(read_members(raw, 8), room)
    except NotPlainError:
        return None


def _collect(
    members: Iterable[tuple[str, PlainEntry | object]], room: int | None
) -> tuple[Metadata, list[TensorEntry]]:
    """Metadata and tensors, in the header's own order, each checked by itself.

    A fault of one of them is raised when all have been seen: what is wrong with the text goes before it.
    """
    metadata: Metadata = None
    tensors: list[TensorEntry] = []
    names: set[str] = set()
    taken = 0
    fault: HeaderError | None = None
    for name, value in members:
        if name in names:
            raise _fault(HeaderFault.DUPLICATE_NAME, "the name occurs twice", name)
        names.add(name)
        taken += memory_of(name)
        try:
            if name == "__metadata__":
                metadata = _metadata(value)
                taken += sum(memory_of(text) for pair in metadata for text in pair)
            elif fault is None:
                tensors.append(_entry(name, value if isinstance(value, PlainEntry) else _plain(name, value), tensors))
                taken += memory_of_shape(tensors[-1].shape)
        except HeaderError as error:
            fault = error
        if room is not None and taken > room:
            raise _fault(HeaderFault.HEADER_TOO_LARGE, f"more than {len(names) - 1} tensors would {_TOO_MUCH}")
    if fault is not None:
        raise fault
    return metadata, tensors


def _parse_json(raw: bytes, room: int | None) -> dict[str, object]:
    """The header read as JSON in general, for what is not an object of small members."""
    if room is not None and not is_readable_whole(raw, room):
        reason = f"header of {len(raw) - 8} bytes, not written as safetensors writes; to read it would {_TOO_MUCH}"
        raise _fault(HeaderFault.HEADER_TOO_LARGE, reason)
    raw = raw[8:]
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
        raise _fault(HeaderFault.NOT_AN_OBJECT, f"the header is {kind_of(value)}, wanted an object")
    return value


def _metadata(value: object) -> tuple[tuple[str, str], ...]:
    if value is None:
        raise _fault(HeaderFault.NULL_METADATA, "`__metadata__` is null, wanted an object of strings or no such member")
    if not isinstance(value, dict):
        raise _fault(HeaderFault.BAD_METADATA, f"`__metadata__` is {kind_of(value)}, wanted an object of strings")
    for key, text in value.items():
        if not isinstance(text, str):
            reason = f"`__metadata__` has {kind_of(text)} under {shown(key)}, wanted a string"
            raise _fault(HeaderFault.BAD_METADATA, reason)
    return tuple(value.items())


def _plain(name: str, value: object) -> PlainEntry:
    """An entry out of its JSON value; only the types are checked."""
    if isinstance(value, list):
        raise _fault(HeaderFault.ARRAY_ENTRY, "the entry is a JSON array, wanted an object", name)
    if not isinstance(value, dict):
        raise _fault(HeaderFault.BAD_ENTRY, f"the entry is {kind_of(value)}, wanted an object", name)
    for wanted in ("dtype", "shape", "data_offsets"):
        if wanted not in value:
            raise _fault(HeaderFault.BAD_ENTRY, f"the entry has no {wanted}", name)
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if isinstance(dtype, dict):
        raise _fault(HeaderFault.OBJECT_DTYPE, "dtype is a JSON object, wanted a string", name)
    if not isinstance(dtype, str):
        raise _fault(HeaderFault.BAD_ENTRY, f"dtype is {kind_of(dtype)}, wanted a string", name)
    if not _is_unsigned_list(shape):
        raise _fault(HeaderFault.BAD_SHAPE, f"shape {_brief(shape)}, wanted a list of non-negative integers", name)
    if not _is_unsigned_list(offsets) or len(offsets) != 2:
        raise _bad_offsets(name, offsets)
    return PlainEntry(dtype, tuple(shape), *offsets)


def _entry(name: str, plain: PlainEntry, before: Sequence[TensorEntry]) -> TensorEntry:
    """The tensor, if its fields agree; where it begins as the last one `before` ends, they share the number."""
    dtype, shape, begin, end = sys.intern(plain.dtype), plain.shape, plain.begin, plain.end
    if max(shape, default=0) > MAX_UNSIGNED:
        raise _fault(HeaderFault.BAD_SHAPE, f"shape {_brief(shape)}, wanted a list of non-negative integers", name)
    if begin > end or end > MAX_UNSIGNED:
        raise _bad_offsets(name, [begin, end])
    nbytes = tensor_nbytes(name, dtype, shape)
    if end - begin != nbytes:
        reason = f"data of {end - begin} bytes, dtype {dtype} and shape {_brief(shape)} need {nbytes}"
        raise _fault(HeaderFault.SIZE_MISMATCH, reason, name)
    if before and before[-1].end == begin:
        begin = before[-1].end
    return TensorEntry(name, dtype, shape, begin, end)


def _bad_offsets(name: str, offsets: object) -> HeaderError:
    return _fault(HeaderFault.BAD_OFFSETS, f"data_offsets {_brief(offsets)}, wanted [begin, end]", name)


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


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _brief(value: object) -> str:
    return _REPR.repr(list(value) if isinstance(value, tuple) else value)


def _fault(fault: HeaderFault, reason: str, tensor: str = "", hint: str = "") -> HeaderError:
    return HeaderError(fault.value, reason, shown(tensor), hint)
