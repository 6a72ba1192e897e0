"""Files are written in turns and hashed beside each other: the same bytes and hashes for any number of threads, and
what goes wrong with one ends all.
"""

from __future__ import annotations

import errno
import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from gte_surgery.checkpoint.source import LocalFile
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.pieces import writer
from gte_surgery.surgery.pieces.following_hash import FollowingHash
from gte_surgery.surgery.pieces.piece import CopyRange, Fill, Normal
from gte_surgery.surgery.pieces.sources import Sources
from gte_surgery.surgery.pieces.writer import Job, WrittenFile, write_files
from gte_surgery.surgery.planning.plan import SourceFile

CONTENT = bytes(range(256)) * 5000
STEP = 100_000


class Watched(Filesystem):
    """Remembers which files are written to, in order, and lets the reading of one of them fail."""

    def __init__(self, bad: str = "") -> None:
        self.bad, self.names, self.order, self.open = bad, dict[int, str](), list[str](), set[int]()

    def create(self, path: Path, mode: int) -> int:
        descriptor = super().create(path, mode)
        self.names[descriptor] = path.name
        self.open.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        super().close(descriptor)
        self.open.discard(descriptor)

    def copy_range(self, source: int, destination: int, offset: int, count: int) -> None:
        self.order.append(self.names[destination])
        super().copy_range(source, destination, offset, count)

    def pread(self, descriptor: int, count: int, offset: int) -> bytes:
        if self.bad and self.names.get(descriptor) == self.bad:
            raise OSError(errno.EIO, "a bad sector", self.bad)
        return super().pread(descriptor, count, offset)


def jobs(count: int) -> list[Job]:
    """Files of ranges, fills and draws, each of another length."""
    return [
        Job(
            f"file-{number}",
            0o644,
            b"head %d" % number,
            (CopyRange("source", number, len(CONTENT)), Fill(b"\1\2", 50), Normal("s", number, 1.0, "F32", 0, 3000)),
        )
        for number in range(count)
    ]


def written(tmp_path: Path, threads: int, filesystem: Filesystem, hashes: bool = True) -> tuple[WrittenFile, ...]:
    source, folder = tmp_path / "source", tmp_path / f"stage-{threads}"
    source.write_bytes(CONTENT)
    folder.mkdir()
    at = source.stat()
    files = [SourceFile("source", LocalFile(source), at.st_size, at.st_mtime_ns, "")]
    with Sources(files, filesystem) as opened:
        return write_files(
            jobs(5), folder, opened, filesystem, hashes=hashes, threads=threads, advance=lambda count: None
        )


@pytest.mark.parametrize("lag", [writer.LAG, STEP // 2])
def test_any_number_of_threads_writes_the_same(tmp_path: Path, lag: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "STEP", STEP)
    monkeypatch.setattr(writer, "LAG", lag)
    alone = written(tmp_path, 1, Filesystem())
    for threads in (2, 3, 8):
        assert written(tmp_path, threads, Filesystem()) == alone
    for number, file in enumerate(alone):
        raw = (tmp_path / "stage-8" / file.name).read_bytes()
        assert file == WrittenFile(f"file-{number}", len(raw), hashlib.sha256(raw).hexdigest())
        assert raw == (tmp_path / "stage-1" / file.name).read_bytes()


@pytest.mark.parametrize(("threads", "hashes", "abreast"), [(1, True, 1), (2, True, 2), (8, True, 4), (8, False, 1)])
def test_as_many_files_as_are_hashed_beside_each_other_are_written_in_turns(
    tmp_path: Path, threads: int, hashes: bool, abreast: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "STEP", STEP)
    disk = Watched()
    written(tmp_path, threads, disk, hashes)
    first_ends = len(disk.order) - disk.order[::-1].index("file-0")
    assert set(disk.order[:first_ends]) == {f"file-{number}" for number in range(abreast)}


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_what_cannot_be_read_back_ends_all_and_leaves_nothing_open(tmp_path: Path, threads: int) -> None:
    disk = Watched(bad="file-1")
    with pytest.raises(OSError, match="a bad sector"):
        written(tmp_path, threads, disk)
    assert disk.open == set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gte-surgery")]


def test_a_hash_that_failed_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"short")
    with path.open("rb") as file, FollowingHash(file.fileno(), Filesystem(), True) as following:
        following.advance(1000, lag=0)
        following.advance(2000, lag=0)
        with pytest.raises(EOFError, match="shorter"):
            following.finish()


def test_a_hash_that_is_left_stops_where_it_is(tmp_path: Path) -> None:
    path, gate = tmp_path / "long", threading.Event()
    path.write_bytes(bytes(20 << 20))
    reads: list[Any] = []

    class Slow(Filesystem):
        def pread(self, descriptor: int, count: int, offset: int) -> bytes:
            reads.append(offset)
            gate.wait()
            return super().pread(descriptor, count, offset)

    with path.open("rb") as file, FollowingHash(file.fileno(), Slow(), True) as following:
        following.advance(20 << 20, lag=20 << 20)
        threading.Timer(0.2, gate.set).start()
    assert len(reads) <= 1
