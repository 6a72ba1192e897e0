"""Undo: the previous generation becomes the checkpoint again, by a surgery of its own.

Because that surgery keeps a generation too, undoing twice is redoing. Bytes, modes and the set of files come back.
"""

from __future__ import annotations

import stat
from pathlib import Path

from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.journal import GENERATION_FILES, Generation, read_generation
from gte_surgery.surgery.commit.stops import HeldStops
from gte_surgery.surgery.commit.transaction import in_place
from gte_surgery.surgery.commit.tree import is_folder, link_or_copy, make_parents, parents, state_inside, status


def previous_generation(target: Path, fs: Filesystem) -> Generation | None:
    """What `undo` would take back, None if nothing is kept; `CheckpointError` if the note cannot be trusted."""
    folder = state_inside(target).previous
    if not is_folder(fs, folder.parent) or not is_folder(fs, folder):
        return None
    return read_generation(fs, folder)


def undo(target: Path, fs: Filesystem, command: str) -> tuple[str, ...]:
    """Take back the last surgery on `target` and return the names of all files restored or removed, sorted.

    Raises `RefusedError` if no generation is kept, `CheckpointError` if a kept file is missing, and as `in_place` does.
    """
    with HeldStops() as stops, in_place(target, command, fs) as transaction:
        target = transaction.target
        generation = previous_generation(target, fs)
        if generation is None:
            raise RefusedError(f"{target}: nothing to undo, no previous generation is kept", _told(target))
        files = state_inside(target).previous / GENERATION_FILES
        restored = (*generation.replaced, *generation.removed)
        removed = tuple(name for name in generation.added if status(fs, target / name) is not None)
        copies = sum(transaction.bytes_to_copy(files / name) for name in restored)
        transaction.require_space(copies, (*restored, *removed))
        with stops.let_through():
            for name in restored:
                _require_kept(files, name, fs)
                make_parents(fs, transaction.stage, name)
                link_or_copy(fs, files / name, transaction.stage / name)
        transaction.commit(removed)
    return tuple(sorted((*restored, *removed)))


def _told(target: Path) -> str:
    return f"{pasteable('history', target)} tells what was done"


def _require_kept(files: Path, name: str, fs: Filesystem) -> None:
    for folder in parents(name):
        if not is_folder(fs, files / folder):
            raise CheckpointError(f"{files / folder}: is not a folder, the previous generation is damaged")
    found = status(fs, files / name)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise CheckpointError(f"{files / name}: is not a file, the previous generation is damaged")
