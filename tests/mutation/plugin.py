"""A pytest plugin. Runs the selected tests once as they are, notes which functions each of them calls, and then, for
each mutant, forks: the child puts the mutant in force and runs the tests that call its function, the quickest first,
until one fails. Everything is imported and collected once, so that a mutant costs what its tests take.

The functools caches of ours and the fixtures are empty when a child starts, so that all is computed anew. What happens
while modules are imported cannot be mutated this way: __main__.py runs those few mutants in fresh processes.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import resource
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, Phase, settings

from gte_surgery import _switch

Cache: TypeAlias = "functools._lru_cache_wrapper[Any]"

MIB = 1 << 20
MEMORY = 4096 * MIB
SECONDS = 5.0
"""What a mutant may take beyond four times what its tests take without it, of processor time."""

PROFILE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
"""Hypothesis: the same examples every time, and no time spent on making a failing one smaller."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutants", help="a JSON file: the mutants to try, as [name, function] each")
    parser.addoption("--outcomes", help="the file to write: a line of JSON for each mutant tried")
    parser.addoption("--at-once", type=int, default=1, help="mutants tried at the same time")
    parser.addoption("--minutes", type=float, default=1e9, help="start no mutant after so long")
    parser.addoption("--examples", type=int, default=25, help="examples that Hypothesis tries")


def pytest_sessionstart(session: pytest.Session) -> None:
    settings.register_profile("mutation", PROFILE, max_examples=session.config.getoption("--examples"))
    settings.load_profile("mutation")


def _failed(item: pytest.Item, following: pytest.Item | None) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def pytest_runtestloop(session: pytest.Session) -> bool:
    """In the place of pytest's own loop."""
    at_import = sorted(_switch.called or ())
    caches = _caches()
    tests, seconds = _run_unchanged(session.items, caches)
    mutants: list[tuple[str, str]] = json.loads(Path(session.config.getoption("--mutants")).read_text())
    _switch.choose("")
    gc.freeze()
    at_once = session.config.getoption("--at-once")
    with Path(session.config.getoption("--outcomes")).open("w") as told:
        print(json.dumps({"at_import": at_import, "seconds": sum(seconds.values())}), file=told, flush=True)
        _Trials(session.items, tests, seconds, at_once, told).run(mutants, session.config.getoption("--minutes"))
    return True


def _caches() -> list[Cache]:
    """The functools caches of ours: what one test has filled would hide from the next that a function is called."""
    found = (each for each in gc.get_objects() if type(each) is functools._lru_cache_wrapper)
    return [each for each in found if each.__module__.startswith(("gte_surgery", "tests"))]


def _run_unchanged(
    items: Sequence[pytest.Item], caches: Sequence[Cache]
) -> tuple[dict[str, list[int]], dict[int, float]]:
    """The tests that call each function, and what each test takes; all must pass."""
    callers: dict[str, list[int]] = {}
    seconds: dict[int, float] = {}
    for at, item in enumerate(items):
        for cache in caches:
            cache.cache_clear()
        _switch.called = set()
        start = time.process_time()
        if _failed(item, items[at + 1] if at + 1 < len(items) else None):
            pytest.exit(f"{item.nodeid} fails without any mutant", returncode=2)
        seconds[at] = time.process_time() - start
        for function in _switch.called:
            callers.setdefault(function, []).append(at)
    for cache in caches:
        cache.cache_clear()
    return callers, seconds


class _Trials:
    """Tries mutants in child processes, a few at a time."""

    def __init__(
        self,
        items: Sequence[pytest.Item],
        tests: dict[str, list[int]],
        seconds: dict[int, float],
        at_once: int,
        told: TextIO,
    ) -> None:
        self.items = items
        self.tests = tests
        self.seconds = seconds
        self.at_once = at_once
        self.told = told
        self.running: dict[int, tuple[str, float]] = {}

    def run(self, mutants: Sequence[tuple[str, str]], minutes: float) -> None:
        """Tells what became of each: killed, survived, timeout, no tests. Without a mutant a child must survive."""
        self._start("", sorted(self.seconds, key=self.seconds.__getitem__))
        while self.running:
            self._reap()
        end = time.monotonic() + 60 * minutes
        for name, function in mutants:
            if time.monotonic() > end:
                break
            order = sorted(self.tests.get(function, ()), key=self.seconds.__getitem__)
            if not order:
                self._tell(name, "no tests")
                continue
            while len(self.running) >= self.at_once:
                self._reap()
            self._start(name, order)
        while self.running:
            self._reap()

    def _tell(self, name: str, outcome: str) -> None:
        if not name and outcome != "survived":
            pytest.exit(f"{outcome} in a child process, without any mutant", returncode=2)
        print(json.dumps([name, outcome]), file=self.told, flush=True)

    def _start(self, name: str, order: Sequence[int]) -> None:
        allowed = SECONDS + 4 * sum(self.seconds[at] for at in order)
        child = os.fork()
        if child:
            self.running[child] = (name, time.monotonic() + 6 * allowed)
            return
        try:
            code = self._trial(name, order, allowed)
        except BaseException:  # noqa: BLE001 - whatever it is, it is not passing, and must not return into the parent
            code = 1
        finally:
            os._exit(code)

    def _trial(self, name: str, order: Sequence[int], allowed: float) -> int:
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silence, descriptor)
        resource.setrlimit(resource.RLIMIT_CPU, (int(allowed) + 1, int(allowed) + 3))
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
        os.environ["GTE_SURGERY_MUTANT"] = name
        _switch.choose(name)
        for at, following in zip(order, [*order[1:], None], strict=True):
            if _failed(self.items[at], None if following is None else self.items[following]):
                return 1
        return 0

    def _reap(self) -> None:
        """Waits for one child to end, ending those that are past their time."""
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            for late in [late for late, (_, deadline) in self.running.items() if time.monotonic() > deadline]:
                os.kill(late, signal.SIGKILL)
            time.sleep(0.002)
        elif child in self.running:
            name, _ = self.running.pop(child)
            late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
            self._tell(name, "timeout" if late else "survived" if status == 0 else "killed")
