"""How the work of a scan is shared on one machine, in which order, and what happens where a process dies of a file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gte_surgery import child
from gte_surgery.child import FailedError, First, safe_path
from gte_surgery.contract.scan import local, process
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.corpus import scan
from gte_surgery.contract.scan.portions import Format, Portion, Source, Span
from gte_surgery.contract.scan.summary import empty
from gte_surgery.contract.scan.work import Request
from gte_surgery.contract.scan.worker import bounded
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import RefusedError

MIB = 1 << 20
CONTRACT = IdContract(vocab_size=10, pad_token_id=1, type_vocab_size=1, max_length=4)
REQUEST = Request(CONTRACT, Columns(), False, 10)

DYING = """
import os, sys, time
sys.path[:] = sys.argv[3:]
from gte_surgery import child
from gte_surgery.contract.scan import worker
def die(request, portion, real=worker.scan):
    return real(request, portion) if "good" in portion.source.name else {death}
worker.scan = die
child.main(*sys.argv[1:3])
"""
"""A process that dies of every file that is not called good."""


@pytest.fixture(autouse=True)
def none_waiting() -> Iterator[None]:
    """No process that another test has left waits here, nor one of here elsewhere."""
    process.end_waiting()
    yield
    process.end_waiting()


def save(folder: Path, *names: str) -> list[str]:
    """Arrays of two rows of two ids, the last of them not in the vocabulary."""
    for name in names:
        np.save(folder / name, np.array([[0, 5], [0, 10]]))
    return [str(folder / name) for name in names]


def portions(*nbytes: int) -> list[Portion]:
    source = Source("a", "a", 0, Format.PARQUET, 0)
    return [Portion(source, Span(at, at + 1, 0, None, size), False) for at, size in enumerate(nbytes)]


class Fork:
    """In the place of a process: answers that there is nothing."""

    def __init__(self) -> None:
        self.connection, self._theirs = Pipe()

    def ask(self, *_: Any) -> bool:
        self._theirs.send(empty(10, 4))
        return True

    def answer(self) -> Any:
        return self.connection.recv()


@contextmanager
def made_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Fork]]:
    """What is forked meanwhile."""
    made: list[Fork] = []

    def fork(first: First) -> Fork:
        made.append(Fork())
        return made[-1]

    monkeypatch.setattr(First, "fork", fork)
    yield made


@pytest.mark.parametrize(
    ("workers", "sizes", "made"),
    [
        (1, [MIB, MIB], 1),
        (4, [MIB, MIB, MIB], 1),
        (4, [15 * MIB], 1),
        (4, [15 * MIB, MIB, MIB], 2),
        (4, [99 * MIB], 1),
        (2, [99 * MIB, MIB, MIB], 2),
        (0, [], 0),
    ],
)
def test_portions_get_as_many_processes_as_they_are_worth(
    workers: int, sizes: list[int], made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    with made_in(monkeypatch) as forks, local.Local(workers) as place:
        place.scan(REQUEST, portions(*sizes), empty(10, 4), lambda portion, _: seen.append(portion.span.begin))
    assert len(forks) == made
    assert sorted(seen) == list(range(len(sizes)))


@pytest.mark.parametrize(("workers", "files", "made"), [(4, 63, 1), (4, 64, 2), (3, 640, 3), (1, 640, 1)])
def test_many_files_are_planned_by_several_processes(
    workers: int, files: int, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made_in(monkeypatch) as forks, local.Local(workers) as place:
        assert len(place.plan(REQUEST, [str(number) for number in range(files)])) == files
    assert len(forks) == made


def test_what_takes_several_times_as_long_begins_first_and_the_rest_in_order() -> None:
    sizes = (10, 15 * MIB, 80 * MIB, 16 * MIB, 31 * MIB, 20)
    assert [each.span.begin for each in local._largest_first(portions(*sizes))] == [2, 3, 4, 0, 1, 5]


@pytest.mark.parametrize("workers", [0, 2])
def test_portions_add_up_to_what_was_known_before_and_each_is_seen(workers: int, tmp_path: Path) -> None:
    names = save(tmp_path, "a.npy", "b.npy")
    seen: list[tuple[str, int]] = []
    start = replace(empty(10, 4), rows=100)
    with local.Local(workers) as place:
        planned = place.plan(REQUEST, names)
        work = [portion for each in planned for portion in each.portions]
        summary = place.scan(REQUEST, work, start, lambda portion, tokens: seen.append((portion.source.name, tokens)))
        none = place.scan(replace(REQUEST, most=0), work, start, lambda *_: None)
    assert sorted(seen) == [(name, 4) for name in names]
    assert (summary.rows, summary.tokens, summary.max_id) == (104, 8, 10)
    assert [(fault.file, fault.fault.value) for fault in summary.faults] == [(name, "GTE414") for name in names]
    assert (none.faults, set(none.sums)) == ((), set(summary.sums))


@pytest.mark.parametrize(
    ("death", "told"),
    [
        ("os.kill(os.getpid(), 11) or time.sleep(9)", "the process that read it ended by SIGSEGV"),
        ("os.kill(os.getpid(), 7) or time.sleep(9)", "the process that read it ended by SIGBUS"),
        ("os.kill(os.getpid(), 9) or time.sleep(9)", "the process that read it ended by SIGKILL, was memory short?"),
        ("os._exit(3)", "the process that read it ended by exit code 3"),
    ],
)
def test_a_process_that_dies_of_a_file_is_replaced_and_the_file_is_told(
    death: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = save(tmp_path, "a.npy", "good1.npy", "b.npy", "good2.npy")
    monkeypatch.setattr(child, "BOOT", DYING.format(death=death))
    report = scan(CONTRACT, *names)
    assert report.summary.rows == 4
    assert [(each.code, each.location.file, each.message) for each in report.findings if each.code == "GTE480"] == [
        ("GTE480", names[0], told), ("GTE480", names[2], told),
    ]  # fmt: skip


def test_a_mistake_of_ours_is_raised_with_where_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "BOOT", DYING.format(death="{}['rows']"))
    with pytest.raises(FailedError, match=r"(?s)in die.*KeyError: 'rows'"):
        scan(CONTRACT, *save(tmp_path, "a.npy"))


def test_a_process_that_does_not_begin_is_no_fault_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "BOOT", "raise SystemExit(5)")
    with pytest.raises(RefusedError) as caught:
        scan(CONTRACT, *save(tmp_path, "a.npy"))
    assert caught.value.message == "a process of the scan ended with exit code 5 before it began"
    assert subprocess.run(caught.value.hint.split("`")[1], shell=True, check=False).returncode == 0


def gone(pid: int) -> bool:
    """Whether a process ends within a moment."""
    end = time.monotonic() + 10
    while is_there(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_there(pid)


def is_there(pid: int) -> bool:
    """Whether a process is more than what nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def below(pid: int) -> list[int]:
    """The processes that a process has begun or forked."""
    return [int(each) for file in Path(f"/proc/{pid}/task").glob("*/children") for each in file.read_text().split()]


