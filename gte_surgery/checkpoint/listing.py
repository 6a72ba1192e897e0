"""Which files lie in a checkpoint directory, and which of its links may be followed.

Folders are walked without following links and without recursion; nothing is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gte_surgery.checkpoint.files import FileEntry, entry_of, reason_of

SURGERY_FOLDER = ".gte-surgery"
_PASSED_OVER = (SURGERY_FOLDER, ".git")


@dataclass(frozen=True, slots=True)
class Listing:
    """All files below `root`, by name and sorted by it; `unreadable` maps what could not be listed to the reason.

    Symlinks are listed as what they lead to; a link to a folder is one entry that is not regular.
    """

    root: Path
    files: dict[str, FileEntry]
    unreadable: dict[str, str]
    is_trusted: bool = False

    def is_safe(self, entry: FileEntry) -> bool:
        """Whether the file lies in the directory itself, or in the blobs of the hub cache that the directory is in.

        A trusted listing, put together by the caller, is safe throughout.
        """
        if self.is_trusted or not entry.is_symlink:
            return True
        root, target = os.path.realpath(self.root), os.path.realpath(entry.path)
        return target.startswith(os.path.join(root, "")) or os.path.dirname(target) == _blobs_of(root)

    @property
    def links_out(self) -> frozenset[str]:
        """The names of all links that lead out of the directory."""
        return frozenset(name for name, entry in self.files.items() if not self.is_safe(entry))


def list_directory(root: Path) -> Listing:
    """Walk the directory `root`, passing over `.gte-surgery/` and `.git/`."""
    files: dict[str, FileEntry] = {}
    unreadable: dict[str, str] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            for name, path, is_folder in _scan(root, folder):
                if is_folder:
                    pending.append(name)
                else:
                    files[name] = entry_of(name, path)
        except OSError as error:
            unreadable[folder] = reason_of(error)
    return Listing(root, dict(sorted(files.items())), unreadable)


def list_files(root: Path, paths: dict[str, Path], is_trusted: bool) -> Listing:
    """A listing of just these files: relative name to the path of the content."""
    files: dict[str, FileEntry] = {}
    unreadable: dict[str, str] = {}
    for name, path in sorted(paths.items()):
        try:
            files[name] = entry_of(name, path)
        except OSError as error:
            unreadable[name] = reason_of(error)
    return Listing(root, files, unreadable, is_trusted)


def _scan(root: Path, folder: str) -> Iterator[tuple[str, Path, bool]]:
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if entry.name in _PASSED_OVER:
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            yield name, root / name, entry.is_dir(follow_symlinks=False)


def _blobs_of(root: str) -> str | None:
    """The blob folder of the hub cache entry that `root` is a snapshot of: models--x/snapshots/<revision>."""
    head, _, revision = root.rpartition("/snapshots/")
    if not revision or not os.path.basename(head).startswith("models--"):
        return None
    return os.path.join(head, "blobs")
