"""Who may write into a checkpoint can swap its folders for symlinks while a surgery runs. None leads it out.

Before every single operation, one folder at a time becomes a link to a place outside where everything that the surgery
looks for lies ready. Outside nothing may change, and nothing from there may come in; with hard links and, every second
time, without.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from gte_surgery.errors import GteSurgeryError
from gte_surgery.surgery.commit import tree
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import recover
from gte_surgery.surgery.commit.transaction import in_place, into
from gte_surgery.surgery.commit.undo import undo
from tests.crash.faults import Crashed, Fault, FaultyFilesystem

NAMES = ("config.json", "model.safetensors", "1_Pooling/config.json")
STATE = ".gte-surgery"
NONCE = "0123456789abcdef"
"""In the names of the attacked surgery's folders: who may read its lock knows it."""
FOLDERS = {
    "state": STATE,
    "stage": f"{STATE}/stage-{NONCE}",
    "folder of the stage": f"{STATE}/stage-{NONCE}/1_Pooling",
    "originals": f"{STATE}/originals-{NONCE}",
    "files of the originals": f"{STATE}/originals-{NONCE}/files",
    "previous": f"{STATE}/previous",
    "folder of the checkpoint": "1_Pooling",
    "checkpoint": ".",
    "state beside": "1_Pooling/.out.gte-surgery",
    "stage beside": f"1_Pooling/.out.gte-surgery/stage-{NONCE}",
}
SECRET = b"a secret"


class Attacked(FaultyFilesystem):
    """Calls `attack` before operation `at`."""

    def __init__(self, at: int, attack: Callable[[], None], has_hard_links: bool = True) -> None:
        super().__init__(None, has_hard_links)
        self.at, self.attack = at, attack

    def perform(self, operation: str, real: Callable[..., object], arguments: tuple[object, ...]) -> object:
        self.count += 1
        if self.count == self.at:
            self.attack()
        return super().perform(operation, real, arguments)


def fill(folder: Path, content: bytes) -> None:
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def prepare(target: Path) -> None:
    """A checkpoint with a generation to undo."""
    fill(target, b"old")
    stage_and_commit(target, FaultyFilesystem())


def lay_outside(outside: Path) -> None:
    """A tree with all that the swapped folders would hold."""
    for folder in FOLDERS.values():
        fill(outside / folder, SECRET)
        fill(outside / folder / "files", SECRET)
        for name in ("lock", f"lock-{NONCE}", "journal.json", f"journal-{NONCE}.tmp"):
            (outside / folder / name).write_bytes(SECRET)


def stage_and_commit(target: Path, fs: Filesystem) -> None:
    with in_place(target, "test", fs) as transaction:
        fs.mkdir(transaction.stage / "1_Pooling")
        for name in NAMES[1:]:
            descriptor = fs.create(transaction.stage / name, 0o644)
            fs.write(descriptor, b"new")
            fs.close(descriptor)
        transaction.commit(removed=["config.json"] if (target / "config.json").exists() else [])


def stage_into(target: Path, fs: Filesystem) -> None:
    with into(target / "1_Pooling" / "out", "test", fs) as transaction:
        descriptor = fs.create(transaction.stage / "config.json", 0o644)
        fs.close(descriptor)
        transaction.commit()


def seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every name below a folder, with link count and content."""
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    return {str(p.relative_to(folder)): (p.lstat().st_nlink, p.read_bytes() if p.is_file() else b"") for p in paths}


def swap(folder: Path, outside: Path, swapped: list[Path]) -> None:
    """`folder`, or where it would be, becomes a link to `outside`; noted in `swapped` where it was there."""
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}-moved"))
        swapped.append(folder)
    elif not folder.parent.exists():
        return
    folder.symlink_to(outside)


@contextmanager
def nonce(*, is_known: bool) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if is_known:
            patch.setattr(tree.secrets, "token_hex", lambda _: NONCE)
        yield


SURGERIES = {
    "commit": stage_and_commit,
    "into": stage_into,
    "undo": lambda target, fs: undo(target, fs),
    "recover": recover,
}


@pytest.mark.parametrize(
    ("surgery", "swapped"),
    [(surgery, swapped) for surgery in SURGERIES for swapped in FOLDERS if ("beside" in swapped) is (surgery == "into")]
    + [("into", "folder of the checkpoint")],
)
def test_no_link_swapped_in_before_any_operation_leads_out(
    surgery: str, swapped: str, tmp_path: Path, long: bool
) -> None:
    outside = tmp_path / "outside"
    lay_outside(outside)
    before = seen(outside)
    operations = operations_of(surgery, tmp_path / "0" / "checkpoint")
    first = len(swapped) % 7 + 1
    there: list[Path] = []
    for at in range(1 if long else first, operations + 1, 1 if long else 7):
        target = tmp_path / str(at) / "checkpoint"
        prepare(target)
        if surgery == "recover":
            leave_a_committed_surgery(target)
        attack = partial(swap, target / FOLDERS[swapped], outside / FOLDERS[swapped], there)
        with suppress(GteSurgeryError, OSError), nonce(is_known=surgery != "recover"):
            SURGERIES[surgery](target, Attacked(at, attack, has_hard_links=bool(at % 2)))
        assert seen(outside) == before, f"before operation {at}"
        assert SECRET not in (content for _, content in seen(target.parent).values())
    assert there, "the attack has met nothing"


def operations_of(surgery: str, target: Path) -> int:
    prepare(target)
    if surgery == "recover":
        leave_a_committed_surgery(target)
    fs = Attacked(0, lambda: None)
    SURGERIES[surgery](target, fs)
    assert fs.count > 20
    return fs.count


def leave_a_committed_surgery(target: Path) -> None:
    """A surgery that dies right after its commit point."""
    fs = FaultyFilesystem(Fault(at=1, counted=frozenset({"replace"})))
    with pytest.raises(Crashed), nonce(is_known=True):
        stage_and_commit(target, fs)
    assert (target / STATE / "journal.json").exists()


def test_a_lock_that_is_another_file_as_well_is_not_written(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    prepare(target)
    (tmp_path / "precious").write_bytes(SECRET)
    os.link(tmp_path / "precious", target / STATE / "lock")
    stage_and_commit(target, FaultyFilesystem())
    assert (tmp_path / "precious").read_bytes() == SECRET
