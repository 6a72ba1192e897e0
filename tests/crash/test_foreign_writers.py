"""Another program saves into a checkpoint while a surgery, an undo or a recovery is at work: its save is never lost,
and what is left is the old, the new, or that program's checkpoint.

Before every operation in turn a file is saved as programs do: renamed over, written over in place, or made anew; where
the system can exchange names and where it cannot. There, what is saved between the last look and the rename that
follows is lost: no operation of ours lies between the two, and that is the window that remains.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gte_surgery.errors import GteSurgeryError, UnfinishedSurgeryError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import recover
from gte_surgery.surgery.commit.tree import STATE_FOLDER
from gte_surgery.surgery.commit.undo import undo
from tests.crash.faults import Crashed, Fault, FaultyFilesystem
from tests.crash.surgeries import SINGLE, WITHOUT_UNDO, Surgery, lay_down, leftovers, perform, snapshot

SAVED = b"saved by another program"


class Watched(FaultyFilesystem):
    """Lets another program save before operation `at`; notes what that was."""

    def __init__(self, at: int, save: Callable[[], None], has_exchange: bool) -> None:
        super().__init__(None, has_exchange=has_exchange)
        self.at, self.save, self.before = at, save, ""

    def perform(self, operation: str, real: Callable[..., object], arguments: tuple[object, ...]) -> object:
        self.count += 1
        if self.count == self.at:
            self.before = operation
            self.save()
        return super().perform(operation, real, arguments)


def rename_over(path: Path) -> None:
    draft = path.with_name(f"{path.name}.saving")
    draft.write_bytes(SAVED)
    draft.replace(path)


def write_over(path: Path) -> None:
    if path.exists():
        path.chmod(0o644)
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(SAVED)
        file.truncate()


SAVES = {"renamed over": rename_over, "written over": write_over}
NAMES = ("config.json", "model.safetensors", "gte-surgery.json", "tokenizer.json")


def _surgery(surgery: Surgery) -> tuple[Callable[[Path], None], Callable[[Path, Filesystem], object]]:
    """As planned for what is there when it begins."""

    def act(path: Path, fs: Filesystem) -> None:
        planned = {name: _seen(path / name) for name in (*surgery.staged, *surgery.removed)}
        perform(surgery, path, fs, planned)

    return lambda path: lay_down(FaultyFilesystem(), path, surgery.old), act


def _seen(path: Path) -> tuple[int, int] | None:
    return (path.stat().st_size, path.stat().st_mtime_ns) if path.exists() else None


def _done(path: Path) -> None:
    lay_down(FaultyFilesystem(), path, SINGLE.old)
    perform(SINGLE, path, FaultyFilesystem())


def _dead(path: Path, at: int = 1) -> None:
    """A surgery that died before its exchange number `at`: the weights, then the config."""
    lay_down(FaultyFilesystem(), path, SINGLE.old)
    with pytest.raises(Crashed):
        perform(SINGLE, path, FaultyFilesystem(Fault(at, counted=frozenset({"exchange"}))))


STORIES = {
    "surgery": _surgery(SINGLE),
    "surgery without undo": _surgery(WITHOUT_UNDO),
    "undo": (_done, lambda path, fs: undo(path, fs)),
    "recovery": (_dead, recover),
}


@pytest.mark.parametrize("has_exchange", [True, False], ids=["exchange", "no exchange"])
@pytest.mark.parametrize("how", SAVES)
@pytest.mark.parametrize("story", STORIES)
def test_what_another_program_saves_before_any_operation_is_never_lost(
    story: str, how: str, has_exchange: bool, tmp_path: Path, long: bool
) -> None:
    prepare, act = STORIES[story]
    (tmp_path / "0").mkdir()
    prepare(tmp_path / "0" / "ckpt")
    counting = Watched(0, lambda: None, has_exchange)
    start = SINGLE.old if story == "recovery" else snapshot(FaultyFilesystem(), tmp_path / "0" / "ckpt") or {}
    act(tmp_path / "0" / "ckpt", counting)
    end = snapshot(FaultyFilesystem(), tmp_path / "0" / "ckpt") or {}
    assert counting.count > 20
    for number, name in enumerate(NAMES):
        for at in range(1 if long else 1 + 4 * number, counting.count + 1, 1 if long else 17):
            folder = tmp_path / f"{at}"
            folder.mkdir()
            prepare(folder / "ckpt")
            target = folder / "ckpt"
            fs = Watched(at, lambda target=target, name=name: SAVES[how](target / name), has_exchange)
            is_done = True
            try:
                act(target, fs)
            except UnfinishedSurgeryError:
                recover(target, FaultyFilesystem())
            except GteSurgeryError:
                is_done = False
            if has_exchange or fs.before != "replace":
                _judge(target, name, start, end, is_done, f"{name} before {fs.before} ({at})")
            shutil.rmtree(folder)


def _judge(target: Path, name: str, old: dict, new: dict, is_done: bool, when: str) -> None:
    found = snapshot(FaultyFilesystem(), target) or {}
    others = {each: file for each, file in found.items() if each != name}
    bytes_of = lambda tree: {each: file[1] for each, file in tree.items() if each != name}  # noqa: E731
    assert bytes_of(others) in (bytes_of(old), bytes_of(new)), f"a mixture: {when}"
    saved = [path for path in target.rglob("*") if path.is_file() and path.read_bytes() == SAVED]
    assert saved, f"a save is lost: {when}"
    is_there = name in found and found[name][1] == SAVED
    in_undo = any(STATE_FOLDER in path.parts for path in saved)
    assert is_there or (is_done and in_undo), f"a save is nowhere to be found: {when}"
    assert not leftovers(FaultyFilesystem(), target), when


def test_a_save_during_the_last_sync_stops_the_commit(tmp_path: Path) -> None:
    """The syncs of everything new may take minutes."""

    class Slow(FaultyFilesystem):
        def fsync(self, descriptor: int) -> None:
            rename_over(tmp_path / "ckpt" / "config.json")

    lay_down(FaultyFilesystem(), tmp_path / "ckpt", SINGLE.old)
    with pytest.raises(GteSurgeryError, match=r"config\.json: changed"):
        perform(SINGLE, tmp_path / "ckpt", Slow())
    assert (tmp_path / "ckpt" / "config.json").read_bytes() == SAVED
    assert (tmp_path / "ckpt" / "model.safetensors").read_bytes() == SINGLE.old["model.safetensors"][1]


def test_a_recovery_goes_back_where_another_program_has_saved_and_forward_if_forced(tmp_path: Path) -> None:
    for name in ("back", "forth"):
        _dead(tmp_path / name, at=0)
        rename_over(tmp_path / name / "model.safetensors")
    old = {**SINGLE.old, "model.safetensors": (0o644, SAVED)}
    assert recover(tmp_path / "back", FaultyFilesystem()).value == "rolled-back"
    assert snapshot(FaultyFilesystem(), tmp_path / "back") == old
    assert recover(tmp_path / "forth", FaultyFilesystem(), force=True).value == "rolled-forward"
    assert snapshot(FaultyFilesystem(), tmp_path / "forth") == SINGLE.new
    undo(tmp_path / "forth", FaultyFilesystem())
    assert {name: file[1] for name, file in snapshot(FaultyFilesystem(), tmp_path / "forth").items()} == {
        name: file[1] for name, file in old.items()
    }
