"""What is kept for `undo`: the files that a surgery replaced or removed, and a note of what they were."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gte_surgery.errors import CheckpointError
from gte_surgery.surgery.commit.files import Record, is_file, link_or_copy
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.journal import (
    GENERATION_FILES,
    GENERATION_NAME,
    Generation,
    Journal,
    read_generation,
    write_note,
)
from gte_surgery.surgery.commit.tree import (
    StateFolder,
    fsync_file,
    fsync_tree,
    is_folder,
    make_parents,
    parents,
    state_inside,
    status,
)


def previous_generation(target: Path, fs: Filesystem) -> Generation | None:
    """What `undo` would take back, None if nothing is kept; `CheckpointError` if the note cannot be trusted."""
    folder = state_inside(target).previous
    if not is_folder(fs, folder.parent) or not is_folder(fs, folder):
        return None
    return read_generation(fs, folder)


def set_aside(state: StateFolder, journal: Journal, fs: Filesystem) -> None:
    """Keep the files that are about to go, and a note of what the surgery does, durably: they may be the only copy."""
    files = state.originals / GENERATION_FILES
    fs.mkdir(state.originals)
    fs.mkdir(files)
    kept = _hashed_before(state, {**journal.replaced, **journal.removed}, fs)
    for name in kept:
        fsync_file(fs, state.target / name)
        make_parents(fs, files, name)
        link_or_copy(fs, state.target / name, files / name)
    added = tuple(name for name in journal.staged if name not in journal.replaced)
    note = Generation(journal.command, tuple(journal.replaced), tuple(journal.removed), added, kept, journal.staged)
    write_note(fs, state.originals / GENERATION_NAME, note)
    fsync_tree(fs, state.originals, has_files=False)


def require_kept(target: Path, generation: Generation, fs: Filesystem) -> None:
    """Raise `CheckpointError` if a kept file is missing, or is not, to the byte where that is known, what was kept."""
    files = state_inside(target).previous / GENERATION_FILES
    for name in (*generation.replaced, *generation.removed):
        for folder in parents(name):
            if not is_folder(fs, files / folder):
                raise CheckpointError(f"{files / folder}: is not a folder, the previous generation is damaged")
        found, record = status(fs, files / name), generation.kept.get(name)
        if found is None or not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{files / name}: is not a file, the previous generation is damaged")
        if record is not None and not (record.is_like(found) and is_file(fs, files / name, record)):
            raise CheckpointError(
                f"{files / name}: is not what was kept, the previous generation is damaged",
                "restore it from a backup; nothing was changed",
            )


def _hashed_before(state: StateFolder, going: Mapping[str, Record], fs: Filesystem) -> dict[str, Record]:
    """The records of files that go, with the hash of those that the surgery before has made and nobody has touched."""
    try:
        before = previous_generation(state.target, fs)
    except CheckpointError:
        before = None
    made = before.made if before is not None else {}
    untouched = {name: each for name, each in made.items() if replace(each, sha256="") == going.get(name)}
    return {**going, **untouched}