def test_a_process_that_was_killed_while_idle_is_replaced(tmp_path: Path) -> None:
    (name,) = save(tmp_path, "a.npy")
    with local.Local(1) as place:
        (planned,) = place.plan(REQUEST, [name])
        (idle,) = [fork for first in below(os.getpid()) for fork in below(first)]
        os.kill(idle, 9)
        while Path(f"/proc/{idle}/stat").read_text().split()[2] != "Z" or len(os.listdir(f"/proc/{idle}/task")) > 1:
            time.sleep(0.01)  # its parent waits for it when it is asked
        assert place.scan(REQUEST, planned.portions, empty(10, 4), lambda *_: None).rows == 2


def test_one_process_waits_for_the_next_scan_and_ends_with_this_one(tmp_path: Path) -> None:
    names = save(tmp_path, *(f"{number}.npy" for number in range(64)))
    before = set(below(os.getpid()))
    with local.Local(2) as place:
        place.plan(REQUEST, names)
        (first,) = set(below(os.getpid())) - before
        assert len(below(first)) == 2
    assert (set(below(os.getpid())) - before, below(first)) == ({first}, [])
    with local.Local(1) as place:
        place.plan(REQUEST, names)
        assert (set(below(os.getpid())) - before, len(below(first))) == ({first}, 1)
    process.end_waiting()
    assert set(below(os.getpid())) == before


def test_what_waits_but_was_killed_is_replaced(tmp_path: Path) -> None:
    (name,) = save(tmp_path, "a.npy")
    process.prepare()
    (waits,) = process.WAITING
    waits._process.kill()
    waits._process.wait()
    with local.Local(1) as place:
        assert place.plan(REQUEST, [name])[0].failed is None


def test_a_scan_that_is_broken_off_leaves_no_process(tmp_path: Path) -> None:
    before = set(below(os.getpid()))
    (name,) = save(tmp_path, "a.npy")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), local.Local(2) as place:
        place.scan(REQUEST, place.plan(REQUEST, [name])[0].portions, empty(10, 4), stop)
    assert set(below(os.getpid())) == before


