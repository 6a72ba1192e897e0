"""The scan on this machine: in this thread, or in several threads or processes that each take a portion at a time.

numpy and Arrow do nearly all of a scan without the interpreter's lock, so threads share it well, and start at once.
Processes share all of it, and take their time to start: they are for large corpora, and for lines of JSON, of which
Python may have to read each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from gte_surgery.contract.scan.portions import Format, Portion
from gte_surgery.contract.scan.summary import Summary, merged
from gte_surgery.contract.scan.work import Planned, Request, plan, scan
from gte_surgery.errors import RefusedError

Item = TypeVar("Item")
Result = TypeVar("Result")
Seen = Callable[[Portion, int], None]
"""Called for each portion that is done, with the tokens in it."""

_AHEAD = 2
"""Portions that wait for each worker, so that none waits for us."""

_FILES = 64
"""Files whose plans are worth a process."""

_WORTH = 16 << 20
"""Bytes on disk that are worth a process."""

_LARGE = 1 << 30
"""Bytes on disk from which on processes win more than their start takes."""

_LOADED = [f"gte_surgery.contract.scan.{name}" for name in ("work", "readers.parquet")]
"""Modules loaded once, before processes are made."""


class Local:
    """Runs plans and portions by `workers` threads or processes, or by fewer where more would not pay."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def plan(self, request: Request, names: Sequence[str]) -> list[Planned]:
        """The plan of each file, in their order."""
        with _processes(min(self._workers, len(names) // _FILES)) as pool:
            found = dict(self._results(pool, partial(_plan, request), list(enumerate(names))))
        return [found[order] for order, _ in enumerate(names)]

    def scan(self, request: Request, portions: Sequence[Portion], start: Summary, seen: Seen) -> Summary:
        """The sum of all portions and of `start`."""
        with self._pool(portions) as pool:
            for portion, summary in self._results(pool, partial(_scan, request), _largest_first(portions)):
                seen(portion, summary.tokens)
                start = merged((start, summary), request.most)
        return start

    def _pool(self, portions: Sequence[Portion]) -> AbstractContextManager[Executor | None]:
        """As many threads or processes as the portions are worth; None where this thread is enough."""
        nbytes = sum(portion.span.nbytes for portion in portions)
        workers = min(self._workers, len(portions))
        if nbytes >= _LARGE or any(portion.source.format is Format.JSON_LINES for portion in portions):
            return _processes(min(workers, nbytes // _WORTH))
        return _threads(workers)

    def _results(
        self, pool: Executor | None, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterable[Result]:
        """What the function gives for each item, in any order."""
        return map(function, items) if pool is None else _unordered(pool, _AHEAD * self._workers, function, items)


def _largest_first(portions: Sequence[Portion]) -> list[Portion]:
    """What takes several times as long as most begins early, lest one worker end long after the others; else in order,
    as files are best read."""
    return sorted(portions, key=lambda portion: -(portion.span.nbytes // _WORTH))


@contextmanager
def _threads(count: int) -> Iterator[Executor | None]:
    """That many threads; None where one is enough."""
    if count <= 1:
        yield None
        return
    with ThreadPoolExecutor(count) as pool, _left(pool):
        yield pool


@contextmanager
def _processes(count: int) -> Iterator[Executor | None]:
    """That many processes; None where one is enough. Raises RefusedError where one is killed."""
    if count <= 1:
        yield None
        return
    context = get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    try:
        with ProcessPoolExecutor(count, context) as pool, _left(pool):
            yield pool
    except BrokenProcessPool as error:
        hint = "was memory short? fewer --workers, or smaller row groups, need less"
        raise RefusedError("a process of the scan was killed", hint) from error


@contextmanager
def _left(pool: Executor) -> Iterator[None]:
    """What nobody waits for any more is not begun."""
    try:
        yield
    finally:
        pool.shutdown(cancel_futures=True)


def _plan(request: Request, numbered: tuple[int, str]) -> tuple[int, Planned]:
    order, name = numbered
    return order, plan(request, name, order)


def _scan(request: Request, portion: Portion) -> tuple[Portion, Summary]:
    return portion, scan(request, portion)


def _unordered(
    pool: Executor, window: int, function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[Result]:
    """Results as they come, with no more than `window` items under way."""
    rest = iter(items)
    running: set[Future[Result]] = {pool.submit(function, item) for item in islice(rest, window)}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()
        running |= {pool.submit(function, item) for item in islice(rest, len(done))}
