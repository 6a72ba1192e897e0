"""Child processes: what they are asked and answer, how they fork, and how their end is told."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import gte_surgery
from gte_surgery.child import DiedError, FailedError, First, Forks, LostError, safe_path
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.whole import whole

DIVIDE: Any = divmod


@pytest.fixture
def first() -> Iterator[First]:
    begun = First("json")
    yield begun
    begun.end()


def alive(pid: int) -> bool:
    """Whether any thread of a process has not ended: a fork answers in another thread than the one it is known by."""
    try:
        is_dead = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not is_dead or len(os.listdir(f"/proc/{pid}/task")) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int) -> bool:
    """Whether a process ends within a moment."""
    end = time.monotonic() + 10
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


def test_a_call_is_answered_and_what_it_raises_is_raised_here(first: First) -> None:
    assert first.call(DIVIDE, 7, 2) == (3, 1)
    with pytest.raises(FailedError, match=r"(?s)Traceback.*ZeroDivisionError"):
        first.call(DIVIDE, 7, 0)
    with pytest.raises(UsageError, match=r"rows: 1\.5, must be a whole number"):
        first.call(whole, "rows", 1.5)


@pytest.mark.parametrize(
    ("call", "told", "code"), [((os._exit, 3), "exit code 3", 3), ((os.abort,), "SIGABRT", -6)], ids=str
)
def test_the_death_of_a_first_and_of_a_fork_is_told_alike(first: First, call: Any, told: str, code: int) -> None:
    for child in (first.fork(), first):
        with pytest.raises(DiedError) as caught:
            child.call(*call)
        assert (str(caught.value), caught.value.code) == (told, code)
    assert not first.ask(os.getpid) or not first.is_of_use


def test_forks_answer_many_calls_each_one_at_a_time(first: First) -> None:
    forks = Forks(first, 3, is_replaced=True)
    found = list(forks.each((DIVIDE, number, 10) for number in range(200)))
    assert sorted(call[1] for call, _ in found) == list(range(200))
    assert all(answer == divmod(*call[1:]) for call, answer in found)
    assert len(set(forks.all(os.getpid))) <= 3
    assert first.call(os.getpid) not in forks.all(os.getpid)


@pytest.mark.parametrize("most", [1, 2])
def test_a_fork_that_dies_of_a_call_is_told_with_it_and_the_others_go_on(first: First, most: int) -> None:
    forks = Forks(first, 2, is_replaced=True)
    calls = [(os._exit, 1) if number % 3 == 0 else (DIVIDE, number, 10) for number in range(12)]
    found = list(forks.each(calls, most))
    assert sum(isinstance(answer, DiedError) for _, answer in found) == 4
    assert sorted(answer for _, answer in found if not isinstance(answer, DiedError)) == [
        divmod(number, 10) for number in range(12) if number % 3
    ]


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_fork_that_was_killed_while_idle_is_replaced_where_it_may_be(first: First, is_replaced: bool) -> None:
    forks = Forks(first, 1, is_replaced)
    ((_, pid),) = forks.each([(os.getpid,)])
    os.kill(pid, 9)
    assert gone(pid)
    ((_, answer),) = forks.each([(DIVIDE, 7, 2)])
    assert answer == (3, 1) if is_replaced else str(answer) == "SIGKILL"


def test_forks_end_by_themselves_and_with_the_first_whatever_they_do(first: First) -> None:
    forks = Forks(first, 2, is_replaced=True)
    idle = [pid for _, pid in forks.each([(os.getpid,)])]
    forks.end()
    assert all(map(gone, idle))
    busy = first.fork()
    pid = busy.call(os.getpid)
    busy.ask(time.sleep, 600)
    first.end()
    assert gone(pid)


def test_a_first_that_cannot_import_what_it_is_for_has_died() -> None:
    begun = First("no_such_module")
    with pytest.raises(DiedError, match="exit code 1"):
        begun.fork()
    begun.end()


@pytest.mark.parametrize("is_busy", [False, True])
def test_nothing_is_left_where_the_one_that_asks_is_killed(is_busy: bool, tmp_path: Path) -> None:
    if (pid := os.fork()) == 0:
        first = First("json")
        busy = first.fork()
        found = [first.call(os.getpid), busy.call(os.getpid)]
        if is_busy:
            first.ask(time.sleep, 600)
            busy.ask(time.sleep, 600)
        (tmp_path / "made").write_text(f"{found[0]} {found[1]}")
        (tmp_path / "made").rename(tmp_path / "pids")
        time.sleep(600)
    try:
        while not (tmp_path / "pids").exists():
            time.sleep(0.01)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert all(gone(int(each)) for each in (tmp_path / "pids").read_text().split())


def test_where_the_first_ends_all_end_and_no_call_is_blamed(first: First) -> None:
    forks = Forks(first, 2, is_replaced=True)
    answers = forks.each([(os.getpid,), (time.sleep, 600)])
    _, idle = next(answers)
    os.kill(first._process.pid, 9)
    with pytest.raises(LostError, match="SIGKILL"):
        list(forks.each([(os.getpid,)] * 3))
    assert gone(idle)
    with pytest.raises(LostError, match="SIGKILL"):
        list(answers)
    forks.end()


@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2)], ids=str)
def test_a_caller_without_standard_files_has_its_answers(closed: tuple[int, ...]) -> None:
    if (pid := os.fork()) == 0:
        for each in closed:
            os.close(each)
        first = First("json")
        found = first.fork().call(DIVIDE, 7, 2) if first.call(DIVIDE, 7, 2) == (3, 1) else None
        first.end()
        os._exit(0 if found == (3, 1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_a_caller_does_with_signals_is_its_own() -> None:
    code = (
        "import os, signal; from gte_surgery.child import *; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "signal.signal(signal.SIGALRM, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); "
        "first = First('json'); forks = Forks(first, 1, True); calls = [(signal.raise_signal, signal.SIGALRM)]; "
        "print([str(answer) for _, answer in forks.each(calls)]); list(forks.each([(os.getpid,)])); forks.end()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("['SIGALRM']\n", "")


@pytest.mark.parametrize("executable", ["/no/python", "", None])
def test_without_a_python_to_begin_it_is_refused(executable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(RefusedError, match="no other Python begins"):
        First("json")


def test_a_caller_with_too_many_files_open_is_refused(first: First) -> None:
    first.call(os.getpid)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
    held: list[int] = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(0))
        with pytest.raises(RefusedError, match="no other process begins: too many open files"):
            first.fork()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for each in held:
            os.close(each)


def test_a_first_that_can_have_no_fork_goes_on(first: First) -> None:
    first.call(resource.setrlimit, resource.RLIMIT_NOFILE, (4, 4))
    with pytest.raises(RefusedError, match="no other process begins: Too many open files"):
        first.fork()
    assert first.call(DIVIDE, 7, 2) == (3, 1)


def test_what_is_no_exception_is_told_too(first: First) -> None:
    with pytest.raises(FailedError, match="SystemExit"):
        first.call(sys.exit, 3)


def test_the_path_of_modules_keeps_its_order_and_names_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ours = str(Path(gte_surgery.__file__).parents[1])
    path: list[object] = ["/usr/lib/x", ours, b"/y", Path("/z"), "/w"]
    assert safe_path(path) == ["/usr/lib/x", ours, "/w"]
