"""Files as they lie on disk: opened only when regular, listed without following links, named so that they can be shown.

Every read of the checkpoint room goes through here, so that a fifo, a socket or a device can never make it wait.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gte_surgery.checkpoint.bounds import MAX_JSON_BYTES, MAX_JSON_VALUES, count_values
from gte_surgery.checkpoint.json.strict import Document, parse_document
from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a checkpoint.

    `name` is relative, with "/" between folders (bytes that are not UTF-8 as surrogates, see `shown`), `path` where
    its content lies. Size in bytes, `mtime_ns`, permission bits `mode`, link count and `is_regular` are those of the
    file itself, for a symlink of the file that it leads to; a link that leads nowhere is not regular.
    """

    name: str
    path: Path
    size: int
    mtime_ns: int
    mode: int
    links: int
    is_symlink: bool
    is_regular: bool = True


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file open for reading, and its size in bytes."""

    descriptor: int
    size: int


@contextmanager
def open_regular(path: Path) -> Iterator[OpenFile]:
    """Open a regular file for reading. Raises CheckpointError for anything else, without waiting for it."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CheckpointError(f"{shown(path.name)}: not a regular file")
        descriptor = os.open(path, _OPEN_FLAGS)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{shown(path.name)}: {reason_of(error)}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{shown(path.name)}: not a regular file")
        yield OpenFile(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def read_at(descriptor: int, offset: int, count: int) -> bytes:
    """Up to `count` bytes from `offset`; fewer only at the end of the file. Raises CheckpointError on an I/O error."""
    chunks: list[bytes] = []
    while count > 0:
        try:
            chunk = os.pread(descriptor, count, offset)
        except OSError as error:
            raise CheckpointError(f"cannot read: {reason_of(error)}") from None
        if not chunk:
            break
        chunks.append(chunk)
        offset += len(chunk)
        count -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def read_whole(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises CheckpointError."""
    with open_regular(path) as file:
        if file.size > limit:
            raise CheckpointError(f"{shown(path.name)}: {file.size} bytes, at most {limit} are read")
        return read_at(file.descriptor, 0, limit)


def read_json(file: FileEntry, most_bytes: int = MAX_JSON_BYTES, most_values: int = MAX_JSON_VALUES) -> Document:
    """Parse a JSON file. Raises JsonError, or CheckpointError when it cannot be read or is too large."""
    raw = read_whole(file.path, most_bytes)
    if count_values(raw) > most_values:
        raise CheckpointError(f"{shown(file.name)}: more than {most_values} values, no file of a GTE has so many")
    return parse_document(raw, shown(file.name))


def entry_of(name: str, path: Path) -> FileEntry:
    """The FileEntry of the file at `path`, called `name` in its checkpoint. Raises OSError if nothing is there."""
    link = os.lstat(path)
    is_symlink = stat.S_ISLNK(link.st_mode)
    status = link
    if is_symlink:
        try:
            status = os.stat(path)
        except OSError:
            return FileEntry(name, path, 0, link.st_mtime_ns, 0, 0, True, False)
    is_regular = stat.S_ISREG(status.st_mode)
    return FileEntry(
        name,
        path,
        status.st_size,
        status.st_mtime_ns,
        stat.S_IMODE(status.st_mode),
        status.st_nlink,
        is_symlink,
        is_regular,
    )


def reason_of(error: OSError | ValueError) -> str:
    """Why the operating system refused, in lower case, without the path."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text[:1].lower() + text[1:]
