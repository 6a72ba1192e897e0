"""The scan on this machine: processes that each take a file to plan or a portion to scan at a time.

Even one is a process of its own, for the libraries that read corpora are written in C++, and files are anybody's: where
one of them is killed, its file is told and another process takes its place. Without any, all is done in this thread,
which is then what a library kills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from signal import SIGKILL
from types import TracebackType
from typing import Any

from gte_surgery.child import DiedError, Forks, LostError
from gte_surgery.contract.scan.portions import Format, Portion
from gte_surgery.contract.scan.process import NOT_BEGUN, give_back, taken
from gte_surgery.contract.scan.summary import Summary, merged
from gte_surgery.contract.scan.work import Planned, Request, failed
from gte_surgery.contract.scan.worker import Item, answer, bounded_answer
from gte_surgery.errors import RefusedError

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
        self._forks = Forks(taken(), workers, is_replaced=True) if workers else None

    def __enter__(self) -> Local:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._forks is not None and kind is None:
            self._forks.end()
            give_back(self._forks.first)
        elif self._forks is not None:
            self._forks.first.end()

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
        """(item, answer) as they come. Raises RefusedError where no process begins, or none goes on."""
        if self._forks is None:
            yield from ((item, answer(request, item)) for item in items)
            return
        has_begun = False
        try:
            for (_, _, item), found in self._forks.each(((bounded_answer, request, item) for item in items), worth):
                has_begun = True
                yield item, _failed(request, item, found) if isinstance(found, DiedError) else found
        except LostError as error:
            raise _lost(error, has_begun) from None


def _lost(error: LostError, has_begun: bool) -> RefusedError:
    if has_begun:
        return RefusedError(f"a process of the scan, which the others are made of, ended with {error}", "scan again")
    return RefusedError(f"a process of the scan ended with {error} before it began", NOT_BEGUN)


def _failed(request: Request, item: Item, death: DiedError) -> Planned | Summary:
    reason = f"the process that read it ended by {death}" + (", was memory short?" if -death.code == SIGKILL else "")
    if isinstance(item, Portion):
        return failed(request, item.source.name, item.source.order, reason)
    return Planned(failed=failed(request, *item, reason))


def _largest_first(portions: Sequence[Portion]) -> list[Portion]:
    """What takes several times as long as most begins early, lest one process end long after the others; else in order,
    as files are best read."""
    return sorted(portions, key=lambda portion: -(portion.span.nbytes // _WORTH))
