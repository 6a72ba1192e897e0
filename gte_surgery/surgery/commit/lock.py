"""The lock that lets one surgery at a time work on a checkpoint, and tells the others who is at work.

The lock is a name that only one process can make, and the kernel's own lock (flock) on what has that name. Either is
enough where it works: flock ends with its process, however that ends, but excludes nobody on some network file systems;
the name excludes everybody, and what it holds tells whether its maker is dead.

Who finds a dead holder claims its place by another exclusive name, which has the dead holder's in it, looks again
whether the lock is still that holder's, and replaces it. Since no holder's name comes twice, of two that find the same
dead one only one goes on.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from gte_surgery.errors import LockedError, RefusedError, WriteError
from gte_surgery.findings import as_word
from gte_surgery.surgery.commit.files import link_or_copy
from gte_surgery.surgery.commit.filesystem import Filesystem, closing
from gte_surgery.surgery.commit.holder import Holder
from gte_surgery.surgery.commit.refusals import elsewhere
from gte_surgery.surgery.commit.tree import StateFolder, refuse_link, status

_ATTEMPTS = 100
_MOST_BYTES = 1 << 16
_PATIENCE = 20
"""Looks, a twentieth of a second apart, at a lock that does not say whose it is: its maker may be about to."""
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_NO_ENTRY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENOTDIR})


@contextmanager
def locked(state: StateFolder, command: str, fs: Filesystem) -> Iterator[None]:
    """Hold the lock of `state`, making its folder if need be.

    Raises `LockedError` naming the holder, `RefusedError` where the folder is a symlink or not writable, `WriteError`
    where the operating system fails.
    """
    mine = state.path / f"lock-{state.nonce}"
    try:
        descriptor = _acquire(state, mine, command, fs)
    except OSError as error:
        _release(state, mine, fs)
        raise _refusal(state, error) from error
    except BaseException:
        _release(state, mine, fs)
        raise
    try:
        yield
    finally:
        _release(state, mine, fs, descriptor)


def require_held(state: StateFolder, fs: Filesystem) -> None:
    """Raise `LockedError` if the lock is no longer ours: somebody has removed it, or taken us for dead."""
    if not is_held(state, fs):
        raise LockedError(f"{state.target}: the lock of this surgery is gone; nothing was changed", "try again")


def is_held(state: StateFolder, fs: Filesystem) -> bool:
    """Whether the lock names this surgery, as far as the disk answers."""
    with suppress(OSError):
        return _nonce(_content(state.lock, fs)) == state.nonce
    return False


def _acquire(state: StateFolder, mine: Path, command: str, fs: Filesystem) -> int:
    """The descriptor of the locked file; tries again while others come and go."""
    for _ in range(_ATTEMPTS):
        with suppress(FileExistsError):
            fs.mkdir(state.path)
        refuse_link(fs, state.path)
        with suppress(FileNotFoundError):  # a holder that releases removes the folder, or clears what it does not know
            descriptor = _sign(state, mine, command, fs)
            try:
                if _take(state, mine, fs):
                    _unlink(mine, fs)
                    return descriptor
            except BaseException:
                fs.close(descriptor)
                raise
            fs.close(descriptor)
        _unlink(mine, fs)
    raise LockedError(f"{state.target}: other surgeries come and go too fast", "try again")


def _sign(state: StateFolder, mine: Path, command: str, fs: Filesystem) -> int:
    """A file of a name of its own that says who we are, locked before anybody can know of it."""
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    members = {"nonce": state.nonce, **fs.holder()._asdict(), "command": command, "since": since}
    descriptor = fs.create(mine)
    try:
        _lock(descriptor, fs)
        fs.write(descriptor, json.dumps(members).encode("ascii"))
    except BaseException:
        fs.close(descriptor)
        raise
    return descriptor


def _take(state: StateFolder, mine: Path, fs: Filesystem) -> bool:
    """Make the lock, or take a dead holder's place; False if the lock has changed hands meanwhile."""
    try:
        link_or_copy(fs, mine, state.lock)
    except FileExistsError:
        return _succeed(state, mine, fs)
    return True


