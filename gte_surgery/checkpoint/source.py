"""Where the bytes of a checkpoint come from, as one small protocol: a place can be opened, what is open has a size and
an identity, gives ranges of bytes, and copies a range into a file as cheaply as it can.

Files on this disk are one kind, those of a repository on a hub another (`hub`). Nothing above opens a path of a
checkpoint by itself.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
NOT_REGULAR = "not a regular file"


class Identity(NamedTuple):
    """What an open file is: its size in bytes, when it was last changed, and `holder`, which no other file has."""

    size: int
    mtime_ns: int
    holder: Hashable


class Destination(Protocol):
    """A file that is being written, at its end."""

    def write(self, content: bytes | memoryview) -> None:
        """Append all of `content`."""

    def copy_from(self, descriptor: int, offset: int, count: int) -> None:
        """Append a range of another file of this disk, through the kernel where that can be."""

    def write_at(self, content: memoryview, at: int) -> None:
        """Put all of `content` where it belongs, behind the end."""

    def skip(self, begin: int, count: int) -> None:
        """Append the `count` bytes that stand behind the end already, which is at `begin`."""


class Opened(Protocol):
    """A file open for reading. All of it raises OSError. What is expected of it is nothing to a file that is near."""

    @property
    def identity(self) -> Identity:
        """What the file is by now."""

    def read(self, offset: int, count: int) -> bytes:
        """The `count` bytes from `offset`; fewer only at the end of the file."""

    def read_into(self, room: memoryview, offset: int) -> int:
        """Fill `room` with the bytes from `offset`; how many there were, fewer only at the end of the file."""

    def copy(self, offset: int, count: int, destination: Destination) -> None:
        """Append `count` bytes from `offset` to `destination`; a file that ends before is an OSError (EIO)."""

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """That these ranges will be read soon, in this order: what lies far away may be brought near."""
        return

    def land(self, offset: int, count: int, destination: Destination, at: int) -> None:
        """That these bytes will be copied to `at` of `destination`: what is brought near may be put there at once."""
        return

    def withdraw(self, destination: Destination) -> None:
        """That the destination is closed: nothing more may be put there."""
        return

    def give_up(self) -> None:
        """Who waits for bytes of it in another thread waits no longer, and fails."""
        return

    def close(self) -> None: ...


class Place(Protocol):
    """Where the content of one file lies."""

    @property
    def near(self) -> LocalFile | None:
        """The file on this disk that it is; None for one that would have to be fetched."""

    def open(self, disk: Disk | None = None) -> Opened:
        """Open it, through `disk` where it lies on one. Raises OSError, also for what is no regular file."""


class Disk:
    """What is asked of the operating system to read a file: a surgery brings its own, which tests make fail."""

    def open_read(self, path: Path) -> int:
        """Open a file for reading; a symlink is followed, a fifo does not hang."""
        return os.open(path, _OPEN_FLAGS)

    def fstat(self, descriptor: int) -> os.stat_result:
        """What an open file is."""
        return os.fstat(descriptor)

    def pread(self, descriptor: int, count: int, offset: int) -> bytes:
        """The `count` bytes from `offset`; fewer only where the file ends."""
        blocks = [os.pread(descriptor, count, offset)]
        while blocks[-1] and (missing := count - sum(map(len, blocks))):
            blocks.append(os.pread(descriptor, missing, offset + count - missing))
        return b"".join(blocks)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        os.close(descriptor)


class LocalFile(NamedTuple):
    """A file on this disk; a symlink is followed. A fifo, a socket or a device is refused without waiting for it."""

    path: Path

    @property
    def near(self) -> LocalFile:
        return self

    def open(self, disk: Disk | None = None) -> Opened:
        disk = disk or Disk()
        _require_regular(os.stat(self.path), self.path)
        descriptor = disk.open_read(self.path)
        try:
            _require_regular(disk.fstat(descriptor), self.path)
        except BaseException:
            disk.close(descriptor)
            raise
        return _OpenedLocal(descriptor, disk)


def path_of(place: Place) -> Path:
    """The path of a file on this disk, for programs that read nothing else. Raises OSError (ENOTSUP) for another."""
    if place.near is not None:
        return place.near.path
    raise OSError(errno.ENOTSUP, "does not lie on this disk", str(place))


@dataclass(frozen=True, slots=True)
class _OpenedLocal(Opened):
    descriptor: int
    disk: Disk

    @property
    def identity(self) -> Identity:
        found = self.disk.fstat(self.descriptor)
        return Identity(found.st_size, found.st_mtime_ns, (found.st_dev, found.st_ino))

    def read(self, offset: int, count: int) -> bytes:
        return self.disk.pread(self.descriptor, count, offset)

    def read_into(self, room: memoryview, offset: int) -> int:
        done = 0
        while done < len(room) and (count := os.preadv(self.descriptor, [room[done:]], offset + done)):
            done += count
        return done

    def copy(self, offset: int, count: int, destination: Destination) -> None:
        destination.copy_from(self.descriptor, offset, count)

    def close(self) -> None:
        self.disk.close(self.descriptor)


def _require_regular(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
