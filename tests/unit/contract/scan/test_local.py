"""How the work of a scan is shared on one machine, and in which order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from gte_surgery.contract.scan import local
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.portions import Format, Portion, Source, Span
from gte_surgery.contract.scan.summary import empty
from gte_surgery.contract.scan.work import Request
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import RefusedError

MIB = 1 << 20
REQUEST = Request(IdContract(vocab_size=10, pad_token_id=1, type_vocab_size=1, max_length=4), Columns(), False, 10)


class Made(ThreadPoolExecutor):
    """Threads in the place of processes, and what was asked for."""

    asked: ClassVar[list[tuple[int, str]]]
    submitted: ClassVar[list[Any]]

    def __init__(self, count: int, context: BaseContext | None = None) -> None:
        self.asked.append((count, "threads" if context is None else str(context.get_start_method())))
        super().__init__(count)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        self.submitted.append(arguments[0])
        return super().submit(function, *arguments, **named)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """(count, kind) of every pool that is made, none of which starts a process."""
    asked: list[tuple[int, str]] = []
    monkeypatch.setattr(Made, "asked", asked, raising=False)
    monkeypatch.setattr(Made, "submitted", [], raising=False)
    monkeypatch.setattr(local, "ThreadPoolExecutor", Made)
    monkeypatch.setattr(local, "ProcessPoolExecutor", Made)
    return asked


def portions(*nbytes: int, form: Format = Format.PARQUET) -> list[Portion]:
    source = Source("a", "a", 0, form, 0)
    return [Portion(source, Span(at, at + 1, 0, None, size), False) for at, size in enumerate(nbytes)]


@pytest.mark.parametrize(
    ("workers", "work", "pool"),
    [
        (1, portions(MIB, MIB), []),
        (4, portions(MIB), []),
        (4, portions(MIB, MIB), [(2, "threads")]),
        (2, portions(MIB, MIB, MIB), [(2, "threads")]),
        (4, portions(512 * MIB, 512 * MIB - 1), [(2, "threads")]),
        (4, portions(512 * MIB, 512 * MIB), [(2, "forkserver")]),
        (4, portions(1024 * MIB), []),
        (4, portions(8 * MIB, 8 * MIB, 8 * MIB, form=Format.JSON_LINES), []),
        (4, portions(16 * MIB, 8 * MIB, 8 * MIB, form=Format.JSON_LINES), [(2, "forkserver")]),
        (4, [*portions(99 * MIB), *portions(MIB, form=Format.JSON_LINES)], [(2, "forkserver")]),
    ],
)  # fmt: skip
def test_portions_get_as_many_threads_or_processes_as_they_are_worth(
    workers: int, work: list[Portion], pool: list[tuple[int, str]], made: list[tuple[int, str]]
) -> None:
    with local.Local(workers)._pool(work) as found:
        assert (found is not None) == bool(pool)
    assert made == pool


@pytest.mark.parametrize(("workers", "files", "pool"), [(4, 127, []), (4, 128, [2]), (3, 640, [3]), (1, 640, [])])
def test_many_files_are_planned_by_processes(
    workers: int, files: int, pool: list[int], made: list[tuple[int, str]], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, 5]]))
    np.save(tmp_path / "b.npy", np.array([[0, 5], [0, 6]]))
    names = [str(tmp_path / ("b.npy" if order % 3 else "a.npy")) for order in range(files)]
    planned = local.Local(workers).plan(REQUEST, names)
    assert made == [(count, "forkserver") for count in pool]
    assert Made.submitted == (list(enumerate(names)) if pool else [])
    assert [(each.portions[0].source.name, each.portions[0].source.order) for each in planned] == [
        (name, order) for order, name in enumerate(names)
    ]


class AtOnce(Executor):
    """Does what is submitted at once; `begun` are the items."""

    def __init__(self) -> None:
        self.begun: list[Any] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        self.begun.append(arguments[0])
        done: Future[Any] = Future()
        done.set_result(function(*arguments, **named))
        return done


def test_no_more_items_are_under_way_than_asked_for_and_all_are_done() -> None:
    pool = AtOnce()
    found, under_way = [], []
    for result in local._unordered(pool, 3, lambda item: 10 * item, range(8)):
        under_way.append(len(pool.begun) - len(found))
        found.append(result)
    assert sorted(found) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert under_way == [3, 2, 1, 3, 2, 1, 2, 1]
    assert pool.begun == list(range(8))


def test_each_worker_has_two_portions_ahead() -> None:
    pool = AtOnce()
    next(iter(local.Local(3)._results(pool, str, range(99))))
    assert pool.begun == list(range(6))


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    gate, begun = threading.Event(), threading.Event()
    futures: list[Future[Any]] = []

    def stop() -> None:
        with local._threads(2) as pool:
            assert pool is not None
            futures.extend(pool.submit(act) for act in (partial(gate.wait, 10), partial(gate.wait, 10), begun.set))
            threading.Timer(0.05, gate.set).start()
            raise KeyError

    with pytest.raises(KeyError):
        stop()
    assert [future.cancelled() for future in futures] == [False, False, True]
    assert not begun.is_set()


def test_processes_begin_nothing_that_nobody_waits_for_any_more() -> None:
    """Some wait in their queue and are begun all the same."""
    futures: list[Future[Any]] = []

    def stop() -> None:
        with local._processes(2) as pool:
            assert pool is not None
            futures.extend(pool.submit(time.sleep, 0.1) for _ in range(20))
            futures[0].result()
            raise KeyError

    with pytest.raises(KeyError):
        stop()
    assert all(future.done() for future in futures)
    assert [future.cancelled() for future in futures[10:]] == [True] * 10


def test_a_process_that_is_gone_is_told_with_a_hint() -> None:
    broken = BrokenProcessPool("gone")
    with pytest.raises(RefusedError) as caught, local._processes(2):
        raise broken
    assert caught.value.message == "a process of the scan was killed"
    assert caught.value.hint == "was memory short? fewer --workers, or smaller row groups, need less"
    assert caught.value.__cause__ is broken


def test_what_takes_several_times_as_long_begins_first_and_the_rest_in_order() -> None:
    sizes = (10, 15 * MIB, 80 * MIB, 16 * MIB, 31 * MIB, 20)
    assert [each.span.begin for each in local._largest_first(portions(*sizes))] == [2, 3, 4, 0, 1, 5]


def test_portions_add_up_to_what_was_known_before_and_each_is_seen(tmp_path: Path) -> None:
    for name, rows in (("a.npy", [[0, 5]]), ("b.npy", [[0, 5], [0, 10]])):
        np.save(tmp_path / name, np.array(rows))
    worker = local.Local(1)
    names = [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    work = [portion for planned in worker.plan(REQUEST, names) for portion in planned.portions]
    seen: list[tuple[str, int]] = []
    start = replace(empty(10, 4), rows=100)
    summary = worker.scan(REQUEST, work, start, lambda portion, tokens: seen.append((portion.source.name, tokens)))
    assert seen == [(names[0], 2), (names[1], 4)]
    assert (summary.rows, summary.tokens, summary.max_id) == (103, 6, 10)
    assert [(fault.file, fault.fault.value) for fault in summary.faults] == [(names[1], "GTE414")]
    none = worker.scan(replace(REQUEST, most=0), work, start, lambda *_: None)
    assert (none.faults, set(none.sums)) == ((), set(summary.sums))
