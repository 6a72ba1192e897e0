"""SHA-256 of a file while it is being written: a thread reads behind the writer, from the page cache, so that hashing
costs at most the slower of the two and works for bytes that the kernel copied without our seeing them.
"""

from __future__ import annotations

import hashlib
from queue import SimpleQueue
from threading import Thread

from gte_surgery.surgery.commit.filesystem import Filesystem

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
