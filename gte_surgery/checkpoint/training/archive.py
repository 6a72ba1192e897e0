"""The zip archive that `torch.save` writes: its records as byte ranges of the file, and the bytes around them anew.

torch stores records without compression, each aligned to 64 bytes, its sizes and CRC-32 behind it [APPNOTE.TXT 6.3.10,
sections 4.3.7 to 4.3.16; torch, caffe2/serialize/inline_container.cc]. Whatever else a zip archive can be is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError

Read = Callable[[int, int], bytes]
"""(offset, count) -> so many bytes of the file; fewer only at its end."""

MOST_DIRECTORY = 1 << 22
"""Bytes of a central directory; one of 3,000 records takes 200 kB, and as long a one as is read 100 MB of memory to
write anew."""
ALIGNMENT = 64
_LIMIT_32 = 0xFFFFFFFF
_LIMIT_16 = 0xFFFF
_FLAGS = 0x0808
"""Sizes and CRC follow the record; names are UTF-8."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")


@dataclass(frozen=True, slots=True)
class Record:
    """One stored file of the archive: its bytes are [begin, begin + size) of the file that holds the archive."""

    name: str
    begin: int
    size: int
    crc: int


def read_records(read: Read, size: int, source: str) -> tuple[Record, ...]:
    """The records of an archive of `size` bytes, in their order. Raises CheckpointError unless torch could have
    written it.
    """

    def within(offset: int, count: int) -> bytes:
        if offset > size:
            raise ValueError("a place beyond the end of the file")
        return read(offset, count)

    try:
        begin, length, count = _find_directory(within, size)
        if length > MOST_DIRECTORY:
            raise CheckpointError(f"{source}: a directory of {length} bytes, at most {MOST_DIRECTORY} are read")
        directory = within(begin, length)
        records, at = [], 0
        for _ in range(count):
            record, at = _read_entry(directory, at, within)
            records.append(record)
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{source}: not an archive as torch.save writes it: {error}") from None
    _refuse_overlaps(records, begin, source)
    return tuple(records)


def _find_directory(read: Read, size: int) -> tuple[int, int, int]:
    """Where the central directory begins, its length, and the number of its entries."""
    tail = read(max(0, size - _END.size - _LIMIT_16), _END.size + _LIMIT_16)
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        raise ValueError("no end of a zip archive")
    _, _, _, _, count, length, begin, _ = _END.unpack_from(tail, at)
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size : at - _LOCATOR.size + 4] == b"PK\6\7":
        place = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)[2]
        mark, *_, count, length, begin = _END_64.unpack(read(place, _END_64.size))
        if mark != b"PK\6\6":
            raise ValueError("no end of a zip64 archive where its locator points")
    if begin + length > size or count * _CENTRAL.size > length:
        raise ValueError("a directory beyond the end of the file")
    return begin, length, count


def _read_entry(directory: bytes, at: int, read: Read) -> tuple[Record, int]:
    """The record that the entry at byte `at` describes, and where the next entry begins."""
    mark, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment, *_, place = (
        _CENTRAL.unpack_from(directory, at)
    )
    if mark != b"PK\1\2":
        raise ValueError("an entry of the directory without its mark")
    end = at + _CENTRAL.size + name_length
    name = directory[at + _CENTRAL.size : end].decode("utf-8")
    size, packed, place = _wide(directory[end : end + extra_length], size, packed, place)
    if method != 0 or size != packed or flags & 1:
        raise ValueError(f"`{shown(name)}` is compressed or encrypted")
    local = _LOCAL.unpack(read(place, _LOCAL.size))
    if local[0] != b"PK\3\4" or local[4] != 0:
        raise ValueError(f"`{shown(name)}` is not where the directory says")
    begin = place + _LOCAL.size + local[-2] + local[-1]
    return Record(name, begin, size, crc), end + extra_length + comment


def _wide(extra: bytes, size: int, packed: int, place: int) -> tuple[int, int, int]:
    """The three numbers of an entry, of which those that do not fit into 32 bits stand in the zip64 field."""
    at, wide = 0, b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            wide = extra[at + 4 : at + 4 + length]
        at += 4 + length
    found = []
    for number in (size, packed, place):
        if number == _LIMIT_32:
            number, wide = struct.unpack("<Q", wide[:8])[0], wide[8:]
        found.append(number)
    return found[0], found[1], found[2]


def _refuse_overlaps(records: Sequence[Record], limit: int, source: str) -> None:
    end = 0
    for record in sorted(records, key=lambda record: record.begin):
        if record.begin < end or record.begin + record.size > limit:
            raise CheckpointError(f"{source}: `{shown(record.name)}` shares bytes with another record")
        end = record.begin + record.size
    if len({record.name for record in records}) != len(records):
        raise CheckpointError(f"{source}: two records of one name")


@dataclass(frozen=True, slots=True)
class Framed:
    """A record to be written: what stands before its bytes, and behind them."""

    name: str
    size: int
    crc: int
    place: int
    before: bytes
    behind: bytes


def frame(records: Sequence[tuple[str, int, int]]) -> tuple[tuple[Framed, ...], bytes]:
    """For each (name, size, crc) what has to stand around its bytes, and the end of the archive.

    Record bytes begin at multiples of 64, as torch's reader wants them to map a file.
    """
    framed, place = [], 0
    for name, size, crc in records:
        text = name.encode()
        extra = _padding(place + _LOCAL.size + len(text))
        head = _LOCAL.pack(b"PK\3\4", 0, _FLAGS, 0, 0, 0, 0, 0, 0, len(text), len(extra))
        form = "<4sIQQ" if size >= _LIMIT_32 else "<4s3I"
        one = Framed(name, size, crc, place, head + text + extra, struct.pack(form, b"PK\7\x08", crc, size, size))
        framed.append(one)
        place += len(one.before) + size + len(one.behind)
    return tuple(framed), _ending(framed, place)


def _padding(at: int) -> bytes:
    """The extra field that makes the bytes behind it begin at a multiple of 64."""
    gap = -(at + 4) % ALIGNMENT
    return struct.pack("<2sH", b"FB", gap) + b"Z" * gap


def _ending(framed: Sequence[Framed], place: int) -> bytes:
    """The central directory, which begins at byte `place`, and what closes the archive."""
    directory = b"".join(_entry(one) for one in framed)
    count, length = len(framed), len(directory)
    end_64 = _END_64.pack(b"PK\6\6", _END_64.size - 12, 0, 0, 0, 0, count, count, length, place)
    locator = _LOCATOR.pack(b"PK\6\7", 0, place + length, 1)
    short = min(count, _LIMIT_16), min(count, _LIMIT_16), min(length, _LIMIT_32), min(place, _LIMIT_32)
    return directory + end_64 + locator + _END.pack(b"PK\5\6", 0, 0, *short, 0)


def _entry(one: Framed) -> bytes:
    numbers = (one.size, one.size, one.place)
    wide = b"".join(struct.pack("<Q", number) for number in numbers if number >= _LIMIT_32)
    extra = struct.pack("<HH", 1, len(wide)) + wide if wide else b""
    size, packed, place = (min(number, _LIMIT_32) for number in numbers)
    text = one.name.encode()
    head = _CENTRAL.pack(
        b"PK\1\2", 0, 0, _FLAGS, 0, 0, 0, one.crc, packed, size, len(text), len(extra), 0, 0, 0, 0, place
    )
    return head + text + extra
