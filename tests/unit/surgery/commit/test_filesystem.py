"""The operations that do more than one system call: whole writes, whole reads, copies by whatever the kernel offers."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest

from gte_surgery.surgery.commit import filesystem
from gte_surgery.surgery.commit.filesystem import Filesystem

CONTENT = os.urandom(100_003)


def _refuse(number: int) -> object:
    def call(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return call


def _copied(tmp_path: Path, offset: int, count: int) -> bytes:
    fs = Filesystem()
    (tmp_path / "source").write_bytes(CONTENT)
    source, destination = fs.open_read(tmp_path / "source"), fs.create(tmp_path / "copy")
    try:
        fs.write(destination, b"head")
        fs.copy_range(source, destination, offset, count)
        fs.write(destination, b"tail")
    finally:
        fs.close(source)
        fs.close(destination)
    return (tmp_path / "copy").read_bytes()


@pytest.mark.parametrize("refused", [(), ("copy_file_range",), ("copy_file_range", "sendfile")])
def test_a_range_is_copied_whole_with_or_without_the_kernel(
    refused: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in refused:
        monkeypatch.setattr(os, name, _refuse(errno.EXDEV))
    monkeypatch.setattr(filesystem, "COPY_BLOCK", 4099)
    assert _copied(tmp_path, 17, 90_001) == b"head" + CONTENT[17:90_018] + b"tail"


def test_a_copy_goes_on_where_a_short_kernel_copy_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.sendfile
    steps = iter([7, 1, 1000])

    def short(destination: int, source: int, offset: int, count: int) -> int:
        step = next(steps, None)
        if step is None:
            raise OSError(errno.EINVAL, "no more")
        return real(destination, source, offset, min(step, count))

    monkeypatch.setattr(os, "copy_file_range", _refuse(errno.ENOSYS))
    monkeypatch.setattr(os, "sendfile", short)
    assert _copied(tmp_path, 3, 50_000) == b"head" + CONTENT[3:50_003] + b"tail"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_is_not_taken_for_a_kernel_that_cannot_copy(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", _refuse(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        _copied(tmp_path, 0, 10)


def test_a_source_that_ends_early_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="ends 4 bytes early"):
        _copied(tmp_path, 10, len(CONTENT) - 6)


def test_short_writes_and_reads_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, pread = os.write, os.pread
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:999]))
    monkeypatch.setattr(os, "pread", lambda descriptor, count, offset: pread(descriptor, min(count, 777), offset))
    fs = Filesystem()
    descriptor = fs.create(tmp_path / "file")
    fs.write(descriptor, memoryview(CONTENT))
    assert fs.pread(descriptor, 5000, 50) == CONTENT[50:5050]
    assert fs.pread(descriptor, 5000, 100_000) == CONTENT[100_000:]
    assert fs.pread(descriptor, 5000, 200_000) == b""
    fs.close(descriptor)
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o777, 0o664])
def test_a_given_mode_is_exact_whatever_the_umask(mode: int, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Filesystem().close(Filesystem().create(tmp_path / "file", mode))
        Filesystem().close(Filesystem().create(tmp_path / "other"))
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o7777 == mode
    assert (tmp_path / "other").stat().st_mode & 0o7777 == 0o600


def test_create_never_opens_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        Filesystem().create(tmp_path / "link")
    assert not (tmp_path / "victim").exists()


def _stopped_at(place: int, operation: Callable[[], object]) -> bool:
    """Runs the operation with a Ctrl-C before the `place`-th instruction of ours; False if it ended before that."""
    seen = 0

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal seen
        if frame.f_code.co_filename != filesystem.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == place:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(FileExistsError, FileNotFoundError):
            operation()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_stop_between_any_two_instructions_comes_out_as_it_is_and_nothing_is_closed_twice(tmp_path: Path) -> None:
    """A descriptor closed twice may be another thread's by then; and "bad file descriptor" is not what happened."""
    fs = Filesystem()
    folder = tmp_path / "one" / "two"
    folder.mkdir(parents=True)
    (folder / "there").write_bytes(b"here")

    def renamed() -> None:
        fs.replace(folder / "there", folder / "gone")
        fs.replace(folder / "gone", folder / "there")

    operations = (
        lambda: fs.mkdir(folder / "there"),
        lambda: fs.close(fs.open_own(folder / "there")),
        lambda: fs.unlink(folder / "not-there"),
        lambda: fs.fsync_directory(folder),
        renamed,
    )
    for operation in operations:
        place = 1
        while _stopped_at(place, operation):
            place += 1
            if (folder / "gone").exists():
                (folder / "gone").replace(folder / "there")
        assert place > 20
