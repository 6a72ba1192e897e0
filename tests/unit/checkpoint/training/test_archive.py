"""Archives as torch.save writes them, held against the standard library's zipfile and against torch."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checkpoint.files import entry_of
from gte_surgery.checkpoint.training.archive import frame, read_records
from gte_surgery.checkpoint.training.optimizer import read_optimizer
from gte_surgery.errors import CheckpointError

names = st.text("abc/._", min_size=1, max_size=12).filter(lambda name: not name.startswith("/"))


def read_from(raw: bytes) -> tuple[object, ...]:
    return read_records(lambda offset, count: raw[offset : offset + count], len(raw), "optimizer.pt")


def archive(contents: dict[str, bytes]) -> bytes:
    framed, ending = frame([(name, len(raw), zlib.crc32(raw)) for name, raw in contents.items()])
    body = b"".join(one.before + raw + one.behind for one, raw in zip(framed, contents.values(), strict=True))
    return body + ending


@given(st.dictionaries(names, st.binary(max_size=300), max_size=6))
def test_what_is_framed_is_read_by_zipfile_and_by_us(contents: dict[str, bytes]) -> None:
    raw = archive(contents)
    with zipfile.ZipFile(io.BytesIO(raw)) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == contents
    records = read_records(lambda offset, count: raw[offset : offset + count], len(raw), "x")
    assert {record.name: raw[record.begin : record.begin + record.size] for record in records} == contents
    assert all(record.begin % 64 == 0 for record in records)


def test_the_frames_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(5), "b": torch.zeros(3)}, buffer)
    raw = buffer.getvalue()
    records = read_records(lambda offset, count: raw[offset : offset + count], len(raw), "x")
    ours = archive({record.name: raw[record.begin : record.begin + record.size] for record in records})
    assert len(ours) == len(raw)
    loaded = torch.load(io.BytesIO(ours), weights_only=True)
    assert torch.equal(loaded["a"], torch.arange(5))


def test_more_records_than_memory_is_meant_for_are_refused() -> None:
    raw = archive({f"archive/data/{number}": b"" for number in range(70_000)})
    with pytest.raises(CheckpointError, match=r"a directory of \d+ bytes, at most 4194304 are read"):
        read_from(raw)


def test_sizes_beyond_32_bits_stand_in_the_zip64_fields() -> None:
    size = 5 << 30
    framed, ending = frame([("a/data.pkl", size, 7), ("a/data/0", 3, 9)])
    place = len(framed[0].before) + size + len(framed[0].behind)
    total = place + len(framed[1].before) + 3 + len(framed[1].behind) + len(ending)

    places = {0: framed[0].before, place: framed[1].before, total - len(ending): ending}

    def read(offset: int, count: int) -> bytes:
        """The bytes that are not zero, as if 5 GiB of them were."""
        found = bytearray(count)
        for begin, part in places.items():
            first, stop = max(begin, offset), min(begin + len(part), offset + count)
            found[max(0, first - offset) : max(0, stop - offset)] = part[first - begin : max(0, stop - begin)]
        return bytes(found[: total - offset])

    records = read_records(read, total, "x")
    assert [(record.size, record.crc) for record in records] == [(size, 7), (3, 9)]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no end of a zip archive"),
        (b"PK" * 50, "no end of a zip archive"),
        (struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 9, 9, 99999, 5, 0), "beyond the end of the file"),
    ],
)
def test_what_is_no_archive_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        read_from(raw)


def test_places_beyond_what_any_file_can_have_are_refused(tmp_path: Path) -> None:
    """As read through the operating system, which takes 63 bits."""
    name = b"archive/data.pkl"
    wide = struct.pack("<HHQ", 1, 8, 2**64 - 2)
    entry = (
        struct.pack("<4s6H3I5H2I", b"PK\1\2", *[0] * 7, 3, 3, len(name), len(wide), *[0] * 4, 2**32 - 1) + name + wide
    )
    ends = {
        "record": entry + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), 0, 0),
        "directory": struct.pack("<4sIQI", b"PK\6\7", 0, 2**63, 1) + struct.pack("<4s4H2IH", b"PK\5\6", *[0] * 7),
    }
    for kind, raw in ends.items():
        path = tmp_path / kind
        path.write_bytes(raw)
        with pytest.raises(CheckpointError, match="a place beyond the end of the file"):
            read_optimizer(entry_of(kind, path))


def test_compressed_records_are_refused_by_name() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a/data.pkl", b"x" * 1000)
    with pytest.raises(CheckpointError, match=r"`a/data\.pkl` is compressed"):
        read_from(buffer.getvalue())


@given(st.integers(0, 400), st.integers(0, 255))
def test_an_archive_with_one_byte_changed_is_read_or_refused(place: int, byte: int) -> None:
    raw = bytearray(archive({"a/data.pkl": b"pickle", "a/data/0": b"12345678"}))
    raw[place % len(raw)] = byte
    with suppress(CheckpointError):
        read_from(bytes(raw))
