"""A weight file and the tensors in it. What kind of file it is, is told from its content.

Of its data only single rows of a table are read, at once, and decoded with the standard library: enough for the handful
of them (pad, special tokens) that inspecting, checking and planning look at. Bulk arithmetic belongs to
`surgery.pieces`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

from gte_surgery.checkpoint.bounds import MAX_HEADER_MEMORY, memory_of, memory_of_shape
from gte_surgery.checkpoint.faults import Fault, FaultKind, HeaderFault, unreadable
from gte_surgery.checkpoint.files import SNIFFED_BYTES, Content, FileEntry, opened, sniff
from gte_surgery.checkpoint.headers.header import Header, TensorEntry, read_header_at
from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError, HeaderError
from gte_surgery.findings import Location, several

_HINTS = {
    Content.LFS_POINTER: "fetch the file itself: `git lfs pull`",
    Content.HTML: "an error page was saved in its place: download it again",
    Content.PICKLE: "convert it where you trust it: load it in transformers, then save_pretrained",
    Content.TORCH_ZIP: "convert it where you trust it: load it in transformers, then save_pretrained",
}


class Shard(NamedTuple):
    """One weight file: what it is by content, and its header where that is well-formed."""

    file: FileEntry
    content: Content
    header: Header | None

    @property
    def entries(self) -> tuple[TensorEntry, ...]:
        """The tensors of the header in offset order; none where the header is not well-formed."""
        return self.header.tensors if self.header else ()


class StoredTensor(NamedTuple):
    """A tensor and the shard that holds it."""

    shard: Shard
    entry: TensorEntry

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def source(self) -> str:
        """The name of the file that holds it."""
        return self.shard.file.name

    @property
    def dtype(self) -> str:
        return self.entry.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.entry.shape

    @property
    def nbytes(self) -> int:
        return self.entry.nbytes

    @property
    def file_begin(self) -> int:
        """Byte offset of the tensor's data from the start of its file."""
        return (self.shard.header.data_start if self.shard.header else 0) + self.entry.begin


def read_shards(files: Iterable[FileEntry], room: int = MAX_HEADER_MEMORY) -> tuple[tuple[Shard, ...], list[Fault]]:
    """Sniff weight files and read their headers, for which memory is bounded, and tell what is wrong with them."""
    shards: list[Shard] = []
    faults: list[Fault] = []
    for file in files:
        shard, fault = _read_shard(file, room)
        shards.append(shard)
        faults += [fault] if fault is not None else []
        room = max(0, room - _memory_of(shard))
    return tuple(shards), faults


def _read_shard(file: FileEntry, room: int) -> tuple[Shard, Fault | None]:
    content = Content.UNKNOWN
    location = Location(file=shown(file.name))
    try:
        with opened(file) as reading:
            content = sniff(reading.read(0, SNIFFED_BYTES))
            if content in (Content.SAFETENSORS, Content.UNKNOWN, Content.EMPTY):
                return Shard(file, content, read_header_at(reading, room)), None
    except HeaderError as error:
        location = Location(file=location.file, tensor=error.tensor)
        return Shard(file, content, None), Fault(HeaderFault(error.fault), location, error.reason, error.hint)
    except CheckpointError as error:
        return Shard(file, content, None), unreadable(FaultKind.UNREADABLE, location.file, error)
    message = f"{content.value}, wanted a safetensors file"
    return Shard(file, content, None), Fault(FaultKind.NOT_SAFETENSORS, location, message, _HINTS.get(content, ""))


def _memory_of(shard: Shard) -> int:
    """By the estimate that headers are bounded by, with a little for one that has no tensor."""
    metadata = shard.header.metadata if shard.header else None
    tensors = sum(memory_of(entry.name) + memory_of_shape(entry.shape) for entry in shard.entries)
    return memory_of("") + tensors + sum(memory_of(text) for pair in metadata or () for text in pair)


def duplicate_tensors(shards: tuple[Shard, ...]) -> list[Fault]:
    """One fault for each tensor that an earlier shard holds already."""
    return list(several(_duplicates(shards)))


def _duplicates(shards: tuple[Shard, ...]) -> Iterator[Fault]:
    holders: dict[str, str] = {}
    for shard in shards:
        for entry in shard.entries:
            first = holders.setdefault(entry.name, shard.file.name)
            if first != shard.file.name:
                location = Location(file=shown(shard.file.name), tensor=shown(entry.name))
                message = f"stored a second time, {shown(first)} holds it already"
                yield Fault(FaultKind.DUPLICATE_TENSOR, location, message)


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
