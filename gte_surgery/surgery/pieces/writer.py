"""Writes planned files: ranges through the kernel, numbers from a pool of threads in their order, SHA-256 on a thread
of its own.

One writer for every surgery. It creates files where it is told; making them durable and putting them in place is the
transaction's work. Memory stays at a few blocks whatever the size of a tensor.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from gte_surgery.surgery.commit.filesystem import Filesystem, Writing, closing
from gte_surgery.surgery.commit.tree import make_parents
from gte_surgery.surgery.pieces.cutting import merge, split
from gte_surgery.surgery.pieces.evaluate import Read, evaluate
from gte_surgery.surgery.pieces.piece import CopyRange, Fill, Piece
from gte_surgery.surgery.pieces.sources import Sources
from gte_surgery.surgery.pieces.statistics import settle
from gte_surgery.surgery.planning.plan import OutputFile

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

PART = 1 << 18
"""Bytes computed at a time."""

AHEAD = 16
"""Parts that are computed in advance at most, however many threads there are."""

STEP = 8 << 20
"""Bytes asked of the kernel at a time, so that progress and the hash can follow."""

Advance = Callable[[int], None]
"""Told the bytes written since its last call."""


class WrittenFile(NamedTuple):
    """What was written: `sha256` is the hex digest of the whole file, None when it was not wanted."""

    name: str
    size: int
    sha256: str | None


def write_files(
    files: Iterable[OutputFile],
    folder: Path,
    sources: Sources,
    filesystem: Filesystem,
    *,
    hashes: bool,
    threads: int,
    advance: Advance,
) -> tuple[WrittenFile, ...]:
    """Writes each as a new file below `folder`; raises OSError, and RefusedError when a source changed
    meanwhile.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads, "gte-surgery") as pool, sources.awaited():
        written = tuple(
            _write_file(file, folder, sources, filesystem, hashes, pool, min(2 * threads, AHEAD), advance)
            for file in files
        )
    sources.refuse_changed()
    return written


def _write_file(
    file: OutputFile,
    folder: Path,
    sources: Sources,
    filesystem: Filesystem,
    hashes: bool,
    pool: Executor,
    ahead: int,
    advance: Advance,
) -> WrittenFile:
    head, pieces = file.head, settle(file.pieces, sources.read, pool)
    make_parents(filesystem, folder, file.name)
    with closing(filesystem, filesystem.create(folder / file.name, file.mode)) as descriptor:
        writing = Writing(filesystem, descriptor)
        following = FollowingHash(descriptor, filesystem, hashes)
        with following, sources.landing(pieces, len(head), writing):
            size = 0
            for part in _stream(head, pieces, sources.read, pool, ahead):
                match part:
                    case CopyRange():
                        sources.copy(part, writing)
                        count = part.nbytes
                    case _:
                        writing.write(part)
                        count = len(part)
                size += count
                following.advance(size)
                advance(count)
            if hashes:
                # The disk works while the rest is hashed; durable it is made by the commit.
                filesystem.fsync(descriptor)
            return WrittenFile(file.name, size, following.finish())


def _stream(
    head: bytes, pieces: Iterable[Piece], read: Read, pool: Executor, ahead: int
) -> Iterator[CopyRange | bytes]:
    """The file in order: ranges still to be copied, and bytes, which are read and computed up to `ahead` parts in
    advance.
    """
    pending: deque[CopyRange | bytes | Future[bytes]] = deque()
    if head:
        pending.append(head)
    for piece in merge(pieces):
        for part in split(piece, STEP if isinstance(piece, CopyRange) else PART):
            pending.append(_begun(part, read, pool))
            while len(pending) > ahead:
                yield _ended(pending.popleft())
    while pending:
        yield _ended(pending.popleft())


def _begun(part: Piece, read: Read, pool: Executor) -> CopyRange | bytes | Future[bytes]:
    match part:
        case CopyRange():
            return part
        case Fill():
            return evaluate(part, read)
        case _:
            return pool.submit(evaluate, part, read)


def _ended(part: CopyRange | bytes | Future[bytes]) -> CopyRange | bytes:
    return part if isinstance(part, (CopyRange, bytes)) else part.result()


_BLOCK = 1 << 20


class FollowingHash:
    """Hashes the first bytes of an open file, as many as `advance` said are there. With `wanted` False it does
    nothing.
    """

    def __init__(self, descriptor: int, filesystem: Filesystem, wanted: bool) -> None:
        self._descriptor = descriptor
        self._filesystem = filesystem
        self._sizes: SimpleQueue[int | None] = SimpleQueue()
        self._digest = hashlib.sha256()
        self._failure: Exception | None = None
        self._thread = Thread(target=self._follow, name="gte-surgery hash", daemon=True) if wanted else None

    def __enter__(self) -> FollowingHash:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def advance(self, size: int) -> None:
        """The file now has `size` bytes that will not change."""
        self._sizes.put(size)

    def finish(self) -> str | None:
        """The hex digest of all that was announced, None if it was not wanted; raises what reading raised."""
        self._stop()
        if self._failure is not None:
            raise self._failure
        return self._digest.hexdigest() if self._thread is not None else None

    def _stop(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            self._sizes.put(None)
            self._thread.join()

    def _follow(self) -> None:
        try:
            done = 0
            while (size := self._sizes.get()) is not None:
                while done < size:
                    block = self._filesystem.pread(self._descriptor, min(_BLOCK, size - done), done)
                    if not block:
                        raise EOFError("a file became shorter while it was hashed")
                    self._digest.update(block)
                    done += len(block)
        except (OSError, EOFError) as failure:
            self._failure = failure
