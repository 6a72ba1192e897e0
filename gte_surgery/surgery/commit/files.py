"""One file of a checkpoint under surgery: what it was when it was looked at, enough to know it again, in the same
process, after a crash, in a copy; a second name for it; and its owner, extended attributes and ACL, handed on to the
file that takes its place, whose mode is there already.

What the system does not permit is left: another's file that we replace becomes ours, as with any program that replaces
files, unless we are root. Signatures of the old bytes are not handed on.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gte_surgery.surgery.commit.filesystem import Filesystem, closing
from gte_surgery.surgery.commit.tree import status

HASHED_ANYWAY = 1 << 24
"""Bytes of a file that is hashed for the journal though the user asked for no hashes."""

ACL = "system.posix_acl_access"

_OF_THE_BYTES = frozenset({"security.ima", "security.evm"})
_CANNOT_LINK = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL})
_NOT_PERMITTED = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """Size in bytes, time of the last change, and SHA-256 in hex of the whole file, empty where it was not hashed."""

    size: int
    mtime_ns: int
    sha256: str = ""

    def is_like(self, found: os.stat_result | None) -> bool:
        """Whether a file may be this one, by size and time."""
        is_file = found is not None and stat.S_ISREG(found.st_mode)
        return is_file and found is not None and (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)


def record_of(found: os.stat_result, sha256: str = "") -> Record:
    """What a file is now."""
    return Record(found.st_size, found.st_mtime_ns, sha256)


def is_same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Whether a name still stands for the same, unchanged file; None stands for nothing."""
    if one is None or other is None:
        return one is other
    return _seen(one) == _seen(other)


def _seen(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def is_file(fs: Filesystem, path: Path, record: Record) -> bool:
    """Whether the file at `path` is the recorded one: by its content where that was hashed, else by size and time."""
    found = status(fs, path)
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != record.size:
        return False
    return sha256_of(fs, path) == record.sha256 if record.sha256 else record.is_like(found)


def sha256_of(fs: Filesystem, path: Path) -> str:
    """SHA-256 of a file in hex."""
    digest, offset = hashlib.sha256(), 0
    with closing(fs, fs.open_own(path)) as descriptor:
        while block := fs.pread(descriptor, _BLOCK, offset):
            digest.update(block)
            offset += len(block)
    return digest.hexdigest()


def link_or_copy(fs: Filesystem, source: Path, destination: Path) -> None:
    """Give a file a second name, or where the file system has no hard links, a durable copy, its attributes too."""
    try:
        fs.link(source, destination)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        _copy_file(fs, source, destination)


def bytes_to_copy(fs: Filesystem, source: Path, probe: Path) -> int:
    """What `link_or_copy` would take of the disk: nothing if a second name can be made, which is tried at `probe`."""
    found = status(fs, source)
    if found is None:
        return 0
    try:
        fs.link(source, probe)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        return found.st_size
    fs.unlink(probe)
    return 0


def _copy_file(fs: Filesystem, source: Path, destination: Path) -> None:
    with closing(fs, fs.open_own(source)) as reading:
        found = fs.fstat(reading)
        writing = fs.create(destination, stat.S_IMODE(found.st_mode))
        try:
            with closing(fs, writing):
                fs.copy_range(reading, writing, 0, found.st_size)
                carry_attributes(fs, source, destination)
                fs.set_time(writing, found.st_mtime_ns)
                fs.fsync(writing)
        except OSError:
            with suppress(OSError):  # half a copy under this name would be taken for the whole
                fs.unlink(destination)
            raise


def carry_attributes(fs: Filesystem, original: Path, successor: Path) -> None:
    """Give the file `successor` the owner, attributes and ACL of `original`, as far as the system permits.

    Raises OSError where it fails for another reason, such as a full disk.
    """
    with closing(fs, fs.open_own(successor)) as descriptor:
        wanted, found = fs.lstat(original), fs.fstat(descriptor)
        attributes, present = fs.attributes(original), fs.attributes(successor)
        changed = {name: value for name, value in attributes.items() if present.get(name) != value}
        changed = {name: value for name, value in changed.items() if name not in _OF_THE_BYTES}
        has_foreign_acl = ACL in present and ACL not in attributes
        if (wanted.st_uid, wanted.st_gid) == (found.st_uid, found.st_gid) and not changed and not has_foreign_acl:
            return
        mode = stat.S_IMODE(found.st_mode)
        fs.chmod(descriptor, mode | stat.S_IWUSR)  # attributes of a file that its owner may not write cannot be set
        if has_foreign_acl:  # a new file inherits one from its folder
            _if_permitted(partial(fs.remove_attribute, descriptor, ACL))
        for user, group in ((-1, wanted.st_gid), (wanted.st_uid, -1)):  # each may be refused alone
            _if_permitted(partial(fs.chown, descriptor, user, group))
        for name, value in sorted(changed.items()):
            _if_permitted(partial(fs.set_attribute, descriptor, name, value))
        fs.chmod(descriptor, mode)


def _if_permitted(act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        if error.errno not in _NOT_PERMITTED:
            raise
