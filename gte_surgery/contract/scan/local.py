"""The scan on this machine: in this process, or in several that each take a portion at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from gte_surgery.contract.scan.portions import Portion
from gte_surgery.contract.scan.summary import Summary, merged
from gte_surgery.contract.scan.work import Planned, Request, plan, scan
from gte_surgery.errors import RefusedError

Item = TypeVar("Item")
Result = TypeVar("Result")
Seen = Callable[[Portion, int], None]
"""Called for each portion that is done, with the tokens in it."""

_AHEAD = 2
"""Portions that wait for each process, so that none waits for us."""


_FILES = 64
"""Files whose plans are worth a process."""

_LOADED = [f"gte_surgery.contract.scan.{name}" for name in ("work", "parquet")]
"""Modules loaded once, before processes are made."""


class Local:
    """Runs plans and portions in `workers` processes, or in this one where more would not pay."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def plan(self, request: Request, names: Sequence[str]) -> list[Planned]:
        """The plan of each file, in their order."""
        with self._mapping(len(names) // _FILES) as mapping:
            found = dict(mapping(partial(_plan, request), list(enumerate(names))))
        return [found[order] for order, _ in enumerate(names)]

    def scan(self, request: Request, portions: Sequence[Portion], start: Summary, seen: Seen) -> Summary:
        """The sum of all portions and of `start`."""
        with self._mapping(len(portions)) as mapping:
            for portion, summary in mapping(partial(_scan, request), portions):
                seen(portion, summary.tokens)
                start = merged((start, summary), request.most)
        return start

    @contextmanager
    def _mapping(self, most: int) -> Iterator[Callable[[Callable[[Item], Result], Sequence[Item]], Iterable[Result]]]:
        """A `map` that gives results in any order, by as many processes as are wanted, and `most` at most."""
        workers = min(self._workers, most)
        if workers <= 1:
            yield map
            return
        context = get_context("forkserver")
        context.set_forkserver_preload(_LOADED)
        with ProcessPoolExecutor(workers, context) as pool:
            try:
                yield partial(_unordered, pool, _AHEAD * workers)
            except BrokenProcessPool as error:
                hint = "was memory short? fewer --workers, or smaller row groups, need less"
                raise RefusedError("a process of the scan was killed", hint) from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _plan(request: Request, numbered: tuple[int, str]) -> tuple[int, Planned]:
    order, name = numbered
    return order, plan(request, name, order)


def _scan(request: Request, portion: Portion) -> tuple[Portion, Summary]:
    return portion, scan(request, portion)


def _unordered(
    pool: ProcessPoolExecutor, window: int, function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[Result]:
    """Results as they come, with no more than `window` items under way."""
    rest = iter(items)
    running: set[Future[Result]] = {pool.submit(function, item) for item in islice(rest, window)}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()
        running |= {pool.submit(function, item) for item in islice(rest, len(done))}
