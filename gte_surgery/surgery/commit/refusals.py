"""What a surgery refuses to touch: files that belong to others as well, folders that it cannot write, taken names.

All of it is asked before the commit point, so that nothing behind it can fail for a reason that could be known.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shlex import quote

from gte_surgery.checkpoint.hub.address import Address, address_of
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.findings import as_word
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.journal import name_fault
from gte_surgery.surgery.commit.tree import STATE_FOLDER, StateFolder, is_folder, parents, status, walk

_ANOTHER = "nothing that is there is overwritten"


def elsewhere(target: Path, message: str) -> RefusedError:
    """A refusal to change `target` in place, which says that a new directory would do."""
    is_snapshot = target.parent.name == "snapshots" and target.parent.parent.name.startswith("models--")
    name = target.parent.parent.name.rpartition("--")[2] if is_snapshot else target.name  # of models--OWNER--NAME
    out = _free(Path(f"{name}-edited"))
    return RefusedError(message, "write the result elsewhere with --out DIR", meant=f"--out {quote(str(out))}")


def require_elsewhere(address: Address, out: Path | None, fs: Filesystem) -> None:
    """Raise `UsageError` for a surgery on a hub that has no `out`, `RefusedError` for one that is taken."""
    if out is None:
        free = _free(Path(f"{address.repository.rpartition('/')[2]}-edited"))
        message = f"{address}: lies on a hub, where nothing is changed; a surgery on it needs --out"
        raise UsageError(message, "write the result to a new directory", meant=f"--out {quote(str(free))}")
    require_free(placed(out), fs)


def placed(out: Path) -> Path:
    """Where a new directory of this name comes to lie. As the system reads it: links on the way are followed before a
    `..` behind them, and what is itself a link is not.
    """
    if out.name in ("", ".."):
        return out.resolve()
    if ".." in out.parent.parts and not out.parent.is_dir():  # `absent/..` leads nowhere
        raise _no_folder(out.parent)
    return out.parent.resolve() / out.name


def _no_folder(folder: Path) -> RefusedError:
    return RefusedError(f"{folder}: is no directory", f"make it first: `mkdir -p {as_word(str(folder))}`")


def on_this_disk(out: Path | str) -> Path:
    """Where a surgery writes; raise `UsageError` for an address on a hub."""
    if (address := address_of(out)) is not None:
        raise UsageError(f"{address}: lies on a hub, where nothing is written", "name a new directory on this disk")
    return Path(out)


def _free(path: Path) -> Path:
    """The path, or the first of path-2, path-3, … that nothing has."""
    if not path.name:
        return path
    names = (path.with_name(f"{path.name}-{number}") for number in range(2, 1000))
    return path if not os.path.lexists(path) else next((name for name in names if not os.path.lexists(name)), path)


def require_free(out: Path, fs: Filesystem) -> int:
    """The mode for the new directory; `RefusedError` unless nothing, or an empty directory, has its name, and where
    surgeries keep what is theirs, and remove it.
    """
    if not is_folder(fs, out.parent):
        raise _no_folder(out.parent)
    if any(part.endswith(STATE_FOLDER) for part in out.parts):
        raise RefusedError(f"{out}: lies where surgeries keep what is theirs", "write the result elsewhere")
    found = status(fs, out)
    if found is None:
        return 0o777
    if not stat.S_ISDIR(found.st_mode):
        kind = "a symlink" if stat.S_ISLNK(found.st_mode) else "no directory"
        raise RefusedError(f"{out}: exists and is {kind}", _ANOTHER, str(out), str(_free(out)))
    if fs.listdir(out):
        raise RefusedError(f"{out}: exists and is not empty", _ANOTHER, str(out), str(_free(out)))
    return stat.S_IMODE(found.st_mode)


def require_replaceable(state: StateFolder, name: str, fs: Filesystem) -> None:
    """Raise `RefusedError` if the relative `name` cannot be replaced, removed or added in place without harm."""
    if fault := name_fault(name):
        raise RefusedError(f"{name}: {fault}")
    for folder in parents(name):
        _require_ordinary_folder(state, folder, fs)
    path = state.target / name
    found = status(fs, path)
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        kind = "a symlink, perhaps into a hub cache" if stat.S_ISLNK(found.st_mode) else "no regular file"
        raise elsewhere(state.target, f"{path}: is {kind}")
    if found.st_nlink > 1:
        raise elsewhere(state.target, f"{path}: has {found.st_nlink} hard links, its bytes belong to others too")
    if fs.is_mount_point(path):
        raise elsewhere(state.target, f"{path}: is a mount point, no file can take its place")
    require_mutable(path, fs)
    folder_found = fs.lstat(path.parent)
    if folder_found.st_mode & stat.S_ISVTX and os.geteuid() not in (0, folder_found.st_uid, found.st_uid):
        raise elsewhere(state.target, f"{path}: belongs to someone else, in a sticky folder")


def _require_ordinary_folder(state: StateFolder, folder: str, fs: Filesystem) -> None:
    """A folder that is there must be a writable one of the same file system: files are renamed into it."""
    path = state.target / folder
    found = status(fs, path)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise elsewhere(state.target, f"{path}: is no folder of this checkpoint")
    if found.st_dev != fs.lstat(state.target).st_dev:
        raise elsewhere(state.target, f"{path}: lies on another file system")
    if not fs.is_writable(path):
        raise elsewhere(state.target, f"{path}: is not writable")
    require_mutable(path, fs)


def require_mutable(path: Path, fs: Filesystem) -> None:
    """Raise `RefusedError` if a file or folder is marked so that it cannot be renamed, or names in it not removed."""
    if fs.is_immutable(path):
        raise RefusedError(
            f"{path}: is marked immutable or append-only",
            "unmark it with `chattr -i -a`, or write the result elsewhere with --out DIR",
        )


def require_disposable(state: StateFolder, fs: Filesystem) -> None:
    """Raise `RefusedError` if the generation kept for `undo`, which goes at the end of the next surgery, cannot go."""
    if not is_folder(fs, state.previous):
        return
    for name, found in (*walk(fs, state.previous), ("", fs.lstat(state.previous))):
        path = state.previous / name
        require_mutable(path, fs)
        if stat.S_ISDIR(found.st_mode) and not fs.is_writable(path):
            raise elsewhere(state.target, f"{path}: what is kept for undo is another user's and cannot be removed")


def changed(name: str) -> RefusedError:
    """The error for a file that is not what it was when the plan was made."""
    return RefusedError(
        f"{name}: changed since the plan was made, must stay as it was until the surgery is done",
        "wait until no other program writes to the checkpoint, then repeat the command",
    )
