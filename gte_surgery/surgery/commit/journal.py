"""The two notes that a surgery leaves on disk: the journal (what is still to be done) and the generation (what was).

Both are small JSON files written before the commit. They are read back from a directory that may be hostile, so every
name in them is checked: none may lead out of the checkpoint. Following symlinks is guarded against in `tree`.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from gte_surgery.errors import CheckpointError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.tree import STATE_FOLDER, status

GENERATION_NAME = "generation.json"
"""Name of the generation's note; the files lie beside it in the folder `GENERATION_FILES`."""

GENERATION_FILES = "files"

_FORMAT = 1
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Journal:
    """A committed surgery: `staged` names (with sizes in bytes) take their places, `removed` names go."""

    command: str
    staged: Mapping[str, int]
    removed: tuple[str, ...]
    keep_undo: bool


@dataclass(frozen=True, slots=True)
class Generation:
    """What a surgery did to the set of files; the bytes of `replaced` and `removed` are kept, `added` had none."""

    command: str
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]


def name_fault(name: str) -> str:
    """Why `name` cannot be a file of the checkpoint, relative with "/" between folders; empty if it can."""
    if not name or "\0" in name:
        return "is no file name"
    if name.startswith("/"):
        return "is absolute"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "leads out of the checkpoint" if ".." in parts else "is no plain relative name"
    if parts[0].casefold() == STATE_FOLDER:
        return f"lies in {STATE_FOLDER}"
    return ""


def write_note(fs: Filesystem, path: Path, note: Journal | Generation) -> None:
    """Write a note to a new file and make its content durable; its name is left to the caller."""
    text = json.dumps({"format": _FORMAT, **asdict(note)}, indent=1) + "\n"
    descriptor = fs.create(path)
    try:
        fs.write(descriptor, text.encode("ascii"))
        fs.fsync(descriptor)
    finally:
        fs.close(descriptor)


def read_journal(fs: Filesystem, path: Path) -> Journal:
    """The journal at `path`; `CheckpointError` if it is none of ours or names anything outside the checkpoint."""
    members = _read_members(fs, path)
    match members:
        case {"command": str(command), "staged": dict(staged), "removed": list(removed), "keep_undo": bool(keep_undo)}:
            if all(type(size) is int and size >= 0 for size in staged.values()):
                _names(path, list(staged))
                return Journal(command, staged, _names(path, removed), keep_undo)
    raise _malformed(path, "its members are not those of a journal")


def read_generation(fs: Filesystem, folder: Path) -> Generation:
    """The generation kept in `folder`; `CheckpointError` if its note is none of ours or its names lead out."""
    path = folder / GENERATION_NAME
    match _read_members(fs, path):
        case {"command": str(command), "replaced": list(replaced), "removed": list(removed), "added": list(added)}:
            return Generation(command, _names(path, replaced), _names(path, removed), _names(path, added))
    raise _malformed(path, "its members are not those of a generation")


def _read_members(fs: Filesystem, path: Path) -> Mapping[str, object]:
    found = status(fs, path)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise _malformed(path, "it is not a file")
    if found.st_size > _MAX_BYTES:
        raise _malformed(path, f"it has {found.st_size} bytes, at most {_MAX_BYTES} are read")
    descriptor = fs.open_own(path)
    try:
        raw = fs.pread(descriptor, found.st_size, 0)
    finally:
        fs.close(descriptor)
    try:
        members = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _malformed(path, "it is not JSON") from error
    if not isinstance(members, dict) or members.get("format") != _FORMAT:
        raise _malformed(path, f"it does not have format {_FORMAT}")
    return members


def _names(path: Path, names: list[object]) -> tuple[str, ...]:
    checked = []
    for name in names:
        fault = name_fault(name) if isinstance(name, str) else "is no string"
        if fault or not isinstance(name, str):
            raise _malformed(path, f"the name {name!r} {fault}")
        checked.append(name)
    return tuple(checked)


def _malformed(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: cannot be trusted: {reason}",
        f"if you know the checkpoint's files to be whole, remove its folder {STATE_FOLDER}",
    )
