"""A remote file open for reading: small reads are kept, long ones arrive as they are read, those of a surgery by way of
a spool.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from gte_surgery.checkpoint.hub.coalesce import GAP, LONGEST, Range, union
from gte_surgery.checkpoint.hub.known import known_content
from gte_surgery.checkpoint.hub.spool import Crew, Landing, Part, Spool
from gte_surgery.checkpoint.hub.transfer import Hub, Remote
from gte_surgery.checkpoint.source import Destination, Identity, Opened
from gte_surgery.errors import FetchError

HEAD = 256 << 10
"""A read within so many first bytes reads all of them: a header is followed by the first rows of the word table."""
SMALL = 1 << 20
"""A read of at most so many bytes is kept."""
_MOST_KEPT = 8 << 20
_CONNECTIONS = 6


class Supply:
    """What has been read of the files of one commit, and what of them is on its way."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._blocks: dict[Remote, list[tuple[int, bytes]]] = {}
        self._kept = 0
        self._folder: Path | None = None
        self._spools: dict[Remote, Spool] = {}
        self._crew: Crew | None = None
        self._lock = Lock()

    def block(self, remote: Remote, begin: int, end: int) -> tuple[int, bytes]:
        """Kept bytes that hold [begin, end), and where they begin; fetched if they have not been yet."""
        with self._lock:
            for at, kept in self._blocks.get(remote, ()):
                if at <= begin and end <= at + len(kept):
                    return at, kept
        if end <= HEAD:
            begin, end = 0, min(remote.size, HEAD)
        if (known := known_content(remote.etag)) is not None and len(known) == remote.size:
            return 0, known
        raw = b"".join(self.hub.chunks(remote, begin, end))
        if len(raw) == remote.size:
            digest = remote.digest()
            digest.update(raw)
            remote.require(digest)
        with self._lock:
            if self._kept + len(raw) <= _MOST_KEPT:
                self._kept += len(raw)
                self._blocks.setdefault(remote, []).append((begin, raw))
        return begin, raw

    def fetch(self, remote: Remote, ranges: Iterable[Range]) -> bool:
        """Begin to fetch ranges that are needed soon, where there is a folder for them; whether there is."""
        if self._folder is None:
            return False
        with self._lock:
            if self._crew is None:
                self._crew = Crew(_CONNECTIONS)
            if remote not in self._spools:
                self._spools[remote] = Spool(self.hub, remote, self._folder, self._crew)
            spool = self._spools[remote]
        spool.add(ranges)
        return True

    def spool(self, remote: Remote) -> Spool | None:
        """Where what was asked of `fetch` arrives."""
        return self._spools.get(remote)

    @contextmanager
    def spooling(self, folder: Path) -> Iterator[None]:
        """Within the block, what is expected is fetched into files without names in `folder`."""
        self._folder = folder
        try:
            yield
        finally:
            self._folder = None
            if self._crew is not None:
                self.hub.stop.set()
                self._crew.close()
                self.hub.stop.clear()
                self._crew = None
            while self._spools:
                self._spools.popitem()[1].close()


class OpenedRemote(Opened):
    """See `source.Opened`; raises FetchError where that raises OSError."""

    def __init__(self, supply: Supply, remote: Remote) -> None:
        self._supply, self._remote = supply, remote
        self._expected: list[Range] = []
        self._tape: _Tape | None = None

    @property
    def identity(self) -> Identity:
        return Identity(self._remote.size, 0, self._remote)

    def expect(self, ranges: Iterable[Range]) -> None:
        if not self._supply.fetch(self._remote, ranges):
            self._expected = list(union(ranges))

    def read(self, offset: int, count: int) -> bytes:
        room = bytearray(max(0, min(count, self._remote.size - offset)))
        self.read_into(memoryview(room), offset)
        return bytes(room)

    def read_into(self, room: memoryview, offset: int) -> int:
        end = min(offset + len(room), self._remote.size)
        room = room[: max(0, end - offset)]
        spool = self._supply.spool(self._remote)
        if spool is not None and _is_spooled(spool, offset, end):
            os.preadv(spool.descriptor, [room], offset)
        elif (stop := self._expected_end(offset)) is None and len(room) <= SMALL:
            begin, block = self._supply.block(self._remote, offset, end)
            room[:] = block[offset - begin : end - begin]
        else:
            self._taped(offset, end, stop or end).fill(room)
        return len(room)

    def copy(self, offset: int, count: int, destination: Destination) -> None:
        end = offset + count
        spool = self._supply.spool(self._remote)
        if spool is not None and spool.holds(offset, end):
            parts = spool.wait(offset, end)
        else:
            spool, parts = None, [Part(offset, end, None)]
        for part in parts:
            landing = part.landing
            if landing is not None and landing.destination is destination:
                destination.skip(landing.place_of(part.begin), part.end - part.begin)
            elif spool is not None and landing is None:
                destination.copy_from(spool.descriptor, part.begin, part.end - part.begin)
            else:
                for chunk in self._supply.hub.chunks(self._remote, part.begin, part.end):
                    destination.write(chunk)

    def land(self, offset: int, count: int, destination: Destination, at: int) -> None:
        if (spool := self._supply.spool(self._remote)) is not None:
            spool.land(Landing(offset, offset + count, destination, at))

    def withdraw(self, destination: Destination) -> None:
        if (spool := self._supply.spool(self._remote)) is not None:
            spool.withdraw(destination)

    def give_up(self) -> None:
        spool = self._supply.spool(self._remote)
        if spool is not None:
            spool.give_up(FetchError(f"{self._remote}: given up"))

    def close(self) -> None:
        self._tape = None

    def _expected_end(self, offset: int) -> int | None:
        """Where the expected range that holds `offset` ends."""
        return next((end for begin, end in self._expected if begin <= offset < end), None)

    def _arriving(self, begin: int, end: int) -> Iterator[bytes]:
        for first in range(begin, end, LONGEST):
            yield from self._supply.hub.chunks(self._remote, first, min(first + LONGEST, end))

    def _taped(self, offset: int, end: int, stop: int) -> _Tape:
        """What arrives from `offset` on, to `end` and on to `stop`: what arrives already if it can."""
        tape = self._tape
        if tape is None or not (tape.at <= offset < tape.at + GAP and end <= tape.end):
            tape = self._tape = _Tape(self._arriving(offset, stop), offset, stop)
        tape.skip(offset - tape.at)
        return tape


def _is_spooled(spool: Spool, begin: int, end: int) -> bool:
    """Whether all of [begin, end) is in the spool's own file; waits for it. Raises FetchError."""
    return spool.holds(begin, end) and all(part.landing is None for part in spool.wait(begin, end))


@dataclass(slots=True)
class _Tape:
    """Bytes that arrive, from `at` to `end`, read from front to back."""

    chunks: Iterator[bytes]
    at: int
    end: int
    rest: memoryview = field(default_factory=lambda: memoryview(b""))

    def fill(self, room: memoryview) -> None:
        while room:
            part = self._next(len(room))
            room[: len(part)] = part
            room = room[len(part) :]

    def skip(self, count: int) -> None:
        while count:
            count -= len(self._next(count))

    def _next(self, most: int) -> memoryview:
        self.rest = self.rest or memoryview(next(self.chunks))
        part, self.rest = self.rest[:most], self.rest[most:]
        self.at += len(part)
        return part
