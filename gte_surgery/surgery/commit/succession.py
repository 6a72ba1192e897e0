"""Journals that this process did not write: of an older release, of another machine, of a checkpoint that another
program has saved into since.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import replace

from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.surgery.commit.files import Record, link_or_copy, record_of, sha256_of
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.journal import (
    GENERATION_FILES,
    GENERATION_NAME,
    Journal,
    OldJournal,
    read_generation,
    write_note,
)
from gte_surgery.surgery.commit.places import Places
from gte_surgery.surgery.commit.tree import StateFolder, make_parents, parents, status

OLD_NONCE = "0" * 16


def maker(fs: Filesystem) -> str:
    """Who makes a journal here: a user of a machine."""
    holder = fs.holder()
    return f"{os.geteuid()}@{holder.machine or holder.host}"


def made_here(journal: Journal, fs: Filesystem) -> bool:
    """Whether this user made the journal on this machine; 0.1.0 did not say."""
    return journal.made_by == maker(fs)


def upgrade(state: StateFolder, old: OldJournal, fs: Filesystem) -> Journal:
    """A journal of 0.1.0 as today's, on the disk too. Raises `CheckpointError` if a staged file is lost."""
    now = state.of_surgery(OLD_NONCE)
    for name, path in (("stage", now.stage), ("originals", now.originals)):
        if status(fs, state.path / name) is not None:
            fs.replace(state.path / name, path)
    require_plain(now, (*old.staged, *old.removed), fs)
    staged, replaced, removed = {}, {}, {}
    for name, size in old.staged.items():
        is_waiting = status(fs, now.stage / name) is not None
        place = (now.stage if is_waiting else now.target) / name
        found = status(fs, place)
        if found is None or found.st_size != size:
            raise CheckpointError(f"{place}: is lost or changed, the surgery cannot be finished")
        staged[name] = record_of(found, sha256_of(fs, place))
        before = status(fs, (now.target if is_waiting else now.originals / GENERATION_FILES) / name)
        if before is not None:
            replaced[name] = record_of(before)
    for name in old.removed:
        make_parents(fs, now.stage, name)
        found = status(fs, now.target / name) or status(fs, now.originals / GENERATION_FILES / name)
        removed[name] = record_of(found) if found is not None else Record(0, 0)
    journal = Journal(old.command, OLD_NONCE, staged, replaced, removed, old.keep_undo, maker(fs))
    _rewrite(now, journal, fs)
    return journal


def require_plain(state: StateFolder, names: Iterable[str], fs: Filesystem) -> None:
    """Raise `CheckpointError`, before anything moves, if a symlink would lead us astray."""
    for name in names:
        for root in (state.stage, state.target):
            for folder in (*parents(name), name):
                found = status(fs, root / folder)
                if found is not None and stat.S_ISDIR(found.st_mode) is (folder == name):
                    kind = "a folder" if folder == name else "no folder"
                    raise CheckpointError(f"{root / folder}: is {kind}, the journal cannot be followed")


def keep_foreign(places: Places, names: list[str]) -> Places:
    """The same surgery, but of what another program has saved under `names` since: that is what `undo` brings back."""
    state, journal, fs = places.state, places.journal, places.fs
    if not journal.keep_undo:
        raise RefusedError(
            f"{names[0]}: was saved by another program since, and this surgery keeps nothing for undo",
            f"{pasteable('recover', state.target)} goes back to the checkpoint with that file",
        )
    generation = read_generation(fs, state.originals)
    was = {**journal.replaced, **journal.removed}
    for name in names:
        place = (state.target if places.is_waiting(name) else state.stage) / name
        kept = state.originals / GENERATION_FILES / name
        found = status(fs, place)
        if found is None:
            continue
        if status(fs, kept) is not None:
            fs.unlink(kept)
        make_parents(fs, state.originals / GENERATION_FILES, name)
        link_or_copy(fs, place, kept)
        was[name] = record_of(found)
    fs.unlink(state.originals / GENERATION_NAME)
    replaced, added = sorted(journal.staged.keys() & was.keys()), sorted(journal.staged.keys() - was.keys())
    note = replace(generation, replaced=tuple(replaced), added=tuple(added), kept=was)
    write_note(fs, state.originals / GENERATION_NAME, note)
    changed = replace(
        journal,
        replaced={name: was[name] for name in journal.staged if name in was},
        removed={name: was[name] for name in journal.removed},
    )
    _rewrite(state, changed, fs)
    return Places(state, changed, fs)


def _rewrite(state: StateFolder, journal: Journal, fs: Filesystem) -> None:
    if status(fs, state.journal_draft) is not None:
        fs.unlink(state.journal_draft)
    write_note(fs, state.journal_draft, journal)
    fs.fsync_directory(state.path)
    fs.replace(state.journal_draft, state.journal)
    fs.fsync_directory(state.path)
