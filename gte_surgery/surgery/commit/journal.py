"""The two notes that a surgery leaves on disk: the journal (what is still to be done) and the generation (what was).

Both are small JSON files written before the commit. They are read back from a directory that may be hostile, so every
name in them is checked: none may lead out of the checkpoint. Following symlinks is guarded against in `tree`.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gte_surgery.checkpoint.listing import JOURNAL_FORMATS, KEPT_FILES, is_leftover
from gte_surgery.errors import CheckpointError
from gte_surgery.surgery.commit.files import Record
from gte_surgery.surgery.commit.filesystem import Filesystem, closing
from gte_surgery.surgery.commit.tree import STATE_FOLDER, status

GENERATION_NAME = "generation.json"
"""Name of the generation's note; the files lie beside it in the folder `GENERATION_FILES`."""

GENERATION_FILES = KEPT_FILES

_GENERATION_FORMAT = 1
MOST_BYTES = 1 << 24
MOST_NAMES = 20_000
MOST_PARTS = 16
"""Of a note, and of the names in it; no surgery comes near these."""
_OF_OTHERS = frozenset({STATE_FOLDER, ".git"})


@dataclass(frozen=True, slots=True)
class Journal:
    """A committed surgery: `staged` files take their places, some of them those of `replaced` files; `removed` ones go.
    `nonce` is in the names of its folders, `made_by` says on which machine and by whom.
    """

    command: str
    nonce: str
    staged: Mapping[str, Record]
    replaced: Mapping[str, Record]
    removed: Mapping[str, Record]
    keep_undo: bool
    made_by: str = ""


@dataclass(frozen=True, slots=True)
class OldJournal:
    """A surgery that gte-surgery 0.1.0 committed; of the staged files only the sizes are known."""

    command: str
    staged: Mapping[str, int]
    removed: tuple[str, ...]
    keep_undo: bool


@dataclass(frozen=True, slots=True)
class Generation:
    """What a surgery did to the set of files; the bytes of `replaced` and `removed` are kept, `added` had none.

    `kept` says what the kept files were when they were set aside, `made` what the surgery put in their places; both may
    be empty, as those of 0.1.0 are.
    """

    command: str
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    kept: Mapping[str, Record] = field(default_factory=dict)
    made: Mapping[str, Record] = field(default_factory=dict)


def name_fault(name: str) -> str:
    """Why `name` cannot be a file of the checkpoint, relative with "/" between folders; empty if it can."""
    if not name or "\0" in name:
        return "is no file name"
    if name.startswith("/"):
        return "is absolute"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "leads out of the checkpoint" if ".." in parts else "is no plain relative name"
    if len(parts) > MOST_PARTS:
        return f"lies more than {MOST_PARTS} folders deep"
    if others := [part for part in parts if part.casefold() in _OF_OTHERS]:
        return f"lies in {others[0]}"
    if parts[0].startswith(".") and not is_leftover(name):
        return "is hidden, no file of a checkpoint is"
    return ""


def write_note(fs: Filesystem, path: Path, note: Journal | Generation) -> None:
    """Write a note to a new file and make its content durable; its name is left to the caller."""
    number = JOURNAL_FORMATS[-1] if isinstance(note, Journal) else _GENERATION_FORMAT
    text = json.dumps({"format": number, **asdict(note)}, indent=1) + "\n"
    with closing(fs, fs.create(path)) as descriptor:
        fs.write(descriptor, text.encode("ascii"))
        fs.fsync(descriptor)


def read_journal(fs: Filesystem, path: Path) -> Journal | OldJournal:
    """The journal at `path`; `CheckpointError` if it is none of ours or names anything outside the checkpoint."""
    match _read_members(fs, path):
        case {
            "format": 2, "command": str(command), "nonce": str(nonce), "staged": dict(staged),
            "replaced": dict(replaced), "removed": dict(removed), "keep_undo": bool(keep_undo), "made_by": str(made_by),
        } if re.fullmatch("[0-9a-f]{16}", nonce):  # fmt: skip
            new, old, gone = (_records(path, each) for each in (staged, replaced, removed))
            if old.keys() <= new.keys() and not gone.keys() & new.keys():
                return Journal(command, nonce, new, old, gone, keep_undo, made_by)
        case {
            "format": 1, "command": str(command), "staged": dict(staged), "removed": list(names),
            "keep_undo": bool(kept),
        }:  # fmt: skip
            if all(type(size) is int and size >= 0 for size in staged.values()):
                _names(path, list(staged))
                return OldJournal(command, staged, _names(path, names), kept)
    raise _malformed(path, "its members are not those of a journal")


def read_generation(fs: Filesystem, folder: Path) -> Generation:
    """The generation kept in `folder`; `CheckpointError` if its note is none of ours or its names lead out."""
    path = folder / GENERATION_NAME
    match members := _read_members(fs, path):
        case {
            "format": 1, "command": str(command), "replaced": list(replaced), "removed": list(removed),
            "added": list(added),
        }:  # fmt: skip
            kept, made = members.get("kept", {}), members.get("made", {})
            if isinstance(kept, dict) and isinstance(made, dict):
                old, gone, new = (_names(path, each) for each in (replaced, removed, added))
                return Generation(command, old, gone, new, _records(path, kept), _records(path, made))
    raise _malformed(path, "its members are not those of a generation")


def _records(path: Path, members: Mapping[str, object]) -> dict[str, Record]:
    _names(path, list(members))
    found = {}
    for name, member in members.items():
        match member:
            case {"size": int(size), "mtime_ns": int(mtime_ns), "sha256": str(sha256)} if size >= 0:
                found[name] = Record(size, mtime_ns, sha256)
            case _:
                raise _malformed(path, f"what it says of {name!r} is no record of a file")
    return found


def _read_members(fs: Filesystem, path: Path) -> Mapping[str, object]:
    found = status(fs, path)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise _malformed(path, "it is not a file")
    if found.st_size > MOST_BYTES:
        raise _malformed(path, f"it has {found.st_size} bytes, at most {MOST_BYTES} are read")
    with closing(fs, fs.open_own(path)) as descriptor:
        raw = fs.pread(descriptor, found.st_size, 0)
    try:
        members = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _malformed(path, "it is not JSON") from error
    if not isinstance(members, dict):
        raise _malformed(path, "it is no JSON object")
    return members


def _names(path: Path, names: list[object]) -> tuple[str, ...]:
    if len(names) > MOST_NAMES:
        raise _malformed(path, f"it has {len(names)} names, at most {MOST_NAMES} are read")
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
