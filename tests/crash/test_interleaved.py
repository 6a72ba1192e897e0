"""Two surgeries on one checkpoint, stopped at every pair of their operations: one goes on to an operation and stands
still, the other to one of its own, then each to its end. Where the kernel's lock excludes nobody as well, the exclusive
name alone keeps them apart: what ends well has made its checkpoint, what is refused has changed nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from gte_surgery.errors import GteSurgeryError
from gte_surgery.surgery.commit.recovery import Recovery, recover
from gte_surgery.surgery.commit.undo import undo
from tests.crash.faults import FaultyFilesystem
from tests.crash.surgeries import SINGLE, Surgery, lay_down, leftovers, perform, snapshot

FIRST = SINGLE
SECOND = Surgery(SINGLE.old, {"config.json": (0o644, b"third"), "model.safetensors": (0o600, b"third weights")})
BOTH = {"first, second": {**FIRST.new, **SECOND.staged}, "second, first": {**SECOND.new, **FIRST.staged}}


class Paced(FaultyFilesystem):
    """Stands still before operation `at` until `go`; flock keeps nobody out unless `has_flock`."""

    def __init__(self, at: int, has_flock: bool) -> None:
        super().__init__()
        self.at, self.has_flock = at, has_flock
        self.stands, self.go = Event(), Event()

    def perform(self, operation: str, real: Callable[..., object], arguments: tuple[object, ...]) -> object:
        self.count += 1
        if self.count == self.at:
            self.stands.set()
            assert self.go.wait(60)
        if operation == "lock" and not self.has_flock:
            return True
        return super().perform(operation, real, arguments)


class Run(Thread):
    """A surgery in a thread of its own; `told` is what refused it."""

    def __init__(self, surgery: Surgery, target: Path, at: int, has_flock: bool) -> None:
        super().__init__(daemon=True)
        self.surgery, self.target, self.fs = surgery, target, Paced(at, has_flock)
        self.told: GteSurgeryError | None = None

    def run(self) -> None:
        try:
            perform(self.surgery, self.target, self.fs)
        except GteSurgeryError as error:
            self.told = error
        finally:
            self.fs.stands.set()

    def to_its_place(self) -> None:
        self.start()
        assert self.fs.stands.wait(60)

    def to_its_end(self) -> None:
        self.fs.go.set()
        self.join(60)
        assert not self.is_alive()


@pytest.mark.parametrize("has_flock", [False, True], ids=["flock excludes nobody", "flock"])
def test_two_surgeries_at_any_two_operations_end_as_one_after_the_other(
    has_flock: bool, tmp_path: Path, long: bool
) -> None:
    counting = Run(FIRST, tmp_path / "counted", 0, has_flock)
    lay_down(FaultyFilesystem(), counting.target, SINGLE.old)
    counting.run()
    assert counting.fs.count > 40
    met = set()
    for at in range(1, counting.fs.count + 1, 1 if long else 7):
        for other in range(1 + (0 if long else at % 37), counting.fs.count + 1, 1 if long else 37):
            folder = tmp_path / f"{at}-{other}"
            folder.mkdir()
            met.add(_interleaved(folder / "ckpt", at, other, has_flock))
            shutil.rmtree(folder)
    assert {(True, False), (True, True), (False, True)} <= met, "each wins somewhere, and both one after the other"


def _interleaved(target: Path, at: int, other: int, has_flock: bool) -> tuple[bool, bool]:
    """Which of the two ended well; asserts that the checkpoint is what they say."""
    lay_down(FaultyFilesystem(), target, SINGLE.old)
    first, second = Run(FIRST, target, at, has_flock), Run(SECOND, target, other, has_flock)
    first.to_its_place()
    second.to_its_place()
    first.to_its_end()
    second.to_its_end()
    when = f"{at}, {other}: {first.told}, {second.told}"
    found, ended = snapshot(FaultyFilesystem(), target), (first.told is None, second.told is None)
    allowed = {
        (True, True): list(BOTH.values()),
        (True, False): [FIRST.new],
        (False, True): [SECOND.new],
        (False, False): [SINGLE.old],
    }
    assert found in allowed[ended], when
    assert recover(target, FaultyFilesystem()) is not Recovery.ROLLED_FORWARD, when
    assert snapshot(FaultyFilesystem(), target) == found, when
    if any(ended):
        undo(target, FaultyFilesystem())
        before = [SINGLE.old] if not all(ended) else [FIRST.new, SECOND.new]
        assert snapshot(FaultyFilesystem(), target) in before, when
    assert not leftovers(FaultyFilesystem(), target), when
    return ended
