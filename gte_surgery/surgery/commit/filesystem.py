"""Every operation that surgery asks of the operating system, as one small injectable object.

The methods are thin: one call, one effect, `OSError` when it fails. Whatever the order of effects must be is the
business of `transaction` and `recovery`; tests subclass `Filesystem` to crash, tear or fail each single operation.

What makes, moves or removes a name walks to its folder without following a symlink (Linux): who swaps a folder for one
in the middle of a surgery makes it fail (ENOTDIR), and leads it nowhere.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gte_surgery.checkpoint.source import Disk
from gte_surgery.surgery.commit.holder import Holder, is_dead, is_running, started, this_process

COPY_BLOCK = 8 << 20
"""Bytes held in memory by a copy that the kernel cannot do by itself."""

_KERNEL_BLOCK = 1 << 30
_CANNOT_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ENOTSOCK})
_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | (os.O_PATH | os.O_NOFOLLOW if hasattr(os, "O_PATH") else os.O_RDONLY)
_CANNOT_SYNC_FOLDERS = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
_NO_MODES = frozenset({errno.EPERM, errno.EOPNOTSUPP})
_NO_ATTRIBUTES = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, getattr(errno, "ENODATA", 0)})
_GET_FLAGS = 0x80086601 if sys.maxsize > 2**32 else 0x80046601
"""FS_IOC_GETFLAGS [linux/fs.h], as most architectures count it; the others answer that they know no such call."""
_FIXED_LINUX = 0x10 | 0x20
"""FS_IMMUTABLE_FL, FS_APPEND_FL [linux/fs.h]."""
_NO_REPLACE, _EXCHANGE = 1, 2
"""RENAME_NOREPLACE, RENAME_EXCHANGE [linux/fs.h]."""
_MACOS_FLAGS = {_NO_REPLACE: 4, _EXCHANGE: 2}
"""RENAME_EXCL, RENAME_SWAP [sys/stdio.h]."""
_FIXED_BSD = stat.UF_IMMUTABLE | stat.UF_APPEND | stat.SF_IMMUTABLE | stat.SF_APPEND


class Filesystem(Disk):
    """The operating system as surgery sees it. Every method may raise `OSError`; none cleans up after another."""

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Make one folder, its mode under the umask; `FileExistsError` if the name is taken."""
        with _parent(path) as folder:
            os.mkdir(path.name, mode, dir_fd=folder)

    def create(self, path: Path, mode: int | None = None) -> int:
        """Make a file that must not exist and open it for reading and writing.

        `mode` is set whatever the umask; without it the file gets the mode of any new file.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with _parent(path) as folder:
            descriptor = os.open(path.name, flags, 0o666 if mode is None else mode & 0o600, dir_fd=folder)
        if mode is not None:
            try:
                _set_mode(descriptor, mode)
            except OSError:
                os.close(descriptor)
                raise
        return descriptor

    def open_own(self, path: Path) -> int:
        """Open a file of the directory under surgery for reading; no symlink is followed, a fifo does not hang."""
        with _parent(path) as folder:
            return os.open(path.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)

    def write(self, descriptor: int, content: bytes | bytearray | memoryview) -> None:
        """Append all of `content` at the descriptor's position."""
        rest = memoryview(content).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def write_at(self, descriptor: int, content: memoryview, at: int) -> None:
        """Write all of `content` at an offset; the descriptor's position stays."""
        while content:
            count = os.pwrite(descriptor, content, at)
            content, at = content[count:], at + count

    def skip(self, descriptor: int, begin: int, count: int) -> None:
        """Move the descriptor's position from `begin` past `count` bytes; an `OSError` (EINVAL) if it is elsewhere."""
        if os.lseek(descriptor, 0, os.SEEK_CUR) != begin:
            raise OSError(errno.EINVAL, f"not at byte {begin} of a file")
        os.lseek(descriptor, count, os.SEEK_CUR)

    def copy_range(self, source: int, destination: int, offset: int, count: int) -> None:
        """Append `count` bytes of `source` from `offset` at the position of `destination`.

        Through the kernel where it can (copy_file_range, then sendfile), else in blocks of `COPY_BLOCK`.
        A source that ends early is an `OSError` (EIO).
        """
        for step in (_copy_in_kernel, _send_in_kernel, _copy_through_memory):
            done = step(source, destination, offset, count)
            offset, count = offset + done, count - done
            if not count:
                return
        raise OSError(errno.EIO, f"the source ends {count} bytes early")

    def chmod(self, descriptor: int, mode: int) -> None:
        """Set the mode of an open file; nothing where the file system has none of its own (vfat)."""
        _set_mode(descriptor, mode)

    def set_time(self, descriptor: int, mtime_ns: int) -> None:
        """Say of an open file when it was last changed."""
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))

    def chown(self, descriptor: int, user: int, group: int) -> None:
        """Set user and group of an open file, -1 leaves one as it is."""
        os.fchown(descriptor, user, group)

    def attributes(self, path: Path) -> dict[str, bytes]:
        """The extended attributes of a file, its ACL among them; none where there is no such thing."""
        if not hasattr(os, "listxattr"):
            return {}
        found = {}
        try:
            for name in os.listxattr(path, follow_symlinks=False):
                found[name] = os.getxattr(path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_ATTRIBUTES:
                raise
        return found

    def set_attribute(self, descriptor: int, name: str, value: bytes) -> None:
        """Set one extended attribute of an open file."""
        if hasattr(os, "setxattr"):
            os.setxattr(descriptor, name, value)

    def remove_attribute(self, descriptor: int, name: str) -> None:
        """Remove one extended attribute of an open file."""
        if hasattr(os, "removexattr"):
            os.removexattr(descriptor, name)

    def fsync(self, descriptor: int) -> None:
        """Return when the content of a file is on the disk, past the drive's own cache."""
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)

    def fsync_directory(self, path: Path) -> None:
        """Return when the names in a folder are on the disk; nothing where the file system has no such operation."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC_FOLDERS:
                raise
        finally:
            os.close(descriptor)

    def link(self, source: Path, destination: Path) -> None:
        """Give a file a second name; a symlink is not followed."""
        with _parent(source) as before, _parent(destination) as after:
            os.link(source.name, destination.name, src_dir_fd=before, dst_dir_fd=after, follow_symlinks=False)

    def replace(self, source: Path, destination: Path) -> None:
        """Rename atomically over whatever file, or empty folder, has the name."""
        with _parent(source) as before, _parent(destination) as after:
            os.replace(source.name, destination.name, src_dir_fd=before, dst_dir_fd=after)

    def exchange(self, one: Path, other: Path) -> None:
        """Let two names change places, atomically; an `OSError` (EINVAL, ENOSYS) where the system cannot."""
        self._rename(one, other, _EXCHANGE)

    def move(self, source: Path, destination: Path) -> None:
        """Rename, but over nothing (EEXIST); an `OSError` (EINVAL, ENOSYS) where the system cannot."""
        self._rename(source, destination, _NO_REPLACE)

    def _rename(self, source: Path, destination: Path, flag: int) -> None:
        with _parent(source) as before, _parent(destination) as after:
            _rename_with(before, source.name, after, destination.name, flag)

    def unlink(self, path: Path) -> None:
        """Remove one name of a file; a symlink itself, never what it points to."""
        with _parent(path) as folder:
            os.unlink(path.name, dir_fd=folder)

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        with _parent(path) as folder:
            os.rmdir(path.name, dir_fd=folder)

    def listdir(self, path: Path) -> list[str]:
        """The names in a folder, sorted."""
        return sorted(os.listdir(path))

    def lstat(self, path: Path) -> os.stat_result:
        """What a name stands for; a symlink is not followed."""
        return os.lstat(path)

    def is_writable(self, path: Path) -> bool:
        """Whether names can be made and removed in a folder."""
        return os.access(path, os.W_OK | os.X_OK)

    def is_immutable(self, path: Path) -> bool:
        """Whether a file or folder is marked so that not even its owner may rename or remove it (chattr +i, +a;
        chflags); False where that cannot be seen.
        """
        flags = getattr(os.lstat(path), "st_flags", None)
        return bool(flags & _FIXED_BSD) if flags is not None else bool(_linux_flags(path) & _FIXED_LINUX)

    def is_mount_point(self, path: Path) -> bool:
        """Whether something is mounted on a file, as containers do; False where that cannot be seen."""
        try:
            with open("/proc/self/mountinfo", "rb") as mounts:
                return any(line.split()[4] == _escaped(path) for line in mounts)
        except FileNotFoundError:
            return False

    def umask(self) -> int:
        """The permissions that new files do not get; surgeries make files in one thread at a time."""
        mask = os.umask(0o077)
        os.umask(mask)
        return mask

    def free_bytes(self, path: Path) -> int:
        """Bytes that an ordinary user can still write on the file system of `path`."""
        usage = os.statvfs(path)
        return usage.f_bavail * usage.f_frsize

    def holder(self) -> Holder:
        """Who takes a lock."""
        return this_process()

    def is_dead(self, holder: Holder) -> bool:
        """Whether the holder of a lock that the kernel has given us cannot be at work any more."""
        return is_dead(holder, self.holder(), started(holder.pid) if is_running(holder.pid) else None)

    def wait(self, seconds: float) -> None:
        """Let others go on."""
        time.sleep(seconds)

    def lock(self, descriptor: int) -> bool:
        """Take the exclusive lock of an open file, without waiting; False if another process holds it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class Writing(NamedTuple):
    """A file open for writing, at its end: where `checkpoint.source` puts what it copies."""

    filesystem: Filesystem
    descriptor: int

    def write(self, content: bytes | memoryview) -> None:
        """Append all of `content`."""
        self.filesystem.write(self.descriptor, content)

    def copy_from(self, descriptor: int, offset: int, count: int) -> None:
        """Append a range of an open file; see `Filesystem.copy_range`."""
        self.filesystem.copy_range(descriptor, self.descriptor, offset, count)

    def write_at(self, content: memoryview, at: int) -> None:
        """Put all of `content` behind the end; see `Filesystem.write_at`."""
        self.filesystem.write_at(self.descriptor, content, at)

    def skip(self, begin: int, count: int) -> None:
        """Take what stands behind the end at `begin` as appended; see `Filesystem.skip`."""
        self.filesystem.skip(self.descriptor, begin, count)


