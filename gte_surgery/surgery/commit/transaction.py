"""A surgery that is exactly not done or exactly done, whatever stops it.

Everything new is written into a *stage* and made durable. In place, the originals are then made durable and hard-linked
aside, and a journal is renamed into place: that rename is the commit point. Before it the checkpoint has not been
touched; after it `finish` (or later `recover`, by the same code) exchanges file by file, and changes all back if it
finds that another program has saved one meanwhile. Into a new directory, the stage itself is renamed
to it, and that rename is the commit point.

What is durable when: `commit` returns after the new files, their names, the previous generation and the absence of the
journal are on the disk. Whoever reads the directory during an in-place commit, a few milliseconds, sees each file
whole but may see new weights beside the old config, never the reverse; a reader that asks `require_settled` is told.
Files that are already open keep their old content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from gte_surgery.checkpoint.nearby import no_checkpoint
from gte_surgery.errors import RefusedError, UsageError, WriteError
from gte_surgery.findings import as_word
from gte_surgery.surgery.commit.files import HASHED_ANYWAY, bytes_to_copy, is_same, record_of, sha256_of
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.generation import set_aside
from gte_surgery.surgery.commit.journal import Journal, name_fault, write_note
from gte_surgery.surgery.commit.lock import locked, require_held
from gte_surgery.surgery.commit.places import Look, Places, can_exchange
from gte_surgery.surgery.commit.recovery import finish, roll_back, unfinished
from gte_surgery.surgery.commit.refusals import (
    changed,
    elsewhere,
    placed,
    require_disposable,
    require_free,
    require_mutable,
    require_replaceable,
)
from gte_surgery.surgery.commit.stops import HeldStops
from gte_surgery.surgery.commit.succession import maker
from gte_surgery.surgery.commit.tree import (
    StateFolder,
    fsync_tree,
    is_folder,
    make_parents,
    state_beside,
    state_inside,
    status,
    walk,
)

Planned = Mapping[str, tuple[int, int] | None]
"""Size in bytes and time of the last change in nanoseconds of each name; None where there was nothing."""


class Transaction:
    """One surgery under its lock. Files made below `stage` become the checkpoint's when `commit` is called."""

    def __init__(self, state: StateFolder, command: str, fs: Filesystem, is_in_place: bool) -> None:
        self._state = state
        self.command = command
        self._fs = fs
        self._is_in_place = is_in_place
        self.is_committed = False

    @property
    def filesystem(self) -> Filesystem:
        """Through which all of it goes."""
        return self._fs

    @property
    def target(self) -> Path:
        """The directory under surgery, resolved."""
        return self._state.target

    @property
    def stage(self) -> Path:
        """The folder in which new files are made, in subfolders where their names have any."""
        return self._state.stage

    def require_space(self, needed: int, set_aside: Collection[str] = ()) -> None:
        """Raise `RefusedError` if the disk of the stage has fewer than `needed` bytes free.

        `set_aside` names files that are kept for `undo`: where they cannot be hard-linked they are copied, and count.
        """
        if self._is_in_place:
            needed += sum(self.bytes_to_copy(self.target / name) for name in set_aside)
        free = self._fs.free_bytes(self.stage)
        if free < needed:
            quoted = as_word(str(self._state.target.parent))
            raise RefusedError(
                f"{self._state.target}: the disk has {free} bytes free, the surgery needs {needed}",
                f"free some space, or write the result to another disk with --out DIR; `df -h {quoted}` shows the disk",
            )

    def bytes_to_copy(self, path: Path) -> int:
        """What it takes of the disk to give a file a second name: its size where that must be a copy, otherwise 0."""
        # Whatever stops us between link and unlink, the place of the originals is cleared by whoever comes next.
        return bytes_to_copy(self._fs, path, self._state.originals)

    def require_replaceable(self, names: Collection[str]) -> None:
        """Raise `RefusedError` if one of the relative `names` cannot be replaced or removed without harm.

        A symlink or a file with another hard link belongs to others as well (a hub cache); a folder that is a symlink,
        on another file system or not writable cannot take part. `commit` asks too; ask before long work.
        """
        if self._is_in_place:
            require_disposable(self._state, self._fs)
            for name in names:
                require_replaceable(self._state, name, self._fs)

    def commit(
        self,
        removed: Collection[str] = (),
        keep_undo: bool = True,
        hashes: Mapping[str, str] = MappingProxyType({}),
        planned: Planned | None = None,
    ) -> None:
        """Make the staged files, and the absence of the `removed` ones, the checkpoint, durably.

        Nothing staged and nothing removed: nothing happens. `keep_undo` keeps what is replaced or removed for `undo`;
        without it an older generation is dropped as well, since it would no longer fit. `hashes` are those SHA-256 of
        staged files that are known; `planned` says what the names stood for when the surgery was planned.

        Raises `RefusedError` and `OSError` with nothing changed, also when another program saves meanwhile,
        `UnfinishedSurgeryError` when the system fails after the commit point. An interrupt (Ctrl-C) meanwhile is
        raised once all is done.
        """
        with HeldStops():
            staged = _staged(self.stage, self._fs)
            if not staged and not removed:
                return
            if self._is_in_place:
                self._commit_in_place(_Wish(staged, tuple(dict.fromkeys(removed)), keep_undo, hashes), planned)
            elif removed:
                raise UsageError(f"{self._state.target}: is new, nothing can be removed from it")
            else:
                self._commit_new()

    def _commit_new(self) -> None:
        state, fs = self._state, self._fs
        fsync_tree(fs, state.stage)
        fs.replace(state.stage, state.target)
        self.is_committed = True
        try:
            fs.fsync_directory(state.target.parent)
        except OSError as error:
            failure = unfinished(state.target, f"is written whole, but may not be on the disk: {error.strerror}")
            failure.hint = "run `sync`; if that fails too, the disk is failing"
            raise failure from error

    def _commit_in_place(self, wish: _Wish, planned: Planned | None) -> None:
        state, fs = self._state, self._fs
        for name in wish.removed:
            if name in wish.staged or name_fault(name) or status(fs, state.target / name) is None:
                raise RefusedError(f"{name}: cannot be removed, it is {'new' if name in wish.staged else 'not there'}")
        self.require_replaceable((*wish.staged, *wish.removed))
        look = {name: status(fs, state.target / name) for name in (*wish.staged, *wish.removed)}
        if planned is not None:
            _require_as_planned(look, planned)
        for name in wish.removed:
            make_parents(fs, state.stage, name)
        fsync_tree(fs, state.stage)
        journal = _journal(state, self.command, wish, look, fs)
        if wish.keep_undo or not can_exchange(state, fs):  # what a rename goes over can come back from there alone
            set_aside(state, journal, fs)
        write_note(fs, state.journal_draft, journal)
        fs.fsync_directory(state.path)
        self._finish(Places(state, journal, fs, look), look)

    def _finish(self, places: Places, look: Look) -> None:
        """Pass the commit point and do the rest; the journal on disk, not an exception, says whether it was passed.

        The last look is right before it. What another program saves between the two is found when its file is taken
        out of its place.
        """
        state, fs = self._state, self._fs
        require_held(state, fs)
        for name, seen in look.items():
            if not is_same(seen, status(fs, state.target / name)):
                raise changed(name)
        try:
            fs.replace(state.journal_draft, state.journal)
        except OSError:
            if not _may_be_committed(state, fs):
                raise
        self.is_committed = True
        try:
            finish(places)
        except RefusedError:
            self.is_committed = False
            raise
        except OSError as error:
            raise unfinished(state.target, f"the surgery is committed but not finished: {error.strerror}") from error


