"""Where a report, a page, counts or a reference go: written aside and renamed, so that a reader sees all of it or what
was there before; never through a link, and never onto a file of what was read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from gte_surgery.errors import RefusedError

_OURS = (".sarif", ".xml", ".html")
"""What a report is called and no file of a checkpoint or corpus is: an earlier one there may be replaced."""


def require_output(path: Path, read: Iterable[Path]) -> None:
    """Raises RefusedError when `path` is a link, a folder or a special file, or stands for something in one of `read`,
    the checkpoints and other files of this command. What lies under /dev is the user's own word.
    """
    if path.is_relative_to("/dev"):
        return
    found = _mode(path)
    if found is not None and not stat.S_ISREG(found):
        kind = "a link" if stat.S_ISLNK(found) else "a folder" if stat.S_ISDIR(found) else "no regular file"
        raise RefusedError(f"{path}: {kind}, must be a new or a regular file", "name the file itself, or another")
    for each in (place.parent if place.suffix == ".safetensors" else place for place in read):
        if _lies_in(path, each) and _leads_out(path, each):
            raise RefusedError(f"{path}: a link in {each} leads out of it", "name a file elsewhere")
        if found is not None and _lies_in(path, each) and path.suffix not in _OURS:
            raise RefusedError(f"{path}: a file that is read, must not be overwritten", "name a file elsewhere")


def write_output(path: Path, content: str | bytes, read: Iterable[Path]) -> None:
    """Writes `content` where `require_output` allows it. Raises RefusedError and OSError; nothing has changed then."""
    require_output(path, read)
    raw = content.encode("utf-8") if isinstance(content, str) else content
    if path.is_relative_to("/dev"):
        path.write_bytes(raw)
        return
    aside = path.with_name(f".{path.name[:100]}.{uuid4().hex}.tmp")
    try:
        with open(aside, "xb") as file:
            file.write(raw)
        aside.replace(path)
    except BaseException as error:
        with suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _lies_in(path: Path, place: Path) -> bool:
    """Whether a name is `place` or below it, as typed or after links."""
    named, led = Path(os.path.abspath(path)), path.parent.resolve() / path.name
    typed, real = Path(os.path.abspath(place)), place.resolve()
    return named.is_relative_to(typed) or led.is_relative_to(real)


def _leads_out(path: Path, place: Path) -> bool:
    """Whether the folder of a name in `place` lies elsewhere once links are followed."""
    return not (path.parent.resolve() / path.name).is_relative_to(place.resolve())