@contextmanager
def closing(filesystem: Filesystem, descriptor: int) -> Iterator[int]:
    """A file that was opened, closed at the end of the block."""
    try:
        yield descriptor
    finally:
        filesystem.close(descriptor)


@contextmanager
def _parent(path: Path) -> Iterator[int]:
    """The folder of `path`, open, found without following a symlink; an `OSError` of the block names the whole path."""
    folder = os.open(path.anchor or ".", _FOLDER)
    try:
        for part in path.parts[bool(path.anchor) : -1]:
            outer, folder = folder, os.open(part, _FOLDER, dir_fd=folder)
            os.close(outer)  # no longer `folder`: a stop from here on must not close it a second time
        yield folder
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(folder)


def _rename_with(before: int, source: str, after: int, destination: str, flag: int) -> None:
    """renameat2 of Linux [rename(2)], renameatx_np of macOS."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "renameat2", None) or getattr(library, "renameatx_np", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), source)
    flag = _MACOS_FLAGS[flag] if sys.platform == "darwin" else flag
    arguments = (before, os.fsencode(source), after, os.fsencode(destination), ctypes.c_uint(flag))
    if call(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source)


def _set_mode(descriptor: int, mode: int) -> None:
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise


def _linux_flags(path: Path) -> int:
    """The flags that chattr sets, 0 where the file may not be read or the file system has none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))[:4], sys.byteorder)
    except OSError:
        return 0
    finally:
        os.close(descriptor)


