"""A surgery that dies, tears a write or is failed by the system anywhere is exactly not done or exactly done."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gte_surgery.errors import RefusedError, UnfinishedSurgeryError, WriteError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import Recovery, recover, require_settled
from gte_surgery.surgery.commit.tree import state_inside
from gte_surgery.surgery.commit.undo import undo
from tests.crash.faults import CHANGES, NEEDS_SPACE, Crashed, Fault, FaultyFilesystem
from tests.crash.surgeries import (
    NEW,
    SHARDED,
    SINGLE,
    WITHOUT_UNDO,
    Surgery,
    Tree,
    folders,
    lay_down,
    leftovers,
    perform,
    perform_into,
    snapshot,
)


@dataclass(frozen=True, slots=True)
class Case:
    """`act` leads from the tree `old` to the tree `new`; `prepare` made the former, None stands for no directory."""

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path, Filesystem], object]
    old: Tree | None
    new: Tree
    has_hard_links: bool = True


def _in_place(name: str, surgery: Surgery, has_hard_links: bool = True) -> Case:
    def prepare(target: Path) -> None:
        lay_down(FaultyFilesystem(), target, surgery.old)

    def act(target: Path, fs: Filesystem) -> None:
        perform(surgery, target, fs)

    return Case(name, prepare, act, surgery.old, surgery.new, has_hard_links)


def _undone(name: str, surgery: Surgery, has_hard_links: bool = True) -> Case:
    def prepare(target: Path) -> None:
        lay_down(FaultyFilesystem(), target, surgery.old)
        perform(surgery, target, FaultyFilesystem())

    def act(target: Path, fs: Filesystem) -> None:
        undo(target, fs)

    return Case(name, prepare, act, surgery.new, surgery.old, has_hard_links)


def _after_undoable() -> Case:
    """A second surgery that keeps nothing, on a checkpoint that has a previous generation."""

    def prepare(target: Path) -> None:
        lay_down(FaultyFilesystem(), target, WITHOUT_UNDO.new)
        perform(Surgery(WITHOUT_UNDO.new, WITHOUT_UNDO.old), target, FaultyFilesystem())

    def act(target: Path, fs: Filesystem) -> None:
        perform(WITHOUT_UNDO, target, fs)

    old = {**WITHOUT_UNDO.new, **WITHOUT_UNDO.old}
    return Case("without undo", prepare, act, old, WITHOUT_UNDO.new)


def _into(name: str, is_there: bool) -> Case:
    def prepare(target: Path) -> None:
        if is_there:
            target.mkdir(mode=0o700)

    def act(target: Path, fs: Filesystem) -> None:
        perform_into(NEW, target, fs)

    return Case(name, prepare, act, {} if is_there else None, NEW.new)


CASES = (
    _in_place("single", SINGLE),
    _in_place("sharded", SHARDED),
    _in_place("sharded without hard links", SHARDED, has_hard_links=False),
    _undone("undo", SHARDED),
    _undone("undo without hard links", SINGLE, has_hard_links=False),
    _after_undoable(),
    _into("into nothing", is_there=False),
    _into("into an empty directory", is_there=True),
)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _attempts(
    case: Case, folder: Path, faults: Callable[[int], Fault], step: int = 1
) -> Iterator[tuple[Path, FaultyFilesystem]]:
    """A prepared directory and a file system that fails at operation 0, 1, …, or at every `step`-th, until the action
    outruns the fault.
    """
    original = folder / "original"
    original.mkdir()
    case.prepare(original / "checkpoint")
    for at in itertools.count(len(case.name) % step, step):
        shutil.copytree(original, folder / f"{at}", symlinks=True)
        fs = FaultyFilesystem(faults(at), case.has_hard_links)
        yield folder / f"{at}" / "checkpoint", fs
        if not fs.has_failed:
            assert at > 10, "an action of so few operations is none"
            return
        shutil.rmtree(folder / f"{at}")


def _death(at: int) -> Fault:
    return Fault(at, counted=CHANGES)


def _is_exactly(tree: Tree | None, target: Path) -> bool:
    fs = FaultyFilesystem()
    if snapshot(fs, target) != tree:
        return False
    wanted = {str(parent) for name in tree or () for parent in Path(name).parents if parent.name}
    return tree is None or folders(fs, target) == wanted


def _excused(fs: FaultyFilesystem) -> set[str]:
    """Where the lock itself cannot be taken, its empty file stays: it could be another's by now."""
    return {".gte-surgery", ".checkpoint.gte-surgery", "lock", "previous"} if fs.failed == "lock" else set()