def _succeed(state: StateFolder, mine: Path, fs: Filesystem) -> bool:
    trail: list[tuple[Path, str]] = []
    place = state.lock
    while True:
        token = _require_dead(state, place, fs)
        trail.append((place, token))
        claim = state.path / f"lock-after-{token}"
        try:
            link_or_copy(fs, mine, claim)
            break
        except FileExistsError:
            place = claim  # who claimed it died before it held the lock, or is about to hold it
    try:
        is_ours = all(_token(path, fs) == token for path, token in trail)
        if is_ours:
            fs.replace(mine, state.lock)
            for path, _ in trail[1:]:
                _unlink(path, fs)
        return is_ours
    finally:
        for _ in range(2):  # a claim that stays would hold up this process itself
            _unlink(claim, fs)


def _require_dead(state: StateFolder, place: Path, fs: Filesystem) -> str:
    """The token of a holder that is dead; raises `LockedError` if it may be alive."""
    for attempt in range(_PATIENCE):
        if _is_busy(place, fs):
            raise _busy(state, _content(place, fs), place)
        content = _content(place, fs)
        holder = _holder(content)
        if holder is not None:
            if not fs.is_dead(holder):
                raise _busy(state, content, place)
            break
        if attempt + 1 < _PATIENCE:
            fs.wait(0.05)
    return _token(place, fs)


def _is_busy(place: Path, fs: Filesystem) -> bool:
    """Whether the kernel says that a process has the file locked."""
    with closing(fs, fs.open_own(place)) as descriptor:
        return not _lock(descriptor, fs)


def _lock(descriptor: int, fs: Filesystem) -> bool:
    """Whether nobody else has the file locked. Where the system has no locks, the name alone excludes."""
    try:
        return fs.lock(descriptor)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return True


def _token(place: Path, fs: Filesystem) -> str:
    """What stands for one holder and no other: its own words, which have a random number in them, and the file."""
    found = status(fs, place)
    if found is None:
        return ""
    return hashlib.sha256(b"%d " % found.st_ino + _content(place, fs)).hexdigest()[:32]


def _content(place: Path, fs: Filesystem) -> bytes:
    with closing(fs, fs.open_own(place)) as descriptor:
        return fs.pread(descriptor, _MOST_BYTES, 0)


def _members(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _nonce(content: bytes) -> object:
    members = _members(content)
    return members.get("nonce") if isinstance(members, dict) else None


def _holder(content: bytes) -> Holder | None:
    """The holder, as far as the lock file tells."""
    match _members(content):
        case {
            "pid": int(pid), "host": str(host), "machine": str(machine), "boot": str(boot), "space": str(space),
            "started": str(started),
        }:  # fmt: skip
            return Holder(pid, host, machine, boot, space, started)
    return None


def _busy(state: StateFolder, content: bytes, place: Path) -> LockedError:
    told, hint = "a process that has just begun", "wait until it has ended"
    match _members(content):
        case {"pid": int(pid), "host": str(host), "command": str(command), "since": str(since)}:
            told = f"`{command}`, process {pid} on {host}, since {since}"
            hint += f"; if that process is gone for sure: `rm {as_word(str(place))}`"
    return LockedError(f"{state.target}: another surgery is at work: {told}", hint)


def _release(state: StateFolder, mine: Path, fs: Filesystem, descriptor: int | None = None) -> None:
    """Remove what is ours, and the state folder if it is empty; what cannot be removed does no harm."""
    for _ in range(2):  # what stays would hold up this process itself; a disk may answer the second time
        if is_held(state, fs):
            _unlink(state.lock, fs)
    if descriptor is not None:
        with suppress(OSError):
            fs.close(descriptor)
    _unlink(mine, fs)
    with suppress(OSError):
        fs.rmdir(state.path)


def _unlink(path: Path, fs: Filesystem) -> None:
    with suppress(OSError):
        fs.unlink(path)


def _refusal(state: StateFolder, error: OSError) -> RefusedError | WriteError:
    if error.errno in _NO_ENTRY:
        return elsewhere(state.target, f"{state.path}: cannot be written: {error.strerror}")
    return WriteError(f"{state.lock}: {error.strerror}; nothing was changed")