class _Wish(NamedTuple):
    """What a commit is asked for: staged names with their status, names to be removed."""

    staged: Mapping[str, os.stat_result]
    removed: tuple[str, ...]
    keep_undo: bool
    hashes: Mapping[str, str]


def _journal(state: StateFolder, command: str, wish: _Wish, look: Look, fs: Filesystem) -> Journal:
    staged = {}
    for name, found in wish.staged.items():
        sha256 = wish.hashes.get(name, "")
        if not sha256 and found.st_size <= HASHED_ANYWAY:
            sha256 = sha256_of(fs, state.stage / name)
        staged[name] = record_of(found, sha256)
    before = {name: record_of(found) for name, found in look.items() if found is not None}
    replaced = {name: before[name] for name in staged if name in before}
    removed = {name: before[name] for name in wish.removed}
    return Journal(command, state.nonce, staged, replaced, removed, wish.keep_undo, maker(fs))


def _require_as_planned(look: Look, planned: Planned) -> None:
    for name, found in look.items():
        seen = None if found is None else (found.st_size, found.st_mtime_ns)
        if name in planned and planned[name] != seen:
            raise changed(name)


@contextmanager
def in_place(target: Path, command: str, fs: Filesystem) -> Iterator[Transaction]:
    """A surgery on the directory `target` itself; `command` is what others are told is at work.

    Leaving the block without `commit`, or by any exception, rolls back. Raises `LockedError`, `RefusedError` and
    `UnfinishedSurgeryError` before anything is written, `WriteError` for any `OSError` before the commit point.
    """
    target = target.resolve()
    state = state_inside(target)
    transaction = Transaction(state, command, fs, is_in_place=True)
    with _plain_failures(transaction):
        if not is_folder(fs, target):
            raise no_checkpoint(target, "is no directory")
        if not fs.is_writable(target):
            raise elsewhere(target, f"{target}: is not writable")
        require_mutable(target, fs)
        with locked(state, command, fs):
            if status(fs, state.journal) is not None:
                raise unfinished(target, "a surgery was committed but not finished")
            with _cleared(state, fs):
                fs.mkdir(state.stage)
                fs.fsync_directory(target)
                yield transaction


