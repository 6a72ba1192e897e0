"""What a surgery needs of a remote file, arriving in a file without a name at the offsets that it has there, or where
it is copied to at once, if that is known.

Several requests are under way at once, in the order in which they were asked for; who reads waits for what it reads.
However much is fetched, memory holds the few blocks that are just arriving, and a kill leaves nothing behind.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryFile
from threading import Condition, Lock

from gte_surgery.checkpoint.hub.coalesce import Range, coalesced, repeated, without
from gte_surgery.checkpoint.hub.transfer import Hub, Remote
from gte_surgery.checkpoint.source import Destination
from gte_surgery.errors import FetchError

_TELLING = 1 << 18
"""After so many bytes those are told who wait: each time several threads wake up."""


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


@dataclass(frozen=True, slots=True)
class Landing:
    """Bytes [begin, end) that belong to `at` of a file that is being written, and to nothing else."""

    begin: int
    end: int
    destination: Destination
    at: int

    def place_of(self, begin: int) -> int:
        """Where in the destination a byte belongs."""
        return self.at + begin - self.begin


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes [begin, end) that are there: where they have landed, None for the spool's own file."""

    begin: int
    end: int
    landing: Landing | None


class Spool:
    """Ranges of one remote file, which a `crew` fetches."""

    def __init__(self, hub: Hub, remote: Remote, folder: Path, crew: Crew) -> None:
        self._hub, self._remote, self._crew = hub, remote, crew
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - open for as long as the surgery
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._arrived: dict[int, int] = {}
        self._several: list[Range] = []
        self._landings: list[Landing] = []
        self._landed: dict[int, list[Landing]] = {}
        self._landing = Lock()
        self._failure: BaseException | None = None
        self._changed = Condition()

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def add(self, ranges: Iterable[Range]) -> None:
        """Fetch these as well, but for what is on its way already."""
        ranges = list(ranges)
        with self._changed:
            taken = list(zip(self._begins, self._ends, strict=True))
            self._several += repeated([*ranges, *taken])
            wanted = [left for part in coalesced(without(ranges, taken)) for left in without([part], taken)]
            both = sorted([*taken, *wanted])
            self._begins, self._ends = [begin for begin, _ in both], [end for _, end in both]
            self._arrived |= {begin: begin for begin, _ in wanted}
        self._crew.add(self, wanted)

    def holds(self, begin: int, end: int) -> bool:
        """Whether all of [begin, end) is there or on its way."""
        with self._changed:
            return not any(without([(begin, end)], self._around(begin, end)))

    def land(self, landing: Landing) -> None:
        """What begins to arrive from now on of these bytes goes to where they belong, unless another needs them too."""
        with self._changed:
            if not any(begin < landing.end and landing.begin < end for begin, end in self._several):
                insort(self._landings, landing, key=lambda each: each.begin)

    def withdraw(self, destination: Destination) -> None:
        """Nothing more is written to it."""
        with self._changed, self._landing:
            self._landings = [each for each in self._landings if each.destination is not destination]

    def wait(self, begin: int, end: int) -> list[Part]:
        """Return when all of [begin, end) is there, with where it is. Raises FetchError when it will not be."""
        with self._changed:
            around = self._around(begin, end)
            for first, last in around:
                while self._arrived[first] < min(last, end):
                    if self._failure is not None:
                        raise self._failure
                    self._changed.wait()
            return [
                part
                for first, last in around
                for part in _parts(max(first, begin), min(last, end), self._landed.get(first, ()))
            ]

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
        at, told, landings = begin, begin, self._begun(begin, end)
        try:
            for chunk in self._hub.chunks(self._remote, begin, end):
                for part in _parts(at, at + len(chunk), landings):
                    self._put(part, memoryview(chunk)[part.begin - at : part.end - at])
                at += len(chunk)
                if at >= min(end, told + _TELLING):
                    told = self._tell(begin, at)
        except BaseException as failure:  # noqa: BLE001 - it is raised to whoever waits for these bytes
            self.give_up(failure)

    def _begun(self, begin: int, end: int) -> list[Landing]:
        """The landings that a request fills, whole as it is; none where it has bytes that do not land."""
        with self._changed:
            first = bisect_right(self._landings, begin, key=lambda each: each.end)
            found = list(takewhile(lambda each: each.begin < end, self._landings[first:]))
            ends = [begin, *(each.end for each in found)]
            if not found or ends[-1] < end or any(each.begin > last for each, last in zip(found, ends, strict=False)):
                return []
            self._landed[begin] = found
            return found

    def _tell(self, begin: int, at: int) -> int:
        """That a request has arrived up to `at`, which it returns."""
        with self._changed:
            self._arrived[begin] = at
            self._changed.notify_all()
        return at

    def _put(self, part: Part, content: memoryview) -> None:
        if part.landing is None:
            at = part.begin
            while content:
                count = os.pwrite(self.descriptor, content, at)
                content, at = content[count:], at + count
            return
        with self._landing:
            if part.landing not in self._landings:
                raise FetchError(f"{self._remote}: given up")
            part.landing.destination.write_at(content, part.landing.place_of(part.begin))


def _parts(begin: int, end: int, landings: Sequence[Landing]) -> Iterator[Part]:
    """[begin, end) by where it lands."""
    if not landings:
        yield Part(begin, end, None)
    for each in landings:
        if each.begin < end and begin < each.end:
            yield Part(max(begin, each.begin), min(end, each.end), each)