def test_a_fork_leaves_the_processes_of_its_parent_alone() -> None:
    process.prepare()
    (first,) = process.WAITING
    if (pid := os.fork()) == 0:
        first.end()
        process.end_waiting()
        os._exit(len(process.WAITING))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert first.is_of_use


def test_what_waits_does_not_wait_for_a_fork_of_the_one_that_is_gone(tmp_path: Path) -> None:
    begins = (
        "import os, sys, time\nfrom gte_surgery.contract.scan import process\nprocess.prepare()\n"
        "os.fork() or time.sleep(600)\n"
        "print(os.getpid(), process.WAITING[0].call(os.getpid), flush=True)\ntime.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", begins], stdout=subprocess.PIPE, text=True) as asks:
        assert asks.stdout is not None
        asked, waits = map(int, asks.stdout.readline().split())
        (forked,) = set(below(asked)) - {waits}
        asks.kill()
        try:
            assert gone(waits)
        finally:
            os.kill(forked, 9)


def test_a_process_that_stands_in_another_folder_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files are taken from where a process has begun, though the scan ends elsewhere."""
    for name, rows in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", np.full((rows, 2), 5))
    monkeypatch.chdir(tmp_path / "one")
    first = scan(CONTRACT, "a.npy", progress=lambda *_: os.chdir(tmp_path / "two"))
    assert (first.summary.rows, scan(CONTRACT, "a.npy").summary.rows) == (1, 2)


def test_scans_at_once_share_what_waits(tmp_path: Path) -> None:
    (name,) = save(tmp_path, "a.npy")
    with ThreadPoolExecutor(8) as threads:
        assert {report.summary.rows for report in threads.map(lambda _: scan(CONTRACT, name), range(24))} == {2}


def test_a_scan_from_a_folder_that_was_removed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (name,) = save(tmp_path, "a.npy")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert scan(CONTRACT, name).summary.rows == 2


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_scan_of_which_the_process_that_is_forked_ends_is_refused(is_begun: bool, tmp_path: Path) -> None:
    names = save(tmp_path, *(f"{number}.npy" for number in range(3)))
    with local.Local(1) as place:
        answers = place._answers(REQUEST, [(name, order) for order, name in enumerate(names)], 1)
        if is_begun:
            next(answers)
        assert place._forks is not None
        os.killpg(place._forks.first._process.pid, 9)
        with pytest.raises(RefusedError, match="ended with SIGKILL" + " before it began" * (not is_begun)):
            list(answers)


def test_a_scan_is_done_though_the_process_that_is_forked_ends_at_its_end(tmp_path: Path) -> None:
    (name,) = save(tmp_path, "a.npy")

    def kill(*_: object) -> None:
        (first,) = below(os.getpid())
        os.kill(first, 9)

    assert scan(CONTRACT, name, progress=kill).summary.rows == 2
    assert scan(CONTRACT, name).summary.rows == 2


def test_the_working_directory_is_left_out_of_the_path_of_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    ours = str(Path(local.__file__).parents[3])
    assert safe_path(["", ".", str(tmp_path), str(tmp_path / "link"), "/usr/lib/x", "lib"]) == [ours, "/usr/lib/x"]


def test_nothing_in_the_working_directory_is_imported(tmp_path: Path) -> None:
    """With a trap for every module of the standard library and every package that is ours or we import."""
    save(tmp_path, *(f"{number}.npy" for number in range(130)))
    trap = "import os; open(os.environ['TRAPPED'], 'a').write(__name__ + '\\n')\n"
    ours = {"gte_surgery", "numpy", "pyarrow", "click", "ray", "pandas", "sitecustomize", "usercustomize"}
    for name in {*sys.stdlib_module_names, *ours}:
        (tmp_path / f"{name}.py").write_text(trap)
    contract = tmp_path / "contract.json"
    contract.write_text(CONTRACT.to_json())
    trapped = tmp_path / "trapped"
    command = Path(sys.executable).with_name("gte-surgery")
    ran = subprocess.run(
        [str(command), "scan", str(contract), ".", "--workers", "2"],
        cwd=tmp_path, env={**os.environ, "TRAPPED": str(trapped)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, trapped.exists() and trapped.read_text()) == (1, False), ran.stderr


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to tell the memory in use")
def test_memory_is_bounded_while_a_file_is_read(tmp_path: Path) -> None:
    with bounded(("a", 0)), pytest.raises(MemoryError):
        np.ones(1 << 28)
    with closing(open(tmp_path / "x", "wb")):
        assert np.ones(1 << 26).nbytes == 1 << 29
