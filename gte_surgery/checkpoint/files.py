"""The files of a checkpoint: each with its name and the place of its content, opened, and read whole where it is small.
What one is, is told from its first bytes and never from its name.

What a place is, and how it is read, is for `source`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from gte_surgery.checkpoint.bounds import MAX_HEADER_BYTES, MAX_JSON_BYTES, MAX_JSON_VALUES, count_values
from gte_surgery.checkpoint.json.strict import Document, parse_document
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.source import Identity, LocalFile, Opened, Place
from gte_surgery.errors import CheckpointError

SNIFFED_BYTES = 512
"""So many first bytes tell what a file is."""
_PIECE = 1 << 20
_MOST_THREADS = 4


class Content(Enum):
    """What a file's first bytes say it is; the value is how messages name it."""

    SAFETENSORS = "a safetensors file"
    PICKLE = "a Python pickle"
    TORCH_ZIP = "a PyTorch zip archive holding a pickle"
    ZIP = "a zip archive"
    LFS_POINTER = "a Git LFS pointer, not the file itself"
    HTML = "an HTML or XML page"
    GGUF = "a GGUF file"
    JSON = "JSON text"
    EMPTY = "empty"
    UNKNOWN = "of unknown content"


class FileEntry(NamedTuple):
    """One file of a checkpoint.

    `name` is relative, with "/" between folders (bytes that are not UTF-8 as surrogates, see `shown`), `place` where
    its content lies. Size in bytes, `mtime_ns`, permission bits `mode` and `is_regular` are those of the file itself,
    for a symlink of the file that it leads to; a link that leads nowhere is not regular.
    """

    name: str
    place: Place
    size: int
    mtime_ns: int
    mode: int
    is_symlink: bool
    is_regular: bool = True


@contextmanager
def opened(file: FileEntry | Path) -> Iterator[Opened]:
    """A file open for reading; a path is a file on this disk.

    Raises CheckpointError where it cannot be opened, is no regular file, or cannot be read within the block.
    """
    try:
        reading = (LocalFile(file) if isinstance(file, Path) else file.place).open()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{_told(file)}: {reason_of(error)}") from None
    try:
        yield reading
    except OSError as error:
        raise CheckpointError(f"{_told(file)}: cannot read: {reason_of(error)}") from None
    finally:
        reading.close()


def _told(file: FileEntry | Path) -> str:
    """What messages call it: a file of a checkpoint by its name there, one that was typed as it was typed."""
    return shown(str(file) if isinstance(file, Path) else file.name)


def read_whole(file: FileEntry | Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes. Raises CheckpointError."""
    return read_identified(file, limit)[0]


def read_identified(file: FileEntry | Path, limit: int) -> tuple[bytes, Identity]:
    """The same, with what the file was when it was read."""
    with opened(file) as reading:
        identity = reading.identity
        if identity.size > limit:
            raise CheckpointError(f"{_told(file)}: {identity.size} bytes, at most {limit} are read")
        return reading.read(0, limit), identity


Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all) as files are read or written."""


def adding_up(progress: Progress | None, total: int) -> Callable[[int], None]:
    """What tells `progress` the sum of the steps of which it is told itself, by any number of threads."""
    done, lock = 0, Lock()

    def advance(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            if progress is not None:
                progress(done, total)

    return advance


def sha256_of(place: Place, advance: Callable[[int], object] = int) -> str:
    """The SHA-256 of a whole file as hex digits; `advance` is told of the bytes read. Raises OSError."""
    from hashlib import sha256

    digest, done = sha256(), 0
    with closing(place.open()) as file:
        file.expect([(0, file.identity.size)])
        while piece := file.read(done, _PIECE):
            digest.update(piece)
            done += len(piece)
            advance(len(piece))
    return digest.hexdigest()


def digests(files: list[FileEntry], progress: Progress) -> Mapping[FileEntry, str]:
    """SHA-256 of each file as hex digits, a few files at a time. Raises OSError."""
    from concurrent.futures import ThreadPoolExecutor

    if not files:
        return {}
    advance = adding_up(progress, sum(file.size for file in files))
    with ThreadPoolExecutor(min(len(files), os.cpu_count() or 1, _MOST_THREADS)) as pool:
        return dict(zip(files, pool.map(lambda file: sha256_of(file.place, advance), files), strict=True))


def read_json(file: FileEntry, most_bytes: int = MAX_JSON_BYTES, most_values: int = MAX_JSON_VALUES) -> Document:
    """Parse a JSON file. Raises JsonError, or CheckpointError when it cannot be read or is too large."""
    raw = read_whole(file, most_bytes)
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
            return FileEntry(name, LocalFile(path), 0, link.st_mtime_ns, 0, True, False)
    is_regular = stat.S_ISREG(status.st_mode)
    return FileEntry(
        name,
        LocalFile(path),
        status.st_size,
        status.st_mtime_ns,
        stat.S_IMODE(status.st_mode),
        is_symlink,
        is_regular,
    )


def reason_of(error: OSError | ValueError) -> str:
    """Why the operating system refused, in lower case, without the path."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text[:1].lower() + text[1:]


def sniff(head: bytes) -> Content:
    """What the file that starts with `head` is."""
    if not head:
        return Content.EMPTY
    if _is_safetensors(head):
        return Content.SAFETENSORS
    if head.startswith(b"PK\x03\x04"):
        return Content.TORCH_ZIP if b"/data.pkl" in head or b"/byteorder" in head else Content.ZIP
    if head.startswith(b"GGUF"):
        return Content.GGUF
    if head[0] == 0x80 and len(head) > 1 and 2 <= head[1] <= 5:
        return Content.PICKLE
    return _sniff_text(head)


def _is_safetensors(head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and length <= MAX_HEADER_BYTES and head[8:].lstrip(b" \t\n\r")[:1] == b"{"


def _sniff_text(head: bytes) -> Content:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        return Content.LFS_POINTER
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        return Content.HTML
    if text.startswith((b"{", b"[")):
        return Content.JSON
    return Content.UNKNOWN
