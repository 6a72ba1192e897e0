"""What a file was when it was looked at: enough to know it again, in the same process, after a crash, in a copy."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.tree import status

HASHED_ANYWAY = 1 << 24
"""Bytes of a file that is hashed for the journal though the user asked for no hashes."""

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
    descriptor = fs.open_own(path)
    try:
        while block := fs.pread(descriptor, _BLOCK, offset):
            digest.update(block)
            offset += len(block)
    finally:
        fs.close(descriptor)
    return digest.hexdigest()
