"""A place opens, says what it is, gives ranges and copies them; what is read is counted."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from gte_surgery.checkpoint.source import Identity, LocalFile, path_of
from gte_surgery.surgery.commit.filesystem import Filesystem, Writing

CONTENT = bytes(range(256)) * 5


@pytest.fixture
def place(tmp_path: Path) -> LocalFile:
    (tmp_path / "weights").write_bytes(CONTENT)
    return LocalFile(tmp_path / "weights")


def test_ranges_end_where_the_file_ends(place: LocalFile) -> None:
    room = bytearray(300)
    with closing(place.open()) as file:
        assert file.read(10, 20) == CONTENT[10:30]
        assert file.read(len(CONTENT) - 3, 20) == CONTENT[-3:]
        assert file.read(len(CONTENT), 1) == b""
        assert file.read_into(memoryview(room), 7) == 300
        assert room == CONTENT[7:307]
        assert file.read_into(memoryview(room), len(CONTENT) - 5) == 5


def test_an_identity_tells_files_and_their_states_apart(place: LocalFile, tmp_path: Path) -> None:
    os.link(place.path, tmp_path / "other name")
    (tmp_path / "copy").write_bytes(CONTENT)

    def identity(name: str) -> Identity:
        with closing(LocalFile(tmp_path / name).open()) as file:
            return file.identity

    before = identity("weights")
    assert before == identity("other name")
    assert before.holder != identity("copy").holder
    assert before.size == len(CONTENT)
    place.path.write_bytes(CONTENT + b"!")
    assert identity("weights") == Identity(len(CONTENT) + 1, place.path.stat().st_mtime_ns, before.holder)


def test_a_range_is_copied_to_the_end_of_a_file(place: LocalFile, tmp_path: Path) -> None:
    filesystem = Filesystem()
    descriptor = filesystem.create(tmp_path / "made")
    writing = Writing(filesystem, descriptor)
    with closing(place.open(filesystem)) as file:
        writing.write(b"head")
        file.copy(100, 500, writing)
        with pytest.raises(OSError, match="ends 1 bytes early"):
            file.copy(len(CONTENT) - 4, 5, writing)
    os.close(descriptor)
    assert (tmp_path / "made").read_bytes() == b"head" + CONTENT[100:600] + CONTENT[-4:]


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(OSError, match="not a regular file"):
            LocalFile(tmp_path / name).open()


def test_only_a_file_of_this_disk_has_a_path(place: LocalFile) -> None:
    class Elsewhere:
        near = None

    assert path_of(place) == place.path
    with pytest.raises(OSError, match="does not lie on this disk"):
        path_of(Elsewhere())  # type: ignore[arg-type]