def _has_second_links(target: Path) -> bool:
    return any(path.is_file() and path.stat().st_nlink > 1 for path in target.rglob("*"))


@every_case
@pytest.mark.parametrize("is_torn", [False, True], ids=["dies", "tears"])
def test_a_process_that_dies_at_any_operation_leaves_the_old_or_the_new_checkpoint(
    case: Case, is_torn: bool, tmp_path: Path, long: bool
) -> None:
    outcomes = set()
    step = 1 if long or "into" in case.name else 2
    for target, fs in _attempts(case, tmp_path, lambda at: Fault(at, is_torn=is_torn, counted=CHANGES), step):
        try:
            case.act(target, fs)
        except Crashed:
            if state_inside(target).journal.exists():
                with pytest.raises(UnfinishedSurgeryError):
                    require_settled(target)
                with pytest.raises(UnfinishedSurgeryError):
                    perform(SINGLE, target, FaultyFilesystem())
            else:
                require_settled(target)
                assert _is_exactly(case.old, target) or _is_exactly(case.new, target)
            if target.exists() or any(target.parent.iterdir()):
                outcomes.add(recover(target, FaultyFilesystem()))
                assert recover(target, FaultyFilesystem()) is Recovery.NOTHING if target.exists() else True
        assert _is_exactly(case.old, target) or _is_exactly(case.new, target)
        assert not leftovers(FaultyFilesystem(), target)
        assert not _has_second_links(target)
    assert _is_exactly(case.new, target)
    assert Recovery.ROLLED_BACK in outcomes


@every_case
def test_the_next_surgery_clears_silently_what_an_uncommitted_one_left(case: Case, tmp_path: Path, long: bool) -> None:
    for target, fs in _attempts(case, tmp_path, _death, 1 if long else 3):
        try:
            case.act(target, fs)
        except Crashed:
            if _is_exactly(case.old, target) and not state_inside(target).journal.exists():
                case.act(target, FaultyFilesystem(has_hard_links=case.has_hard_links))
                assert _is_exactly(case.new, target)
                assert not leftovers(FaultyFilesystem(), target)


@pytest.mark.parametrize("case", [case for case in CASES if "into" not in case.name], ids=lambda case: case.name)
def test_a_recovery_that_dies_at_any_operation_can_be_repeated(case: Case, tmp_path: Path, long: bool) -> None:
    for target, fs in _attempts(case, tmp_path, _death):
        try:
            case.act(target, fs)
        except Crashed:
            if state_inside(target).journal.exists() or case.name == "single":
                _recover_twice(case, target, lambda at: Fault(at, is_torn=True, counted=CHANGES), 1 if long else 5)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_a_recovery_that_the_system_fails_at_any_operation_can_be_repeated(
    error: int, tmp_path: Path, long: bool
) -> None:
    case = _in_place("single", SINGLE)
    for target, fs in _attempts(case, tmp_path, _death):
        try:
            case.act(target, fs)
        except Crashed:
            _recover_twice(case, target, lambda at: Fault(at, error), 1 if long else 17)


