"""Which files a scan reads: paths, folders and patterns, in an order that does not depend on the machine.

A folder of the `datasets` library is read as that library would: the files that its state.json names, and none of the
caches beside them.
"""

from __future__ import annotations

import glob
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from gte_surgery.checkpoint.bounds import MAX_JSON_BYTES
from gte_surgery.checkpoint.files import SNIFFED_BYTES, Content, sniff
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.portions import Format
from gte_surgery.contract.scan.readers.array_files import is_companion
from gte_surgery.errors import CheckpointError, RefusedError

SUFFIXES = (".parquet", ".pq", ".arrow", ".feather", ".ipc", ".jsonl", ".ndjson", ".npy", ".npz", ".safetensors")
COMPRESSED = (".gz", ".zst")
"""What is looked for in folders, with or without one of these behind; a file that is named may have any name."""

_STATE = "state.json"
_MAGICS = {
    b"PAR1": Format.PARQUET,
    b"ARROW1": Format.ARROW,
    b"\xff\xff\xff\xff": Format.ARROW,
    b"\x93NUMPY": Format.NPY,
    b"PK": Format.NPZ,
    b"\x1f\x8b": Format.JSON_LINES,
    b"\x28\xb5\x2f\xfd": Format.JSON_LINES,
}


def find(patterns: Sequence[str], columns: Columns) -> list[str]:
    """Files that paths, folders and patterns such as `data/**/*.parquet` stand for, each once.

    Raises RefusedError for one that stands for nothing, and for none.
    """
    if not patterns:
        raise RefusedError("no file to scan is named, at least one is needed")
    found: dict[str, None] = {}
    for pattern in patterns:
        files = list(_files(pattern, columns))
        if not files:
            wanted = ", ".join(SUFFIXES) if os.path.isdir(pattern) else "a file, a folder or a pattern"
            raise RefusedError(f"{pattern}: no file to scan, must be {wanted}")
        found.update(dict.fromkeys(files))
    return list(found)


def tell(path: str) -> tuple[Format, int] | str:
    """Format and size of a file by its first bytes; or what it is instead."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    with open(path, "rb") as file:
        head = file.read(SNIFFED_BYTES)
    content = sniff(head)
    for magic, form in _MAGICS.items():
        if head.startswith(magic) and content is not Content.TORCH_ZIP:
            return form, status.st_size
    if content is Content.SAFETENSORS:
        return Format.SAFETENSORS, status.st_size
    if content is Content.JSON and not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return Format.JSON_LINES, status.st_size
    if content is Content.UNKNOWN and _is_named(path, (".jsonl", ".ndjson", ".json")):
        return Format.JSON_LINES, status.st_size
    if content is Content.UNKNOWN:
        return f"{content.value}, must be ids and masks: parquet, Arrow, JSON lines, .npy, .npz or safetensors"
    return "a JSON array, must be one object a line" if content is Content.JSON else content.value


def _files(pattern: str, columns: Columns) -> Iterator[str]:
    if os.path.isdir(pattern):
        yield from _below(pattern, columns)
    elif os.path.lexists(pattern):
        yield pattern
    else:
        for path in sorted(set(_matching(pattern))):
            if os.path.isdir(path):
                yield from _below(path, columns)
            elif not is_companion(path, columns):
                yield path


def _matching(pattern: str) -> Iterator[str]:
    """What a pattern stands for; `**` for any folders, none entered through a link: those may lead in circles."""
    parts = pattern.split("/")
    if "**" not in parts:
        yield from glob.iglob(pattern)
        return
    at = parts.index("**")
    before, after = "/".join(parts[:at]), "/".join(parts[at + 1 :]) or "*"
    for root in glob.glob(before) if before else ["/" if at else "."]:
        for folder, folders, _ in os.walk(root):
            folders[:] = (name for name in folders if not name.startswith("."))
            inside = os.path.join(folder, "").removeprefix("" if before else "./")
            yield from _matching(glob.escape(inside) + after)


def _below(folder: str, columns: Columns) -> Iterator[str]:
    """The files to scan in a folder and those below it, hidden ones left out."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    named = _state_files(folder)
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            if not os.path.islink(path):
                yield from _below(path, columns)
        elif named is None and _is_named(name, SUFFIXES) and not is_companion(path, columns):
            yield path
    yield from named or ()


def _is_named(name: str, suffixes: tuple[str, ...]) -> bool:
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    return name.endswith(suffixes)


def _state_files(folder: str) -> list[str] | None:
    """The files that a `datasets` folder consists of, in their order; None where its state.json says nothing of it."""
    try:
        from gte_surgery.checkpoint.files import read_whole

        state = json.loads(read_whole(Path(folder, _STATE), MAX_JSON_BYTES))
        names = [entry["filename"] for entry in state["_data_files"]]
    except (CheckpointError, ValueError, TypeError, LookupError, RecursionError):
        return None
    if not all(isinstance(name, str) and os.path.basename(name) == name for name in names):
        return None
    return [os.path.join(folder, name) for name in names]
