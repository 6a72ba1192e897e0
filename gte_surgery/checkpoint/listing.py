"""Which files lie in a checkpoint directory, and which of its links may be followed.

Folders are walked without following links and without recursion; nothing is opened.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gte_surgery.checkpoint.files import FileEntry, entry_of, reason_of
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.source import path_of

SURGERY_FOLDER = ".gte-surgery"
"""In a checkpoint: all state of a surgery."""
JOURNAL_NAME, JOURNAL_FORMATS = "journal.json", (1, 2)
"""In that folder: what a committed surgery must still do, and the formats that are read; the last is written."""
KEPT_FOLDER, KEPT_FILES = "previous", "files"
"""In that folder: what undo brings back, and in it the files themselves."""
_PASSED_OVER = (SURGERY_FOLDER, ".git")
"""Of the directory itself; what a folder below keeps under such a name is a file like any other."""


class Listing(NamedTuple):
    """All files below `root`, by name and sorted by it; `unreadable` maps what could not be listed to the reason.

    Symlinks are listed as what they lead to; a link to a folder is one entry that is not regular. `links_out` names
    the links that lead neither into the directory itself nor to the blobs of the hub cache that it is a snapshot in.
    """

    root: Path
    files: Mapping[str, FileEntry]
    unreadable: Mapping[str, str]
    links_out: frozenset[str]


def list_directory(root: Path, expected: Collection[str]) -> Listing:
    """Walk the directory `root`, passing over its own `.gte-surgery/` and `.git/`.

    Folders are entered only if one of the `expected` names is there: `/` is never walked. What is taken away meanwhile,
    as a program's temporary files are, is not there.
    """
    files: dict[str, FileEntry] = {}
    unreadable: dict[str, str] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        folders: list[str] = []
        try:
            for name, is_folder in _scan(root, folder):
                if is_folder:
                    folders.append(name)
                    continue
                with suppress(FileNotFoundError):
                    files[name] = entry_of(name, root / name)
        except OSError as error:
            if not (folder and isinstance(error, FileNotFoundError)):
                unreadable[folder] = reason_of(error)
        if folder or any(name in files for name in expected):
            pending += folders
    return Listing(root, dict(sorted(files.items())), unreadable, _links_out(root, files))


def kept_for_undo(root: Path) -> tuple[int, int]:
    """How many files of the checkpoint in `root` are kept for undo, and their bytes; no link is followed."""
    top = root / SURGERY_FOLDER / KEPT_FOLDER / KEPT_FILES
    if any(os.path.islink(each) for each in (top, *top.parents[:2])):
        return 0, 0
    sizes = []
    for folder, _, names in os.walk(top):
        for name in names:
            with suppress(FileNotFoundError):
                sizes.append(os.lstat(os.path.join(folder, name)).st_size)
    return len(sizes), sum(sizes)


def why_unusable(file: FileEntry, links_out: Collection[str]) -> str:
    """Why a file is not opened; empty if it may be."""
    if file.name in links_out:
        return "a link that leads out of the checkpoint"
    if not file.is_regular:
        return "a link that leads to no file" if file.is_symlink else "not a regular file"
    return ""


def list_files(root: Path, paths: Mapping[str, Path], trusted: Collection[str]) -> Listing:
    """A listing of just these files: relative name to the path of the content; the links in `trusted` may lead out."""
    files: dict[str, FileEntry] = {}
    unreadable: dict[str, str] = {}
    for name, path in sorted(paths.items()):
        try:
            files[name] = entry_of(name, path)
        except OSError as error:
            unreadable[name] = reason_of(error)
    return Listing(root, files, unreadable, _links_out(root, files) - frozenset(trusted))


def _scan(root: Path, folder: str) -> Iterator[tuple[str, bool]]:
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if folder or entry.name not in _PASSED_OVER:
                name = f"{folder}/{entry.name}" if folder else entry.name
                yield name, entry.is_dir(follow_symlinks=False)


def _links_out(root: Path, files: Mapping[str, FileEntry]) -> frozenset[str]:
    links = [file for file in files.values() if file.is_symlink]
    if not links:
        return frozenset()
    real_root = os.path.realpath(root)
    blobs = _blobs_of(real_root)
    targets = {file.name: os.path.realpath(path_of(file.place)) for file in links}
    inside = os.path.join(real_root, "")
    return frozenset(
        name for name, target in targets.items() if not target.startswith(inside) and os.path.dirname(target) != blobs
    )


def _blobs_of(root: str) -> str | None:
    """The blob folder of the hub cache entry that `root` is a snapshot of: models--x/snapshots/<revision>."""
    head, _, revision = root.rpartition("/snapshots/")
    if not revision or not os.path.basename(head).startswith("models--"):
        return None
    return os.path.join(head, "blobs")


def is_unsafe(name: str) -> bool:
    """Whether a name is anything but a plain relative path that stays below its directory."""
    parts = name.split("/")
    return "\\" in name or "\0" in name or name[1:2] == ":" or any(part in ("", ".", "..") for part in parts)


def is_leftover(name: str) -> bool:
    """Whether a file, by its relative name, is a temporary one that a save or a download left behind."""
    bare = name.rpartition("/")[2]
    return bare.startswith(".tmp") or bare.endswith((".tmp", ".incomplete"))


def ways_to(names: Iterable[str]) -> set[str]:
    """Names of files, and of the folders that lead to them."""
    return {shown(part) for name in names for part in (name, *map(str, PurePosixPath(name).parents))}
