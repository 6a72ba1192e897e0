"""The second half of a surgery: forward with a journal, back without one, or where another program saved meanwhile.

`commit` runs `finish` right after its journal is in place, `recover` runs it on what a dead process left: the same
code, and each step of it may be done again. `roll_back` clears what never was committed.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from gte_surgery.checkpoint.nearby import no_checkpoint
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.errors import CheckpointError, RefusedError, UnfinishedSurgeryError, WriteError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.journal import Journal, OldJournal, read_journal
from gte_surgery.surgery.commit.lock import locked
from gte_surgery.surgery.commit.places import Places
from gte_surgery.surgery.commit.stops import HeldStops
from gte_surgery.surgery.commit.succession import keep_foreign, made_here, require_plain, upgrade
from gte_surgery.surgery.commit.tree import (
    StateFolder,
    is_folder,
    is_of_a_surgery,
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


def recover(target: Path, fs: Filesystem, force: bool = False) -> Recovery:
    """Settle what an interrupted surgery left in `target`, or beside it where it was the `--out` of one.

    A committed surgery goes forward, but back where another program has saved into the checkpoint since; with `force`
    forward all the same, and what was saved is what `undo` brings back. Raises `LockedError` if the surgery is still
    alive, `CheckpointError` if there is no such directory or its journal cannot be trusted, `RefusedError` without
    `force` if the journal was made by another user or on another machine, `UnfinishedSurgeryError` if the system fails
    again on the way.
    """
    target = target.resolve()
    inside, beside = state_inside(target), state_beside(target)
    outcome = Recovery.NOTHING
    try:
        if is_folder(fs, beside.path):
            outcome = _settle(beside, fs, force)
        elif not is_folder(fs, target):
            raise no_checkpoint(target, "is no directory")
        refuse_link(fs, inside.path)
        if is_folder(fs, inside.path) and fs.listdir(inside.path) != [inside.previous.name]:
            outcome = max(outcome, _settle(inside, fs, force), key=list(Recovery).index)
    except OSError as error:
        place = error.filename or target
        again = f"nothing is lost, run it again: {pasteable('recover', target)}"
        raise WriteError(f"{place}: {error.strerror}", again) from error
    return outcome


def expected_recovery(target: Path, fs: Filesystem) -> tuple[Recovery, tuple[str, ...]]:
    """What `recover` would do now, and to which files; touches nothing. Raises as it does."""
    target = target.resolve()
    for state in (state_beside(target), state_inside(target)):
        refuse_link(fs, state.path)
        if status(fs, state.journal) is not None:
            journal = read_journal(fs, state.journal)
            names = (*journal.staged, *journal.removed)
            if isinstance(journal, OldJournal) or not Places(state, journal, fs).foreign():
                return Recovery.ROLLED_FORWARD, tuple(sorted(names))
            return Recovery.ROLLED_BACK, tuple(sorted(names))
        if is_folder(fs, state.path) and _prepared(state, fs):
            return Recovery.ROLLED_BACK, ()
    return Recovery.NOTHING, ()


def _settle(state: StateFolder, fs: Filesystem, force: bool) -> Recovery:
    """Forward with a journal, back without one, under the lock."""
    with HeldStops(), locked(state, "gte-surgery recover", fs):
        if status(fs, state.journal) is None:
            return Recovery.ROLLED_BACK if roll_back(state, fs) else Recovery.NOTHING
        try:
            journal = read_journal(fs, state.journal)
            if isinstance(journal, OldJournal):
                journal = upgrade(state, journal, fs)
            if not force and not made_here(journal, fs):
                raise RefusedError(
                    f"{state.journal}: was made by another user or on another machine, and tells to move files",
                    f"look at them with {pasteable('recover', state.target, '--dry-run')}, then add --force",
                )
            require_plain(state.of_surgery(journal.nonce), (*journal.staged, *journal.removed), fs)
            return _follow(Places(state, journal, fs), force)
        except OSError as error:
            raise unfinished(state.target, f"the surgery is still not finished: {error.strerror}") from error


def _follow(places: Places, force: bool) -> Recovery:
    _require_complete(places)
    foreign = places.foreign()
    if foreign and not force:
        turn_back(places)
        return Recovery.ROLLED_BACK
    if foreign:
        places = keep_foreign(places, foreign)
    try:
        finish(places)
    except RefusedError:  # another program has saved at this very moment
        return Recovery.ROLLED_BACK
    return Recovery.ROLLED_FORWARD


def roll_back(state: StateFolder, fs: Filesystem) -> bool:
    """Clear everything that was prepared and never committed; the previous generation stays. True if there was any."""
    found = _prepared(state, fs)
    for name in found:
        remove_tree(fs, state.path / name)
    return any(not name.startswith("lock-") for name in found)


def _prepared(state: StateFolder, fs: Filesystem) -> list[str]:
    return [name for name in fs.listdir(state.path) if is_of_a_surgery(name)]


def finish(places: Places) -> None:
    """Do what the journal says, from whatever point it was left at, and remove the journal.

    Files take their places one by one: weights, then other files, then the index, the config last; then the removed
    names go. The journal goes only when all of this is durable. Raises RefusedError, with everything as it was before,
    if another program has saved meanwhile.
    """
    state, journal, fs = places.state, places.journal, places.fs
    fs.fsync_directory(state.path)
    _make_folders(state, journal, fs)
    try:
        places.take_all()
    except RefusedError:
        turn_back(places)
        raise
    _settle_folders(state, journal, fs)
    _keep_generation(state, journal, fs)
    _end(state, fs)


def turn_back(places: Places) -> None:
    """Undo what `finish` has done so far, durably, and forget the surgery."""
    state, journal, fs = places.state, places.journal, places.fs
    places.put_back()
    _settle_folders(state, journal, fs)
    fs.fsync_directory(state.path)
    fs.unlink(state.journal)
    fs.fsync_directory(state.path)
    roll_back(state, fs)


def _end(state: StateFolder, fs: Filesystem) -> None:
    roll_back(state, fs)
    fs.fsync_directory(state.path)
    if status(fs, state.journal) is not None:
        fs.unlink(state.journal)
    fs.fsync_directory(state.path)


def _make_folders(state: StateFolder, journal: Journal, fs: Filesystem) -> None:
    """Make the folders of the staged names, durably: a file moved into a folder that is lost would be lost with it."""
    for folder in reversed(_folders(tuple(journal.staged))):
        path = state.target / folder
        if folder:
            if not is_folder(fs, path):
                fs.mkdir(path)
            fs.fsync_directory(path.parent)


def _settle_folders(state: StateFolder, journal: Journal, fs: Filesystem) -> None:
    """Remove the folders that are left empty; make all names that changed durable, where they came from too."""
    for folder in _folders((*journal.staged, *journal.removed)):
        path = state.target / folder
        if folder and is_folder(fs, path) and not fs.listdir(path):
            fs.rmdir(path)
    for folder in _folders((*journal.staged, *journal.removed)):
        for root in (state.target, state.stage):
            if is_folder(fs, root / folder):
                fs.fsync_directory(root / folder)


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


def _require_complete(places: Places) -> None:
    """Raise `CheckpointError`, before anything moves, if a staged file is lost."""
    if name := places.lost():
        state, journal = places.state, places.journal
        raise CheckpointError(
            f"{state.stage / name}: is lost or changed, the surgery cannot be finished",
            f"the files as they were lie in {state.originals}" if journal.keep_undo else "",
        )
