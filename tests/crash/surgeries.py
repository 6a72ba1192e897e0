"""Surgeries to be interrupted: small trees of files, what changes in them, and how a tree is compared.

They run on any `Filesystem`, real or simulated, through nothing but its operations.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.transaction import Planned, Transaction, in_place, into
from gte_surgery.surgery.commit.tree import STATE_FOLDER, make_parents, walk

Tree = Mapping[str, tuple[int, bytes]]
"""Relative file names to mode and content."""


@dataclass(frozen=True, slots=True)
class Surgery:
    """Files of a checkpoint `old`; the files `staged` and the names `removed` lead to `new`."""

    old: Tree
    staged: Tree
    removed: tuple[str, ...] = ()
    keep_undo: bool = True
    new: Tree = field(init=False)

    def __post_init__(self) -> None:
        kept = {name: file for name, file in self.old.items() if name not in self.removed}
        object.__setattr__(self, "new", {**kept, **self.staged})


SINGLE = Surgery(
    old={
        "config.json": (0o644, b'{"vocab_size": 256}'),
        "model.safetensors": (0o600, b"old weights" * 9),
        "tokenizer.json": (0o444, b"{}"),
    },
    staged={
        "config.json": (0o644, b'{"vocab_size": 160}'),
        "model.safetensors": (0o600, b"new weights"),
        "gte-surgery.json": (0o640, b'{"receipts": []}'),
    },
)
SHARDED = Surgery(
    old={
        "1_Pooling/config.json": (0o644, b"{}"),
        "config.json": (0o664, b"old config"),
        "model-00001-of-00002.safetensors": (0o644, b"old one" * 40),
        "model-00002-of-00002.safetensors": (0o644, b"old two" * 40),
        "model.safetensors.index.json": (0o644, b"old index"),
        "onnx/deep/model.onnx": (0o644, b"onnx"),
    },
    staged={
        "1_Pooling/config.json": (0o600, b"[]"),
        "2_Normalize/deep/config.json": (0o644, b"norm"),
        "config.json": (0o664, b"new config, longer than the old"),
        "model-00001-of-00002.safetensors": (0o644, b"new one" * 30),
    },
    removed=("model-00002-of-00002.safetensors", "model.safetensors.index.json", "onnx/deep/model.onnx"),
)
WITHOUT_UNDO = Surgery(SINGLE.old, SINGLE.staged, ("tokenizer.json",), keep_undo=False)
NEW = Surgery(old={}, staged=SHARDED.new)


def lay_down(fs: Filesystem, target: Path, tree: Tree) -> None:
    """Make the directory `target` with the files of `tree`."""
    fs.mkdir(target)
    write_files(fs, target, tree)


def write_files(fs: Filesystem, folder: Path, tree: Tree) -> None:
    """Write files as the surgery's writer does: created with their mode, half written, half copied, closed."""
    for name, (mode, content) in tree.items():
        make_parents(fs, folder, name)
        descriptor = fs.create(folder / name, mode)
        try:
            half = len(content) // 2
            fs.write(descriptor, content[:half])
            fs.write(descriptor, content[half:])
        finally:
            fs.close(descriptor)


def perform(surgery: Surgery, target: Path, fs: Filesystem, planned: Planned | None = None) -> None:
    """The surgery in place; `planned` as `commit` takes it."""
    with in_place(target, "test surgery", fs) as transaction:
        _commit(transaction, surgery, fs, planned)


def perform_into(surgery: Surgery, out: Path, fs: Filesystem) -> None:
    """The surgery into a new directory."""
    with into(out, "test surgery", fs) as transaction:
        _commit(transaction, surgery, fs)


def _commit(transaction: Transaction, surgery: Surgery, fs: Filesystem, planned: Planned | None = None) -> None:
    write_files(fs, transaction.stage, surgery.staged)
    transaction.commit(surgery.removed, surgery.keep_undo, planned=planned)


def snapshot(fs: Filesystem, target: Path) -> Tree | None:
    """The files of a checkpoint without the state of its surgery; None if there is no directory."""
    try:
        fs.listdir(target)
    except FileNotFoundError:
        return None
    tree = {}
    for name, found in walk(fs, target):
        if not stat.S_ISDIR(found.st_mode) and not name.startswith(f"{STATE_FOLDER}/"):
            tree[name] = (stat.S_IMODE(found.st_mode), _content(fs, target / name, found.st_size))
    return tree


def folders(fs: Filesystem, target: Path) -> set[str]:
    """The folders of a checkpoint without the state of its surgery."""
    return {
        name for name, found in walk(fs, target) if stat.S_ISDIR(found.st_mode) and name.split("/")[0] != STATE_FOLDER
    }


def leftovers(fs: Filesystem, target: Path) -> set[str]:
    """What lies in the state folders in and beside `target`, but for the generation that `undo` needs."""
    inside, beside = target / STATE_FOLDER, target.parent / f".{target.name}{STATE_FOLDER}"
    found = set()
    for folder in (inside, beside):
        try:
            found |= {folder.name, *fs.listdir(folder)}
        except (FileNotFoundError, NotADirectoryError):
            continue
    return set() if found == {STATE_FOLDER, "previous"} else found


def _content(fs: Filesystem, path: Path, size: int) -> bytes:
    descriptor = fs.open_read(path)
    try:
        return fs.pread(descriptor, size, 0)
    finally:
        fs.close(descriptor)
