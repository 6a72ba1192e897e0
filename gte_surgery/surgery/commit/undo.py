"""Undo: the previous generation becomes the checkpoint again, by a surgery of its own.

Because that surgery keeps a generation too, undoing twice is redoing. Bytes, modes and the set of files come back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from gte_surgery.checkpoint.printable import pasteable, shown
from gte_surgery.errors import RefusedError
from gte_surgery.surgery.commit.files import is_file, link_or_copy
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.generation import previous_generation, require_kept
from gte_surgery.surgery.commit.journal import GENERATION_FILES, Generation
from gte_surgery.surgery.commit.lock import locked
from gte_surgery.surgery.commit.recovery import require_settled
from gte_surgery.surgery.commit.stops import HeldStops
from gte_surgery.surgery.commit.transaction import in_place
from gte_surgery.surgery.commit.tree import is_folder, make_parents, remove_tree, state_inside, status

__all__ = ["Undone", "drop", "previous_generation", "undo"]

UNDO, REDO = "undo", "redo"


class Undone(tuple[str, ...]):
    """Names of the files restored or removed, sorted; `is_redo` says whether an undo was taken back, not a surgery."""

    is_redo: bool

    def __new__(cls, names: Iterable[str], is_redo: bool) -> Undone:
        made = super().__new__(cls, sorted(names))
        made.is_redo = is_redo
        return made


def undo(target: Path, fs: Filesystem, *, force: bool = False, verify: bool = False) -> Undone:
    """Take back the last surgery on `target`, or the last undo.

    Raises `RefusedError` if no generation is kept, or without `force` if a file is not the one that the surgery made
    (by size and time, with `verify` by its content where that was hashed); `CheckpointError` if a kept file is missing
    or damaged, and as `in_place` does. With `force` the newer files are what the next undo brings back.
    """
    with HeldStops() as stops, in_place(target, UNDO, fs) as transaction:
        target = transaction.target
        generation = previous_generation(target, fs)
        if generation is None:
            raise RefusedError(f"{target}: nothing to undo, no previous generation is kept", _told(target))
        is_redo = generation.command == UNDO
        transaction.command = REDO if is_redo else UNDO
        files = state_inside(target).previous / GENERATION_FILES
        restored = (*generation.replaced, *generation.removed)
        removed = tuple(name for name in generation.added if status(fs, target / name) is not None)
        copies = sum(transaction.bytes_to_copy(files / name) for name in restored)
        transaction.require_space(copies, (*restored, *removed))
        look = {name: status(fs, target / name) for name in (*restored, *removed)}
        with stops.let_through():
            if not force:
                _require_unchanged(target, generation, verify, fs)
            require_kept(target, generation, fs)
            for name in restored:
                make_parents(fs, transaction.stage, name)
                link_or_copy(fs, files / name, transaction.stage / name)
        hashes = {name: record.sha256 for name, record in generation.kept.items() if record.sha256}
        planned = {name: found and (found.st_size, found.st_mtime_ns) for name, found in look.items()}
        transaction.commit(removed, hashes=hashes, planned=planned)
    return Undone((*restored, *removed), is_redo)


def drop(target: Path, fs: Filesystem) -> bool:
    """Free what is kept for undo; whether there was anything. Raises as `in_place` does."""
    target = target.resolve()
    require_settled(target, fs)
    state = state_inside(target)
    if not is_folder(fs, state.path) or not is_folder(fs, state.previous):
        return False
    with HeldStops(), locked(state, "gte-surgery undo --drop", fs):
        remove_tree(fs, state.previous)
    return True


def _require_unchanged(target: Path, generation: Generation, verify: bool, fs: Filesystem) -> None:
    """Raise `RefusedError` if somebody has worked on what the surgery made, or made anew what it removed."""
    for name in (*generation.made, *(generation.removed if generation.made else ())):
        found, record = status(fs, target / name), generation.made.get(name)
        if record is None:
            is_newer = found is not None
        elif verify and record.sha256:
            is_newer = not is_file(fs, target / name, record)
        else:
            is_newer = not record.is_like(found)
        if is_newer:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.st_mtime)) if found is not None else ""
            reason = f"was saved anew at {since}" if since else "is gone"
            raise RefusedError(
                f"{shown(name)}: {reason}, after the surgery that undo would take back",
                f"{pasteable('undo', target, '--force')} takes it back all the same and keeps what is there for redo"
                + ("" if verify else f"; {pasteable('undo', target, '--verify')} goes by content, not by time"),
            )


def _told(target: Path) -> str:
    return f"{pasteable('history', target)} tells what was done"
