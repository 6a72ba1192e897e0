"""The lock that lets one surgery at a time work on a checkpoint, and tells the others who is at work.

The kernel holds the lock (flock), so it ends with its process, however that ends; the file's content only names the
holder. The file and an empty state folder are removed on release, which is why the lock looks again after locking.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

from gte_surgery.errors import LockedError, RefusedError, WriteError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.refusals import elsewhere
from gte_surgery.surgery.commit.tree import StateFolder, refuse_link, status

_ATTEMPTS = 100
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_NO_ENTRY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.EISDIR, errno.ENXIO})


@contextmanager
def locked(state: StateFolder, command: str, fs: Filesystem) -> Iterator[None]:
    """Hold the lock of `state`, making its folder if need be.

    Raises `LockedError` naming the holder, `RefusedError` where the folder is a symlink, not writable, or on a file
    system without locks, `WriteError` where the operating system fails.
    """
    try:
        descriptor = _acquire(state, fs)
    except OSError as error:
        _remove_folder(state, fs)
        raise _refusal(state, error) from error
    try:
        _sign(descriptor, command, fs)
        yield
    finally:
        _release(state, descriptor, fs)


def _acquire(state: StateFolder, fs: Filesystem) -> int:
    """The descriptor of the locked file; tries again while a releasing holder removes file or folder under us."""
    for _ in range(_ATTEMPTS):
        with suppress(FileExistsError):
            fs.mkdir(state.path)
        refuse_link(fs, state.path)
        try:
            descriptor = fs.open_lock(state.lock)
        except FileNotFoundError:
            continue
        if _is_locked(state, descriptor, fs):
            return descriptor
        fs.close(descriptor)
    raise LockedError(f"{state.target}: other surgeries come and go too fast", "try again")


def _is_locked(state: StateFolder, descriptor: int, fs: Filesystem) -> bool:
    """Lock the open file; False if its name is gone or another's by then. Closes it before it raises."""
    is_held = False
    try:
        is_held = fs.lock(descriptor)
        if not is_held:
            holder = _holder(descriptor, fs)
            raise LockedError(f"{state.target}: another surgery is at work: {holder}", "wait until it has ended")
        found = status(fs, state.lock)
        return found is not None and found.st_ino == fs.fstat(descriptor).st_ino
    except BaseException:
        if is_held:
            _release(state, descriptor, fs)
        else:
            fs.close(descriptor)
        raise


def _sign(descriptor: int, command: str, fs: Filesystem) -> None:
    """Write into the lock file who holds it; on a full disk the lock holds without a name.

    A file with a second name may be anyone's, put there to be overwritten: it is locked and not written.
    """
    holder = {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "command": command,
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    with suppress(OSError):
        if fs.fstat(descriptor).st_nlink > 1:
            return
        fs.truncate(descriptor)
        fs.write(descriptor, json.dumps(holder).encode("ascii"))


def _holder(descriptor: int, fs: Filesystem) -> str:
    """The holder in words, as far as the lock file tells."""
    try:
        holder = json.loads(fs.pread(descriptor, 1 << 16, 0))
    except (ValueError, RecursionError):
        holder = None
    match holder:
        case {"pid": int(pid), "host": str(host), "command": str(command), "since": str(since)}:
            return f"`{command}`, process {pid} on {host}, since {since}"
    return "a process that has just begun"


def _release(state: StateFolder, descriptor: int, fs: Filesystem) -> None:
    """Remove the lock file while it is still held, then let go; what cannot be removed does no harm."""
    with suppress(OSError):
        fs.unlink(state.lock)
    with suppress(OSError):
        fs.close(descriptor)
    _remove_folder(state, fs)


def _remove_folder(state: StateFolder, fs: Filesystem) -> None:
    """Remove the state folder if it is empty."""
    with suppress(OSError):
        fs.rmdir(state.path)


def _refusal(state: StateFolder, error: OSError) -> RefusedError | WriteError:
    if error.errno in _NO_LOCKS:
        return RefusedError(f"{state.lock}: this file system has no locks", "work on a local disk")
    if error.errno in _NO_ENTRY:
        return elsewhere(state.target, f"{state.path}: cannot be written: {error.strerror}")
    return WriteError(f"{state.lock}: {error.strerror}; nothing was changed")
