"""The second half of a surgery: forward with a journal, back without one.

`commit` runs `finish` right after its journal is in place, `recover` runs it on what a dead process left: the same
code, and each step of it may be done again. `roll_back` clears what never was committed.
"""

from __future__ import annotations

import stat
from enum import Enum
from pathlib import Path

from gte_surgery.checkpoint.nearby import no_checkpoint
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.errors import CheckpointError, UnfinishedSurgeryError, WriteError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.journal import Journal, read_journal
from gte_surgery.surgery.commit.lock import locked
from gte_surgery.surgery.commit.stops import HeldStops
from gte_surgery.surgery.commit.tree import (
    StateFolder,
    is_folder,
    parents,
    refuse_link,
    remove_tree,
    state_beside,
    state_inside,
    status,
)


class Recovery(Enum):
    """What `recover` had to do."""

    NOTHING = "nothing"
    ROLLED_BACK = "rolled-back"
    ROLLED_FORWARD = "rolled-forward"


def require_settled(target: Path, fs: Filesystem | None = None) -> None:
    """Raise `UnfinishedSurgeryError` if a committed surgery on the directory `target` was cut short."""
    if status(fs or Filesystem(), state_inside(target).journal) is not None:
        raise unfinished(target, "a surgery was committed but not finished")


def unfinished(target: Path, reason: str) -> UnfinishedSurgeryError:
    """The error for a surgery that only `recover` can finish."""
    return UnfinishedSurgeryError(f"{target}: {reason}", f"finish it with {pasteable('recover', target)}")


def recover(target: Path, fs: Filesystem) -> Recovery:
    """Settle what an interrupted surgery left in `target`, or beside it where it was the `--out` of one.

    Raises `LockedError` if the surgery is still alive, `CheckpointError` if there is no such directory or its journal
    cannot be trusted, `UnfinishedSurgeryError` if the system fails again on the way forward.
    """
    target = target.resolve()
    inside, beside = state_inside(target), state_beside(target)
    outcome = Recovery.NOTHING
    try:
        if is_folder(fs, beside.path):
            outcome = _settle(beside, fs)
        elif not is_folder(fs, target):
            raise no_checkpoint(target, "is no directory")
        refuse_link(fs, inside.path)
        if is_folder(fs, inside.path) and fs.listdir(inside.path) != [inside.previous.name]:
            outcome = max(outcome, _settle(inside, fs), key=list(Recovery).index)
    except OSError as error:
        place = error.filename or target
        again = f"nothing is lost, run it again: {pasteable('recover', target)}"
        raise WriteError(f"{place}: {error.strerror}", again) from error
    return outcome


def _settle(state: StateFolder, fs: Filesystem) -> Recovery:
    """Forward with a journal, back without one, under the lock."""
    with HeldStops(), locked(state, "gte-surgery recover", fs):
        if status(fs, state.journal) is None:
            return Recovery.ROLLED_BACK if roll_back(state, fs) else Recovery.NOTHING
        try:
            journal = read_journal(fs, state.journal)
            _require_complete(state, journal, fs)
            finish(state, journal, fs)
        except OSError as error:
            raise unfinished(state.target, f"the surgery is still not finished: {error.strerror}") from error
        return Recovery.ROLLED_FORWARD


def roll_back(state: StateFolder, fs: Filesystem) -> bool:
    """Clear everything that was prepared and never committed; the previous generation stays. True if there was any."""
    found = [path for path in (state.journal_draft, state.stage, state.originals) if status(fs, path) is not None]
    for path in found:
        remove_tree(fs, path)
    return bool(found)


def finish(state: StateFolder, journal: Journal, fs: Filesystem) -> None:
    """Do what the journal says, from whatever point it was left at, and remove the journal.

    Files take their places one by one: weights, then other files, then the index, the config last; then the removed
    names go. The journal goes only when all of this is durable.
    """
    fs.fsync_directory(state.path)
    _make_folders(state, journal, fs)
    for name in sorted(journal.staged, key=lambda name: (_rank(name), name)):
        if status(fs, state.stage / name) is not None:
            fs.replace(state.stage / name, state.target / name)
    for name in journal.removed:
        if status(fs, state.target / name) is not None:
            fs.unlink(state.target / name)
    _settle_folders(state, journal, fs)
    _keep_generation(state, journal, fs)
    remove_tree(fs, state.stage)
    fs.fsync_directory(state.path)
    if status(fs, state.journal) is not None:
        fs.unlink(state.journal)
    fs.fsync_directory(state.path)


def _rank(name: str) -> int:
    if name.endswith(".index.json"):
        return 2
    if name == "config.json":
        return 3
    return 0 if name.endswith((".safetensors", ".bin")) else 1


def _make_folders(state: StateFolder, journal: Journal, fs: Filesystem) -> None:
    """Make the folders of the staged names, durably: a file moved into a folder that is lost would be lost with it."""
    for folder in reversed(_folders(tuple(journal.staged))):
        path = state.target / folder
        if folder:
            if not is_folder(fs, path):
                fs.mkdir(path)
            fs.fsync_directory(path.parent)


def _settle_folders(state: StateFolder, journal: Journal, fs: Filesystem) -> None:
    """Remove the folders that the removed names leave empty; make all names that changed durable."""
    for folder in _folders(journal.removed):
        path = state.target / folder
        if folder and is_folder(fs, path) and not fs.listdir(path):
            fs.rmdir(path)
    for folder in _folders((*journal.staged, *journal.removed)):
        if is_folder(fs, state.target / folder):
            fs.fsync_directory(state.target / folder)


def _folders(names: tuple[str, ...]) -> list[str]:
    """The folders of all names, each once, inner before outer."""
    folders = {folder for name in names for folder in parents(name)}
    return sorted(folders, key=lambda folder: (-folder.count("/") if folder else 1, folder))


def _keep_generation(state: StateFolder, journal: Journal, fs: Filesystem) -> None:
    """Let the originals become the previous generation, or drop one that no longer fits."""
    if not journal.keep_undo:
        remove_tree(fs, state.previous)
    elif status(fs, state.originals) is not None:
        remove_tree(fs, state.previous)
        fs.replace(state.originals, state.previous)


def _require_complete(state: StateFolder, journal: Journal, fs: Filesystem) -> None:
    """Raise `CheckpointError`, before anything moves, if a staged file is lost or a symlink would lead us astray."""
    for name, size in journal.staged.items():
        _require_plain_path(state.stage, name, fs)
        _require_plain_path(state.target, name, fs)
        found = status(fs, state.stage / name) or status(fs, state.target / name)
        if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise CheckpointError(
                f"{state.stage / name}: is lost or changed, the surgery cannot be finished",
                f"the files as they were lie in {state.originals}" if journal.keep_undo else "",
            )
    for name in journal.removed:
        _require_plain_path(state.target, name, fs)


def _require_plain_path(root: Path, name: str, fs: Filesystem) -> None:
    for folder in (*(parents(name)), name):
        found = status(fs, root / folder)
        if found is not None and stat.S_ISDIR(found.st_mode) is (folder == name):
            kind = "a folder" if folder == name else "no folder"
            raise CheckpointError(f"{root / folder}: is {kind}, the journal cannot be followed")
