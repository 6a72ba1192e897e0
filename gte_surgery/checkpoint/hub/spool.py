"""What a surgery needs of a remote file, arriving in a file without a name at the offsets that it has there.

Several requests are under way at once, in the order in which they were asked for; who reads waits for what it reads.
However much is fetched, memory holds the few blocks that are just arriving, and a kill leaves nothing behind.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Condition

from gte_surgery.checkpoint.hub.coalesce import Range, coalesced, without
from gte_surgery.checkpoint.hub.transfer import Hub, Remote


class Crew:
    """A few threads that carry requests out in the order in which they were asked for."""

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(size, "gte-surgery fetch")
        self._size = size
        self._waiting: deque[tuple[Spool, int, int]] = deque()

    def add(self, spool: Spool, ranges: Iterable[Range]) -> None:
        """Fetch these too; there may be tens of thousands, so that none is more than three numbers."""
        self._waiting.extend((spool, begin, end) for begin, end in ranges)
        for _ in range(min(self._size, len(self._waiting))):
            self._pool.submit(self._work)

    def close(self) -> None:
        """Return when nobody works any more; what has not been begun is not done."""
        self._waiting.clear()
        self._pool.shutdown(cancel_futures=True)

    def _work(self) -> None:
        with suppress(IndexError):
            while True:
                spool, begin, end = self._waiting.popleft()
                spool.fetch(begin, end)


class Spool:
    """Ranges of one remote file, which a `crew` fetches."""

    def __init__(self, hub: Hub, remote: Remote, folder: Path, crew: Crew) -> None:
        self._hub, self._remote, self._crew = hub, remote, crew
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - open for as long as the surgery
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._arrived: dict[int, int] = {}
        self._failure: BaseException | None = None
        self._changed = Condition()

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def add(self, ranges: Iterable[Range]) -> None:
        """Fetch these as well, but for what is on its way already."""
        with self._changed:
            taken = list(zip(self._begins, self._ends, strict=True))
            wanted = [left for part in coalesced(without(ranges, taken)) for left in without([part], taken)]
            both = sorted([*taken, *wanted])
            self._begins, self._ends = [begin for begin, _ in both], [end for _, end in both]
            self._arrived |= {begin: begin for begin, _ in wanted}
        self._crew.add(self, wanted)

    def holds(self, begin: int, end: int) -> bool:
        """Whether all of [begin, end) is there or on its way."""
        with self._changed:
            return not any(without([(begin, end)], self._around(begin, end)))

    def wait(self, begin: int, end: int) -> None:
        """Return when all of [begin, end) is there. Raises FetchError when it will not be."""
        with self._changed:
            for first, last in self._around(begin, end):
                while self._arrived[first] < min(last, end):
                    if self._failure is not None:
                        raise self._failure
                    self._changed.wait()

    def give_up(self, failure: BaseException) -> None:
        """Nothing more is fetched; `failure` is raised to all who wait."""
        self._hub.stop.set()
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of the file; what is still arriving has been given up."""
        self._file.close()

    def _around(self, begin: int, end: int) -> list[Range]:
        """The requests that overlap [begin, end)."""
        first, last = bisect_right(self._ends, begin), bisect_left(self._begins, end)
        return list(zip(self._begins[first:last], self._ends[first:last], strict=True))

    def fetch(self, begin: int, end: int) -> None:
        """Fetch one range; who waits for it is told when it is there, or why it will not be."""
        if self._failure is not None:
            return
        at = begin
        try:
            for chunk in self._hub.chunks(self._remote, begin, end):
                rest = memoryview(chunk)
                while rest:
                    count = os.pwrite(self.descriptor, rest, at)
                    rest, at = rest[count:], at + count
                with self._changed:
                    self._arrived[begin] = at
                    self._changed.notify_all()
        except BaseException as failure:  # noqa: BLE001 - it is raised to whoever waits for these bytes
            self.give_up(failure)
