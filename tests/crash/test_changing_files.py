"""A checkpoint that another program changes under a surgery is left as that program wrote it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint
from gte_surgery.checkpoint.receipts import RECEIPT_NAME
from gte_surgery.errors import RefusedError
from gte_surgery.surgery import apply as applying
from gte_surgery.surgery import verbs
from gte_surgery.surgery.apply import Manner, apply
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.edits import Resize
from gte_surgery.surgery.pieces import writer as writing
from gte_surgery.surgery.planning.plan import Plan
from tests import builder
from tests.crash.surgeries import leftovers, snapshot

FS = Filesystem()
WEIGHTS = "model.safetensors"


def keep_time(path: Path, change: Callable[[], None]) -> None:
    """Changes a file and gives it its former times back."""
    found = path.stat()
    change()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def grow(path: Path) -> None:
    """Another size, the same time."""
    keep_time(path, lambda: path.write_bytes(path.read_bytes() + b" "))


def touch(path: Path) -> None:
    """Another time, the same size."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))


def rename_tensor(path: Path) -> None:
    """Another header, the same size and time."""
    raw = path.read_bytes()
    assert b"embeddings.LayerNorm.bias" in raw
    keep_time(
        path, lambda: path.write_bytes(raw.replace(b"embeddings.LayerNorm.bias", b"embeddings.LayerNorm.bios", 1))
    )


def appear(path: Path) -> None:
    """A file that was not there."""
    assert not path.exists()
    path.write_text('{"receipts": []}')


def vanish(path: Path) -> None:
    path.unlink()


CHANGES = [
    (grow, WEIGHTS),
    (touch, WEIGHTS),
    (rename_tensor, WEIGHTS),
    (grow, "config.json"),
    (touch, "config.json"),
    (vanish, "config.json"),
    (appear, RECEIPT_NAME),
]
every_change = pytest.mark.parametrize(
    ("change", "name"), CHANGES, ids=[f"{change.__name__} {name}" for change, name in CHANGES]
)


@pytest.fixture
def planned(tmp_path: Path) -> tuple[Checkpoint, Plan]:
    checkpoint = open_checkpoint(builder.build(tmp_path / "ckpt"))
    return checkpoint, verbs.plan_surgery(checkpoint, Resize(64, 0))


def refused(checkpoint: Checkpoint, plan: Plan, out: Path | None, name: str) -> None:
    """The surgery is refused with the name of the file, and nothing is left of it."""
    with pytest.raises(RefusedError, match=rf"{name}: changed since the plan was made"):
        apply(plan, checkpoint, checkpoint.path, out, Manner(threads=1))
    assert not leftovers(FS, out or checkpoint.path)
    assert out is None or not out.exists()


@every_change
@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["in place", "--out"])
def test_a_change_between_plan_and_write_is_refused(
    change: Callable[[Path], None],
    name: str,
    is_elsewhere: bool,
    planned: tuple[Checkpoint, Plan],
    tmp_path: Path,
) -> None:
    checkpoint, plan = planned
    change(checkpoint.path / name)
    changed = snapshot(FS, checkpoint.path)
    refused(checkpoint, plan, tmp_path / "out" if is_elsewhere else None, name)
    assert snapshot(FS, checkpoint.path) == changed


@every_change
def test_a_change_while_it_writes_is_refused(
    change: Callable[[Path], None],
    name: str,
    planned: tuple[Checkpoint, Plan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint, plan = planned
    real = writing._write_file
    states = []

    def then_change(*arguments: object) -> object:
        written = real(*arguments)
        if not states:
            change(checkpoint.path / name)
            states.append(snapshot(FS, checkpoint.path))
        return written

    monkeypatch.setattr(writing, "_write_file", then_change)
    refused(checkpoint, plan, None, name)
    assert snapshot(FS, checkpoint.path) == states[0]


@pytest.mark.parametrize(
    ("change", "name"), [pair for pair in CHANGES if pair[0] is not rename_tensor], ids=lambda value: str(value)[:16]
)
def test_a_change_between_write_and_commit_is_refused(
    change: Callable[[Path], None],
    name: str,
    planned: tuple[Checkpoint, Plan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint, plan = planned
    real = applying._refuse_unsound
    states = []

    def then_change(*arguments: object) -> None:
        real(*arguments)
        change(checkpoint.path / name)
        states.append(snapshot(FS, checkpoint.path))

    monkeypatch.setattr(applying, "_refuse_unsound", then_change)
    refused(checkpoint, plan, None, name)
    assert snapshot(FS, checkpoint.path) == states[0]


def test_of_two_surgeries_planned_on_the_same_checkpoint_the_second_loses_nothing_of_the_first(tmp_path: Path) -> None:
    """The first changes the config alone: no weight file tells the second of it."""
    path = builder.build(tmp_path / "ckpt", builder.remote_config(unpad_inputs="true"))
    late = open_checkpoint(path)
    plan = verbs.plan_surgery(late, Resize(64, 0))
    weights = (path / WEIGHTS).stat()
    assert "config.json" in [file.name for file in verbs.fix(path).plan.files]
    assert (path / WEIGHTS).stat() == weights
    with pytest.raises(RefusedError, match=r"config\.json: changed since the plan was made"):
        apply(plan, late, path, None, Manner(threads=1))
    assert json.loads((path / "config.json").read_text())["unpad_inputs"] is True
    assert len(verbs.history(path)) == 1


@pytest.mark.parametrize("offset", [-(10**9), 10**9], ids=["back", "forward"])
def test_a_clock_that_jumps_changes_nothing(offset: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty years between one reading of the clock and the next: only the time that a receipt tells shows it."""
    import time

    real_gmtime, real_time = time.gmtime, time.time
    jumps = iter(range(0, 1000 * offset, offset))

    def moment(seconds: float | None = None) -> time.struct_time:
        return real_gmtime(abs(real_time() + next(jumps)) % 2**32 if seconds is None else seconds)

    path = builder.build(tmp_path / "ckpt")
    old = snapshot(FS, path)
    straight = verbs.resize(path, vocab=64, pad=0, out=tmp_path / "straight").target
    monkeypatch.setattr(time, "gmtime", moment)
    for file in path.iterdir():  # as a clock that was wrong left them
        os.utime(file, ns=(0, max(0, file.stat().st_mtime_ns + offset * 10**9)))
    verbs.resize(path, vocab=64, pad=0)
    assert (path / WEIGHTS).read_bytes() == (straight / WEIGHTS).read_bytes()
    verbs.reinit(path)
    times = [receipt["time"] for receipt in verbs.history(path)]
    assert (times[0] < times[1]) is (offset > 0), "the receipts stand in their order, whatever their times say"
    verbs.undo(path)
    assert (path / WEIGHTS).read_bytes() == (straight / WEIGHTS).read_bytes()
    again = verbs.undo(path)
    assert again
    verbs.undo(path)
    verbs.resize(path, vocab=128, pad=1)
    assert verbs.recover(path).value == "nothing"
    assert set(snapshot(FS, path)) == {*old, RECEIPT_NAME}
