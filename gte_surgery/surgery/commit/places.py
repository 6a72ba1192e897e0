"""How new files take the places of old ones so that what another program saved meanwhile is seen, and comes back.

Where the system can let two names change places, what stood there lies in the stage afterwards, and is looked at: if it
is not what the surgery set out to replace, all names change back. Elsewhere the look comes first, and what another
program does between the look and the rename, one system call later, is lost to it.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import suppress
from os import stat_result
from pathlib import Path

from gte_surgery.surgery.commit.files import Record, is_file, is_same, link_or_copy
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.journal import GENERATION_FILES, Journal
from gte_surgery.surgery.commit.refusals import changed
from gte_surgery.surgery.commit.tree import StateFolder, status

_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})

_BACK = ".back"

Look = Mapping[str, stat_result | None]
"""What each name stood for, None for nothing, when the surgery last looked."""


class Places:
    """The names of one committed surgery. `look` is what its own process saw last; after a crash there is none, and
    what each name stands for tells how far it came.
    """

    def __init__(self, state: StateFolder, journal: Journal, fs: Filesystem, look: Look | None = None) -> None:
        self.state, self.journal, self.fs = state.of_surgery(journal.nonce), journal, fs
        self._look = look
        self._taken: set[str] = set()
        if look is None:
            self._taken.update(filter(self._was_taken, self.names()))

    def names(self) -> list[str]:
        """All names in the order in which they change: weights, other files, the index, the config; what goes last."""
        return [*sorted(self.journal.staged, key=lambda name: (_rank(name), name)), *self.journal.removed]

    def is_waiting(self, name: str) -> bool:
        """Whether nothing has been done to a name yet."""
        return name not in self._taken

    def take_all(self) -> None:
        """Let every name become what the surgery wants. Raises RefusedError if another program has changed one, which
        is then as that program left it.
        """
        for name in self.names():
            if name not in self._taken:
                self._take(name)
        for name in (*self.journal.replaced, *self.journal.removed):
            found = self._came_out(name)
            if found is not None:  # who had it open may have written to it meanwhile
                self._require_expected(name, found)

    def put_back(self) -> None:
        """Let every name be again what it was before the surgery, or what another program has made of it since."""
        for name in reversed(self.names()):
            if name in self._taken:
                if name in self.journal.removed:
                    self._bring_back(name)
                elif self._is_new(name, self._target(name)):
                    self._give_back(name)
                self._taken.discard(name)

    def lost(self) -> str:
        """After a crash: a name that can go neither forward nor back; empty if there is none."""
        for name in self.journal.staged:
            stage, target = status(self.fs, self._stage(name)), status(self.fs, self._target(name))
            old, is_there = self._wanted(name), self._is_new(name, self._target(name))
            is_saved_over = target is not None and (old is None or not old.is_like(target))
            if stage is None and not (is_there or is_saved_over):
                return name
            is_old = old is not None and old.is_like(stage)
            if name in self._taken and stage is not None and not (is_old or is_there):
                return name
        return ""

    def foreign(self) -> list[str]:
        """After a crash: names that another program has changed since, and that going forward would take from it."""
        return [name for name in self.names() if self._is_foreign(name)]

    def _is_foreign(self, name: str) -> bool:
        wanted, target = self._wanted(name), status(self.fs, self._target(name))
        if name in self._taken:
            came = self._came_out(name)
            return came is not None and (wanted is None or not wanted.is_like(came))
        if target is None:
            return wanted is not None and name not in self.journal.removed
        return wanted is None or not wanted.is_like(target)

    def _came_out(self, name: str) -> stat_result | None:
        """What lies in the stage and is not the new file: what stood there before, or what another program saved."""
        is_new = name in self.journal.staged and self._is_new(name, self._stage(name))
        return None if is_new else status(self.fs, self._stage(name))

    def _was_taken(self, name: str) -> bool:
        if name in self.journal.removed:
            return status(self.fs, self._target(name)) is None
        stage, target = status(self.fs, self._stage(name)), status(self.fs, self._target(name))
        if self._is_new(name, self._stage(name)) and self._is_new(name, self._target(name)):
            # a rename between folders that a power loss left half done; or a new file with the content of the old one
            return is_same(stage, target) or self.journal.staged[name].is_like(target)
        return not self._is_new(name, self._stage(name))

    def _take(self, name: str) -> None:
        stage, target = self._stage(name), self._target(name)
        if name in self.journal.removed:
            self._take_out(name)
        elif name not in self.journal.replaced:
            self._move(name)
        elif self._exchange(name):
            self._taken.add(name)
            self._require_expected(name, status(self.fs, stage))
        else:
            self._require_expected(name, status(self.fs, target))
            self.fs.replace(stage, target)
        self._taken.add(name)

    def _exchange(self, name: str) -> bool:
        """Let stage and checkpoint change what they have under a name; False where the system cannot."""
        try:
            self.fs.exchange(self._stage(name), self._target(name))
        except FileNotFoundError:
            if status(self.fs, self._stage(name)) is None:
                raise
            raise changed(name) from None
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            return False
        return True

    def _take_out(self, name: str) -> None:
        stage, target = self._stage(name), self._target(name)
        if is_same(status(self.fs, stage), status(self.fs, target)):
            self.fs.unlink(target)  # a rename that a power loss left half done
            return
        try:
            self.fs.replace(target, stage)
        except FileNotFoundError:
            raise changed(name) from None
        self._taken.add(name)
        self._require_expected(name, status(self.fs, stage))

    def _move(self, name: str) -> None:
        stage, target = self._stage(name), self._target(name)
        if is_same(status(self.fs, stage), status(self.fs, target)):
            self.fs.unlink(stage)
            return
        try:
            self._move_to_nothing(stage, target)
        except FileExistsError:
            raise changed(name) from None

    def _move_to_nothing(self, source: Path, destination: Path) -> None:
        try:
            self.fs.move(source, destination)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            if status(self.fs, destination) is not None:
                raise FileExistsError(errno.EEXIST, "exists", str(destination)) from None
            self.fs.replace(source, destination)

    def _bring_back(self, name: str) -> None:
        with suppress(FileExistsError):  # another program has made a new file of that name
            self._move_to_nothing(self._stage(name), self._target(name))

    def _give_back(self, name: str) -> None:
        """The new file goes, and whatever it had taken the place of comes back."""
        if name not in self.journal.replaced:
            self.fs.unlink(self._target(name))
        elif self._came_out(name) is not None:
            if not self._exchange(name):  # the disk hangs on another system than at the death
                self.fs.replace(self._stage(name), self._target(name))
            elif not self._is_new(name, self._stage(name)):
                self._exchange(name)  # another program saved between look and exchange: its file stays
        else:
            kept, back = self.state.originals / GENERATION_FILES / name, self.state.stage / _BACK
            if status(self.fs, back) is not None:
                self.fs.unlink(back)
            link_or_copy(self.fs, kept, back)
            self.fs.replace(back, self._target(name))

    def _is_new(self, name: str, place: Path) -> bool:
        record = self.journal.staged[name]
        if self._look is not None:
            return record.is_like(status(self.fs, place))
        return is_file(self.fs, place, record)

    def _wanted(self, name: str) -> Record | None:
        return self.journal.replaced.get(name) or self.journal.removed.get(name)

    def _require_expected(self, name: str, found: stat_result | None) -> None:
        """Raises RefusedError if what stood there is not what the surgery set out to replace or remove."""
        wanted = self._wanted(name)
        seen = self._look.get(name) if self._look is not None else found
        if wanted is None or not wanted.is_like(found) or not is_same(seen, found):
            raise changed(name)

    def _stage(self, name: str) -> Path:
        return self.state.stage / name

    def _target(self, name: str) -> Path:
        return self.state.target / name


def can_exchange(state: StateFolder, fs: Filesystem) -> bool:
    """Whether names can change places here: tried with the stage, before the commit, and an empty folder."""
    fs.mkdir(state.originals)
    try:
        for _ in range(2):
            fs.exchange(state.stage, state.originals)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    finally:
        fs.rmdir(state.originals)
    return True


def _rank(name: str) -> int:
    if name.endswith(".index.json"):
        return 2
    if name == "config.json":
        return 3
    return 0 if name.endswith((".safetensors", ".bin")) else 1
