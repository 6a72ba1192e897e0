"""The scan on this machine: processes that each take a file to plan or a portion to scan at a time.

Even one is a process of its own, for the libraries that read corpora are written in C++, and files are anybody's: where
one of them is killed, its file is told and another process takes its place. Without any, all is done in this thread,
which is then what a library kills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

from gte_surgery.contract.scan.portions import Format, Portion
from gte_surgery.contract.scan.process import READY, WAITING, FailedError, Process, waiting
from gte_surgery.contract.scan.summary import Summary, merged
from gte_surgery.contract.scan.work import Planned, Request, failed, plan, scan

Item = tuple[str, int] | Portion
"""A file to plan, by name and place in the scan, or a portion to scan."""

Seen = Callable[[Portion, int], None]
"""Called for each portion that is done, with the tokens in it."""

_FILES = 64
"""Files whose plans are worth a process."""

_WORTH = 16 << 20
"""Bytes on disk that are worth a process: they take longer to judge than it takes to begin."""

_AS_MUCH = {Format.NPY: 16, Format.SAFETENSORS: 16}
"""How many times as many of formats that need no decoding."""


class Local:
    """Runs plans and portions by up to `workers` processes, or by fewer where more would not pay."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._idle: list[Process] = []
        self._busy: dict[Any, tuple[Process, Item]] = {}

    def __enter__(self) -> Local:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in (*self._idle[1:], *(process for process, _ in self._busy.values())):
            process.end()
        WAITING.extend(self._idle[:1])

    def plan(self, request: Request, names: Sequence[str]) -> list[Planned]:
        """The plan of each file, in their order."""
        items = [(name, order) for order, name in enumerate(names)]
        found = dict(self._answers(request, items, 1 + len(names) // _FILES))
        return [found[item] for item in items]

    def scan(self, request: Request, portions: Sequence[Portion], start: Summary, seen: Seen) -> Summary:
        """The sum of all portions and of `start`."""
        worth = 1 + sum(portion.span.nbytes // _AS_MUCH.get(portion.source.format, 1) for portion in portions) // _WORTH
        for portion, summary in self._answers(request, _largest_first(portions), worth):
            seen(portion, summary.tokens)
            start = merged((start, summary), request.most)
        return start

    def _answers(self, request: Request, items: Sequence[Any], worth: int) -> Iterator[tuple[Any, Any]]:
        """(item, answer) as they come; each process has one question at a time, so that it is known which one it died
        of."""
        if not self._workers:
            yield from ((item, _answer(request, item)) for item in items)
            return
        rest = iter(items)
        self._ask(request, islice(rest, min(self._workers, worth)))
        while self._busy:
            for connection in wait(list(self._busy)):
                process, item = self._busy[connection]
                try:
                    answer = process.connection.recv()
                except (EOFError, OSError):
                    answer = _failed(request, item, process.obituary())
                if answer == READY:
                    process.is_ready = True
                    continue
                if isinstance(answer, FailedError):
                    raise answer
                del self._busy[connection]
                if process.is_alive:
                    self._idle.append(process)
                yield item, answer
                self._ask(request, islice(rest, 1))

    def _ask(self, request: Request, items: Iterable[Item]) -> None:
        for item in items:
            process = self._idle.pop() if self._idle else waiting() or Process()
            while not process.takes((request, item)) and process.is_ready:  # killed while nobody asked it anything
                process.end()
                process = Process()
            self._busy[process.connection] = process, item


def _failed(request: Request, item: Item, reason: str) -> Planned | Summary:
    if isinstance(item, Portion):
        return failed(request, item.source.name, item.source.order, reason)
    return Planned(failed=failed(request, *item, reason))


def _answer(request: Request, item: Item) -> Planned | Summary:
    return scan(request, item) if isinstance(item, Portion) else plan(request, *item)


def _largest_first(portions: Sequence[Portion]) -> list[Portion]:
    """What takes several times as long as most begins early, lest one process end long after the others; else in order,
    as files are best read."""
    return sorted(portions, key=lambda portion: -(portion.span.nbytes // _WORTH))