def _escaped(path: Path) -> bytes:
    """The path as the kernel lists it, blanks and backslashes in octal [proc_pid_mountinfo(5)]."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes((byte,)) for byte in os.fsencode(path))


def _copy_in_kernel(source: int, destination: int, offset: int, count: int) -> int:
    """Bytes copied by copy_file_range before it gave up or the source ended."""
    if not hasattr(os, "copy_file_range"):
        return 0
    return _in_steps(lambda begin, most: os.copy_file_range(source, destination, most, begin), offset, count)


def _send_in_kernel(source: int, destination: int, offset: int, count: int) -> int:
    """Bytes copied by sendfile before it gave up or the source ended."""
    return _in_steps(lambda begin, most: os.sendfile(destination, source, begin, most), offset, count)


def _in_steps(copy: Callable[[int, int], int], offset: int, count: int) -> int:
    """Bytes that `copy` moves, called with an offset and at most so many, until it moves none or cannot."""
    done = 0
    try:
        while done < count and (step := copy(offset + done, min(count - done, _KERNEL_BLOCK))):
            done += step
    except OSError as error:
        if error.errno not in _CANNOT_COPY:
            raise
    return done


def _copy_through_memory(source: int, destination: int, offset: int, count: int) -> int:
    """Bytes copied in blocks through memory before the source ended."""
    done = 0
    while done < count:
        block = os.pread(source, min(count - done, COPY_BLOCK), offset + done)
        if not block:
            break
        done += len(block)
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(destination, rest) :]
    return done
