"""SHA-256 of a file while it is being written: a thread reads behind the writer, from the page cache, so that hashing
costs at most the slower of the two and works for bytes that the kernel copied without our seeing them.
"""

from __future__ import annotations

import hashlib
from threading import Condition, Thread

from gte_surgery.surgery.commit.filesystem import Filesystem

_BLOCK = 1 << 20


class FollowingHash:
    """Hashes the first bytes of an open file, as many as `advance` said are there. With `wanted` False it does
    nothing.
    """

    def __init__(self, descriptor: int, filesystem: Filesystem, wanted: bool) -> None:
        self._descriptor = descriptor
        self._filesystem = filesystem
        self._size = self._done = 0
        self._is_ended = False
        self._changed = Condition()
        self._digest = hashlib.sha256()
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._follow, name="gte-surgery hash", daemon=True) if wanted else None

    def __enter__(self) -> FollowingHash:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """What is not hashed by now is not wanted any more."""
        with self._changed:
            self._size = self._done
        self._stop()

    def advance(self, size: int, lag: int) -> None:
        """The file now has `size` bytes that will not change. Returns when at most `lag` of them are not hashed."""
        with self._changed:
            self._size = size
            self._changed.notify_all()
            if self._thread is not None:
                self._changed.wait_for(lambda: size - self._done <= lag or self._failure is not None)

    def finish(self) -> str | None:
        """The hex digest of all that was announced, None if it was not wanted; raises what reading raised."""
        self._stop()
        if self._failure is not None:
            raise self._failure
        return self._digest.hexdigest() if self._thread is not None else None

    def _stop(self) -> None:
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        try:
            while (size := self._announced()) > self._done:
                block = self._filesystem.pread(self._descriptor, min(_BLOCK, size - self._done), self._done)
                if not block:
                    raise EOFError("a file became shorter while it was hashed")
                self._digest.update(block)
                with self._changed:
                    self._done += len(block)
                    self._changed.notify_all()
        except BaseException as failure:  # noqa: BLE001 - raised by `finish`, on the thread that waits
            with self._changed:
                self._failure = failure
                self._changed.notify_all()

    def _announced(self) -> int:
        """The bytes that are there, when there are more than are hashed; or when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._size > self._done or self._is_ended)
            return self._size
