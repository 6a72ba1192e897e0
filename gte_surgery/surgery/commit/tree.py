"""The folders of a surgery: where its state lies, and walks over them that never follow a symlink.

A `StateFolder` names the places; the functions list, sync and remove. When each may happen is for `transaction`
and `recovery` to say.
"""

from __future__ import annotations

import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from os import stat_result
from pathlib import Path

from gte_surgery.checkpoint.listing import JOURNAL_NAME, KEPT_FOLDER, SURGERY_FOLDER
from gte_surgery.errors import RefusedError
from gte_surgery.findings import as_word
from gte_surgery.surgery.commit.filesystem import Filesystem, closing

STATE_FOLDER = SURGERY_FOLDER

MOST_NAMES = 100_000
MOST_DEPTH = 64
"""Of what lies in a folder that a surgery works on."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The state of the surgery on `target`: all of it lies in the one folder `path`. What one surgery makes there has
    its `nonce` in its name, so that no other takes it for its own.
    """

    target: Path
    path: Path
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def lock(self) -> Path:
        """Held while a surgery runs; says whose it is."""
        return self.path / "lock"

    @property
    def stage(self) -> Path:
        """The new files."""
        return self.path / f"stage-{self.nonce}"

    @property
    def originals(self) -> Path:
        """The files about to be replaced or removed; becomes `previous`."""
        return self.path / f"originals-{self.nonce}"

    @property
    def previous(self) -> Path:
        """What `undo` brings back."""
        return self.path / KEPT_FOLDER

    @property
    def journal(self) -> Path:
        """What a committed surgery must still do."""
        return self.path / JOURNAL_NAME

    @property
    def journal_draft(self) -> Path:
        """The journal before the commit."""
        return self.path / f"journal-{self.nonce}.tmp"

    def of_surgery(self, nonce: str) -> StateFolder:
        """As the surgery `nonce` saw it."""
        return replace(self, nonce=nonce)


_STATE_NAMES = re.compile(r"(stage|originals)(-[0-9a-f]{16})?|journal(-[0-9a-f]{16})?\.(json\.)?tmp|lock-[-a-z0-9]+")
"""What surgeries, those of 0.1.0 too, make in a state folder beside lock, journal and previous generation."""


def is_of_a_surgery(name: str) -> bool:
    """Whether a name in a state folder is that of something prepared, which goes when nothing was committed."""
    return _STATE_NAMES.fullmatch(name) is not None


def state_inside(target: Path) -> StateFolder:
    """The state of a surgery in place."""
    return StateFolder(target, target / STATE_FOLDER)


def state_beside(out: Path) -> StateFolder:
    """The state of a surgery into the new directory `out`, in a hidden folder beside it."""
    return StateFolder(out, out.parent / f".{out.name}{STATE_FOLDER}")


def status(fs: Filesystem, path: Path) -> stat_result | None:
    """What `path` itself is, without following a symlink; None if nothing has that name."""
    try:
        return fs.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_folder(fs: Filesystem, path: Path) -> bool:
    """Whether `path` is a folder, and no symlink to one."""
    found = status(fs, path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def refuse_link(fs: Filesystem, folder: Path) -> None:
    """Raise `RefusedError` if the name of a folder of ours is taken by anything but a folder."""
    found = status(fs, folder)
    if found is not None and not stat.S_ISDIR(found.st_mode):
        kind = "a symlink" if stat.S_ISLNK(found.st_mode) else "no folder"
        raise RefusedError(f"{folder}: is {kind}, wanted a folder", "remove it, if it is not yours")


def walk(fs: Filesystem, root: Path) -> Iterator[tuple[str, stat_result]]:
    """Relative names and status of everything below `root`: what a folder holds first, then the folder itself.

    Raises `RefusedError` for more, or deeper, than any surgery makes: what lies there is not ours.
    """
    pending: list[tuple[str, stat_result | None]] = [("", None)]
    count = 0
    while pending:
        name, folder = pending.pop()
        if folder is not None:
            yield name, folder
            continue
        below = [(f"{name}/{entry}" if name else entry) for entry in fs.listdir(root / name)]
        count += len(below)
        if count > MOST_NAMES or name.count("/") > MOST_DEPTH:
            raise RefusedError(
                f"{root}: holds more than {MOST_NAMES} files, or folders {MOST_DEPTH} deep, no surgery does that",
                f"look at it, and remove it if it is not yours: `rm -r {as_word(str(root))}`",
            )
        for each in reversed(below):
            found = fs.lstat(root / each)
            pending.append((each, found))
            if stat.S_ISDIR(found.st_mode):
                pending.append((each, None))


def remove_tree(fs: Filesystem, root: Path) -> None:
    """Remove `root` and everything below it, if it is there; a symlink is removed, not followed. That another process
    removes a file first, as it does with its draft of a lock, is no failure.
    """
    found = status(fs, root)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        with suppress(FileNotFoundError):
            fs.unlink(root)
        return
    for name, entry in list(walk(fs, root)):
        if stat.S_ISDIR(entry.st_mode):
            fs.rmdir(root / name)
        else:
            fs.unlink(root / name)
    fs.rmdir(root)


def fsync_file(fs: Filesystem, path: Path) -> None:
    """Make the content of a closed file durable."""
    with closing(fs, fs.open_own(path)) as descriptor:
        fs.fsync(descriptor)


def fsync_tree(fs: Filesystem, root: Path, has_files: bool = True) -> None:
    """Make all names below `root` durable, and with `has_files` the content of the files; the name of `root` itself is
    left to the caller.
    """
    for name, found in walk(fs, root):
        if stat.S_ISDIR(found.st_mode):
            fs.fsync_directory(root / name)
        elif has_files:
            fsync_file(fs, root / name)
    fs.fsync_directory(root)


def make_parents(fs: Filesystem, root: Path, name: str) -> None:
    """Make the folders that the relative `name` lies in, below an existing `root`."""
    folder = root
    for part in name.split("/")[:-1]:
        folder /= part
        if not is_folder(fs, folder):
            fs.mkdir(folder)


def parents(name: str) -> tuple[str, ...]:
    """The folders of a relative name, innermost first, the root as "": `a/b/c` -> `a/b`, `a`, ``."""
    parts = name.split("/")[:-1]
    return tuple("/".join(parts[:depth]) for depth in range(len(parts), -1, -1))