@contextmanager
def into(out: Path, command: str, fs: Filesystem) -> Iterator[Transaction]:
    """A surgery that writes the new directory `out`: staged beside it, then renamed to it whole.

    `out` must not exist, or be an empty directory, whose mode is kept. Rolls back and raises as `in_place` does.
    """
    out = placed(out)
    state = state_beside(out)
    transaction = Transaction(state, command, fs, is_in_place=False)
    with _plain_failures(transaction):
        require_free(out, fs)
        with locked(state, command, fs):
            mode = require_free(out, fs)
            with _cleared(state, fs):
                fs.mkdir(state.stage, mode)
                yield transaction


@contextmanager
def _plain_failures(transaction: Transaction) -> Iterator[None]:
    """Tell a failure of the operating system before the commit as what it is: nothing was changed."""
    try:
        yield
    except OSError as error:
        if transaction.is_committed:
            raise
        place = error.filename or transaction.target
        raise WriteError(f"{place}: {error.strerror}; nothing was changed") from error


@contextmanager
def _cleared(state: StateFolder, fs: Filesystem) -> Iterator[None]:
    """Clear what a dead surgery left, and at the end what this one leaves, unless a journal says it is committed.

    What cannot be cleared now is cleared by the next surgery.
    """
    try:
        roll_back(state, fs)
        yield
    finally:
        if not _may_be_committed(state, fs):
            with suppress(OSError):
                roll_back(state, fs)


def _may_be_committed(state: StateFolder, fs: Filesystem) -> bool:
    """Whether there is a journal; also where the disk does not answer."""
    try:
        return status(fs, state.journal) is not None
    except OSError:
        return True


def _staged(stage: Path, fs: Filesystem) -> dict[str, os.stat_result]:
    """Names and status of the staged files; `RefusedError` for anything that is neither file nor folder."""
    sizes = {}
    for name, found in walk(fs, stage):
        if stat.S_ISREG(found.st_mode):
            sizes[name] = found
        elif not stat.S_ISDIR(found.st_mode):
            raise RefusedError(f"{stage / name}: is no regular file, it cannot be committed")
    return sizes
