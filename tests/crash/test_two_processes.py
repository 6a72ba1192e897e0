"""Two surgeries at once: one works, the other is told by whom; a dead one holds nobody up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gte_surgery.errors import LockedError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import Recovery, recover
from gte_surgery.surgery.commit.tree import STATE_FOLDER
from gte_surgery.surgery.commit.undo import undo
from tests.conftest import ROOT
from tests.crash.surgeries import NEW, SINGLE, lay_down, leftovers, perform, perform_into, snapshot

HOLDER = """
import sys
from pathlib import Path
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.transaction import in_place, into
begin = {"in_place": in_place, "into": into}[sys.argv[1]]
with begin(Path(sys.argv[2]), "gte-surgery resize --vocab 7", Filesystem()) as transaction:
    (transaction.stage / "half").write_bytes(b"half")
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.readline()
"""
COUNTER = """
import sys
from pathlib import Path
from gte_surgery.errors import LockedError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.transaction import in_place
target, done = Path(sys.argv[1]), 0
while done < 40:
    try:
        with in_place(target, "count", Filesystem()) as transaction:
            count = int((target / "count").read_text())
            (transaction.stage / "count").write_text(str(count + 1))
            transaction.commit(keep_undo=False)
            done += 1
    except LockedError:
        continue
"""


@contextmanager
def _held(how: str, target: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of a surgery; it rolls back at the end unless it was killed."""
    command = [sys.executable, "-c", HOLDER, how, str(target)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_the_second_surgery_is_told_the_command_and_process_of_the_first(tmp_path: Path) -> None:
    target, fs = tmp_path / "checkpoint", Filesystem()
    lay_down(fs, target, SINGLE.old)
    with _held("in_place", target) as process:
        told = rf"`gte-surgery resize --vocab 7`, process {process.pid} on .+, since \d{{4}}-"
        with pytest.raises(LockedError, match=told):
            perform(SINGLE, target, fs)
        with pytest.raises(LockedError, match=told):
            undo(target, fs)
        with pytest.raises(LockedError, match=told):
            recover(target, fs)
        assert list((target / STATE_FOLDER).glob("stage-*/half")), "the loser leaves the winner's stage alone"
    assert snapshot(fs, target) == SINGLE.old
    perform(SINGLE, target, fs)
    assert snapshot(fs, target) == SINGLE.new


def test_two_surgeries_into_the_same_directory_are_kept_apart(tmp_path: Path) -> None:
    out, fs = tmp_path / "out", Filesystem()
    with _held("into", out) as process, pytest.raises(LockedError, match=f"process {process.pid} "):
        perform_into(NEW, out, fs)
    perform_into(NEW, out, fs)
    assert snapshot(fs, out) == NEW.new


def test_a_killed_surgery_holds_no_lock(tmp_path: Path) -> None:
    target, fs = tmp_path / "checkpoint", Filesystem()
    lay_down(fs, target, SINGLE.old)
    with _held("in_place", target) as process:
        process.kill()
    assert recover(target, fs) is Recovery.ROLLED_BACK
    assert not leftovers(fs, target)
    assert snapshot(fs, target) == SINGLE.old


def test_surgeries_that_race_for_the_lock_never_overlap(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    lay_down(Filesystem(), target, {"count": (0o644, b"0")})
    racers = [subprocess.Popen([sys.executable, "-c", COUNTER, str(target)], cwd=ROOT) for _ in range(3)]
    assert [racer.wait(timeout=120) for racer in racers] == [0, 0, 0]
    assert (target / "count").read_text() == "120"
    assert not leftovers(Filesystem(), target)