def _recover_twice(case: Case, target: Path, faults: Callable[[int], Fault], step: int) -> None:
    """Recover copies of `target` with a failure at every `step`-th operation, others after each death, then again
    without.
    """
    for at in itertools.count(int(target.parent.name) % step, step):
        copy = target.parent / f"copy{at}"
        shutil.copytree(target, copy, copy_function=_link)
        fs = FaultyFilesystem(faults(at))
        try:
            recover(copy, fs)
        except (Crashed, WriteError, UnfinishedSurgeryError, RefusedError):
            assert fs.has_failed
        recover(copy, FaultyFilesystem())
        assert _is_exactly(case.old, copy) or _is_exactly(case.new, copy)
        assert not leftovers(FaultyFilesystem(), copy)
        if not fs.has_failed:
            return


def _link(source: str, copy: str) -> None:
    """Copy by hard link: recovery renames and unlinks, and never writes into a file of the checkpoint."""
    Path(copy).hardlink_to(source)


ERRORS = {
    "EIO": Fault(0, errno.EIO),
    "ENOSPC after half a write": Fault(0, errno.ENOSPC, is_torn=True, counted=CHANGES),
    "ENOSPC from then on": Fault(0, errno.ENOSPC, is_lasting=True, counted=NEEDS_SPACE),
}


@every_case
@pytest.mark.parametrize("kind", ERRORS)
def test_a_system_error_at_any_operation_changes_nothing_or_asks_for_recovery(
    case: Case, kind: str, tmp_path: Path, long: bool
) -> None:
    def fault(at: int) -> Fault:
        return replace(ERRORS[kind], at=at)

    outcomes = set()
    for target, fs in _attempts(case, tmp_path, fault, 1 if long or "into" in case.name else 4):
        try:
            case.act(target, fs)
        except (WriteError, RefusedError) as failure:
            outcomes.add(type(failure))
            assert _is_exactly(case.old, target)
            assert leftovers(FaultyFilesystem(), target) <= _excused(fs), "a failed surgery cleans up"
            continue
        except UnfinishedSurgeryError as failure:
            outcomes.add(type(failure))
            assert _is_exactly(case.new, target) or state_inside(target).journal.exists()
            recover(target, FaultyFilesystem())
            assert _is_exactly(case.new, target)
        else:
            assert _is_exactly(case.new, target), "an action that says nothing is done"
            recover(target, FaultyFilesystem())
        assert not leftovers(FaultyFilesystem(), target)
        assert not _has_second_links(target)
    assert WriteError in outcomes
    assert UnfinishedSurgeryError in outcomes or kind != "EIO"


def test_undo_after_any_crash_gives_the_old_checkpoint_back(tmp_path: Path) -> None:
    case = _in_place("sharded", SHARDED)
    for target, fs in _attempts(case, tmp_path, _death):
        try:
            case.act(target, fs)
        except Crashed:
            recover(target, FaultyFilesystem())
        if _is_exactly(case.new, target):
            undo(target, FaultyFilesystem())
            assert _is_exactly(case.old, target)
            undo(target, FaultyFilesystem())
            assert _is_exactly(case.new, target)
        else:
            with pytest.raises(RefusedError, match="nothing to undo"):
                undo(target, FaultyFilesystem())


def test_a_new_file_with_the_content_of_the_old_one_is_told_from_it_after_any_death(tmp_path: Path) -> None:
    """Undo refuses what another program saved anew; what a recovery left where it was is not that."""
    old = {"config.json": (0o644, b"{}"), "model.safetensors": (0o644, b"same"), "tokenizer.json": (0o644, b"{}")}
    surgery = Surgery(old, {**old, "a/new": (0o644, b"new")})
    for at in itertools.count(1):
        target = tmp_path / str(at)
        lay_down(FaultyFilesystem(), target, old)
        for path in target.iterdir():
            os.utime(path, ns=(at, at))
        try:
            perform(surgery, target, FaultyFilesystem(Fault(at, counted=CHANGES)))
        except Crashed:
            recover(target, FaultyFilesystem())
        else:
            break
        found = snapshot(FaultyFilesystem(), target)
        assert found in (old, surgery.new)
        if found == surgery.new:
            undo(target, FaultyFilesystem())
            assert snapshot(FaultyFilesystem(), target) == old
    assert at > 10
