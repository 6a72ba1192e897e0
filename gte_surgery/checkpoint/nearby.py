"""Where a checkpoint may lie that is not where someone looked: a folder deeper or higher, under a similar name, in the
hub's cache on this disk. Guesses only; the network is never asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError

_CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ADDRESS = re.compile(r"https?:/+(?:www\.)?(?:huggingface\.co|hf\.co)/([^/]+/[^/]+)(?:/tree/([^/]+)(/.+?)?)?/?")
"""A model's page, its slashes as a path has them."""
_MOST = 3

WANTED = "give the directory that holds config.json and the weights; nothing is fetched from a hub"


def no_checkpoint(path: Path, reason: str) -> CheckpointError:
    """The error for a `path` that is no checkpoint, with the place that was probably meant."""
    message = f"{shown(str(path))}: {reason}"
    found = nearby(path)
    if address := _ADDRESS.fullmatch(str(path)):
        repository, revision, folder = address.groups("")
        meant = f"hf://{repository}@{revision}{folder}" if revision else f"hf://{repository}"
        return CheckpointError(message, "it is read there, and little of it fetched", str(path), meant)
    if _is_hub_id(path):
        copy = f"a copy lies in {shown(str(found[0]))}" if found else "it is read there, and little of it fetched"
        return CheckpointError(message, copy, str(path), f"hf://{path}")
    if found:
        return CheckpointError(message, others(found), str(path), str(found[0]))
    return CheckpointError(message, WANTED)


def nearby(path: Path) -> list[Path]:
    """Directories with a config.json and weights that `path` may have been meant to be, the likeliest first."""
    if os.path.isdir(path):
        guesses = [*_snapshots(path), *_sorted_folders(path), Path(os.path.normpath(path / os.pardir))]
    elif os.path.exists(path):
        guesses = [path.parent]
    else:
        guesses = [*_cached(path), *_similar(path), path.parent]
    return [guess for guess in dict.fromkeys(guesses) if guess != path and _holds_checkpoint(guess)]


def base_of(name: str, adapter: Path) -> Path | None:
    """The folder on this disk of the base that an adapter names, a path or a hub id; None where there is none such."""
    path = Path(name)
    guesses = [path, adapter / path, *(_cached(path) if _is_hub_id(path) else ())] if name else []
    return next((each for each in [*guesses, adapter.parent] if _holds_checkpoint(each)), None)


def others(paths: list[Path]) -> str:
    """Where checkpoints lie, by the first few of some paths, if there is more than one."""
    if len(paths) < 2:
        return ""
    more = f" and {len(paths) - _MOST} more" if len(paths) > _MOST else ""
    return f"checkpoints lie in {', '.join(shown(str(path)) for path in paths[:_MOST])}{more}"


def _holds_checkpoint(folder: Path) -> bool:
    return os.path.isfile(folder / _CONFIG) and any(os.path.exists(folder / name) for name in _WEIGHTS)


def _sorted_folders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir())
    except (OSError, ValueError):
        return []


def _snapshots(entry: Path) -> Iterator[Path]:
    """The snapshots of a hub cache's entry (models--x/snapshots/REVISION), that of the main branch first."""
    main = entry / "refs" / "main"
    with suppress(OSError):
        if os.path.isfile(main) and os.path.getsize(main) < 1000:
            yield entry / "snapshots" / main.read_text(errors="replace").strip()
    yield from _sorted_folders(entry / "snapshots")


def _cached(path: Path) -> Iterator[Path]:
    """The snapshots of the model that a hub id names, in the hub's cache on this disk."""
    if _HUB_ID.fullmatch(str(path)):
        yield from _snapshots(_hub_cache() / f"models--{str(path).replace('/', '--')}")


def _hub_cache() -> Path:
    """As huggingface_hub [2.4, constants.py] finds it, the import of which takes as long as a whole check."""
    asked = os.environ.get
    home = asked("HF_HOME", os.path.join(asked("XDG_CACHE_HOME", "~/.cache"), "huggingface"))
    cache = asked("HF_HUB_CACHE", asked("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub")))
    return Path(os.path.expandvars(os.path.expanduser(cache)))


def _similar(path: Path) -> list[Path]:
    from difflib import get_close_matches

    folders = {folder.name: folder for folder in _sorted_folders(path.parent)}
    return [folders[name] for name in get_close_matches(path.name, folders)]


def _is_hub_id(path: Path) -> bool:
    """Whether it looks like "org/name", and like nothing on this disk."""
    return not (os.path.exists(path) or os.path.exists(path.parent)) and bool(_HUB_ID.fullmatch(str(path)))
