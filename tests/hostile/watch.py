"""Where hostile files are laid: a folder beside a secret, watched for whatever is opened outside of it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WHOLE = 0xFFFFFF
SEPARATOR = b"\xff\xfe"
"""Between two parts of an input: never in UTF-8."""
SECRET = b'{"secret":1}'
"""What the file beside a checkpoint holds."""


def size_and_text(raw: bytes) -> tuple[int, bytes]:
    """How many bytes of data a fuzzed weight file has, and the text of its header."""
    size = int.from_bytes(raw[:3], "little")
    return size if size == WHOLE else min(size, 1 << 20), raw[3:]


def place(path: Path, content: bytes) -> None:
    """Nothing, a link ("->x") or a file; weights that have a `{` behind three bytes are a header with so much data."""
    if not content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if content.startswith(b"->"):
        target = content[2:200].replace(b"\0", b"")
        if target and not target.startswith(b"/"):
            os.symlink(target, os.fsencode(path))
        return
    if path.suffix == ".safetensors" and content[3:4] == b"{":
        size, text = size_and_text(content)
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        os.truncate(path, 8 + len(text) + size)
    else:
        path.write_bytes(content)


@contextmanager
def sandbox() -> Iterator[Path]:
    """A new folder in memory where there is one: secret.json lies in it, beside the checkpoint."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm if os.access(shm, os.W_OK) else None))
    try:
        (folder / "checkpoint").mkdir()
        (folder / "secret.json").write_bytes(SECRET)
        (folder / "secret.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
        yield folder
    finally:
        shutil.rmtree(folder)


_watched: list[Path] = []
_strayed: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: notes what is opened or listed beside the watched checkpoint."""
    if (
        _watched
        and event in ("open", "os.listdir", "os.scandir")
        and isinstance(arguments[0], (str, bytes, os.PathLike))
    ):
        real = os.path.realpath(os.fsdecode(arguments[0]))
        root = os.path.realpath(_watched[-1])
        if real.startswith(os.path.dirname(root) + os.sep) and real != root and not real.startswith(root + os.sep):
            _strayed.append(real)


_is_watching = False


@contextmanager
def only_files_below(folder: Path) -> Iterator[None]:
    """Raises AssertionError when anything beside `folder` is opened or listed inside the context."""
    global _is_watching
    if not _is_watching:
        sys.addaudithook(_watch)
        _is_watching = True
    _watched.append(folder)
    _strayed.clear()
    try:
        yield
    finally:
        _watched.pop()
    assert not _strayed, f"opened {_strayed}"
