"""The processes of a trim: one opens the tokenizers and is forked into the others, one a processor, which share the
memory that those take.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gte_surgery.child import DiedError, First, Forks
from gte_surgery.vocabulary.confined import confined, death
from gte_surgery.vocabulary.token_files import AddedToken
from gte_surgery.vocabulary.trimming import child
from gte_surgery.vocabulary.trimming.texts import Part


class Workers:
    """Up to `count` processes that are asked functions of `child`."""

    def __init__(self, count: int) -> None:
        self.first = First(child.__name__)
        self._forks = Forks(self.first, count, is_replaced=False)
        self._is_opening = False

    def open(self, paths: Mapping[str, Path], beside: Sequence[AddedToken]) -> None:
        """Has tokenizers opened beside those that are, by name, each with the tokens `beside` added to it. Whoever is
        asked next waits until it is done.
        """
        self.rest()
        self.first.ask(confined, "", child.open_tokenizers, paths, beside)
        self._is_opening = True

    def each(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
        """(arguments, answer) of many calls, as they come, each made by whichever process is free. Raises RefusedError
        for what they refuse, and where one died.
        """
        self._settle()
        asked = self._forks.each((confined, _place(args), function, *args) for args in calls)
        with _told("reading the texts"):
            for (_, _, _, *args), found in asked:
                if isinstance(found, DiedError):
                    raise found
                yield args, found

    def all(self, function: Callable[..., Any], *args: Any) -> None:
        """Has each process that was asked something make a call."""
        with _told("reading the texts"):
            self._forks.all(confined, "", function, *args)

    def rest(self) -> None:
        """Frees what all but the first hold; others are forked when they are asked."""
        self._settle()
        self._forks.end()

    def _settle(self) -> None:
        if self._is_opening:
            self._is_opening = False
            with _told("opening the tokenizer"):
                self.first.answer()


@contextmanager
def started(count: int | None) -> Iterator[Workers]:
    """So many workers, as many as there are processors for None; all are ended at the end."""
    workers = Workers(count or len(os.sched_getaffinity(0)))
    try:
        yield workers
    finally:
        workers.first.end()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Refuses where a process died of `what` meanwhile."""
    try:
        yield
    except DiedError as error:
        raise death(error, what) from None


def _place(args: Iterable[Any]) -> str:
    return next((f"{each.path}: " for each in args if isinstance(each, Part)), "")
