"""Where the rows of a new vocabulary come from, by whichever way the user names them: a map, a list of ids to keep, or
two tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gte_surgery.errors import UsageError
from gte_surgery.vocabulary.map_files import read_given, read_keep, read_map
from gte_surgery.vocabulary.row_map import RowMap, keep_of, map_of
from gte_surgery.vocabulary.token_files import MOST_BYTES, TOKENIZER_FILES, TOKENIZER_JSON

Map = Path | str | Mapping[int, int]
"""A file, or {new id: old id}."""

Keep = Path | str | Iterable[int]
"""A file, or old ids in their new order."""


def row_origins(
    checkpoint: Path,
    *,
    map: Map | None = None,
    keep: Keep | None = None,
    from_tokenizer: Path | str | None = None,
    to_tokenizer: Path | str | None = None,
    allow_repeats: bool = False,
) -> RowMap:
    """The map that one of `map`, `keep` and `to_tokenizer` names; raises UsageError unless it is just one.

    `from_tokenizer` is the checkpoint's own tokenizer.json if not given. Raises RefusedError for faults of a map.
    """
    chosen = [way for way in (map, keep, to_tokenizer) if way is not None]
    if len(chosen) != 1 or (from_tokenizer is not None and to_tokenizer is None):
        raise UsageError(
            "remap: the new rows must be named in one way",
            "give one of --map, --keep and --to-tokenizer; --from-tokenizer goes with the last",
        )
    if to_tokenizer is not None:
        return _between(checkpoint, from_tokenizer, Path(to_tokenizer))
    if map is not None:
        return map_of(map, allow_repeats) if isinstance(map, Mapping) else read_map(Path(map), allow_repeats)
    if isinstance(keep, (Path, str)):
        return read_keep(Path(keep), allow_repeats)
    return keep_of(() if keep is None else keep, allow_repeats)


def tokenizer_file(path: Path | str) -> Path:
    """A tokenizer.json, given by its own path or by a folder that holds it."""
    return Path(path) / TOKENIZER_JSON if Path(path).is_dir() else Path(path)


def beside(tokenizer: Path) -> dict[str, bytes]:
    """The content of a tokenizer.json and of the tokenizer's other files in its folder, by the name that each has in a
    checkpoint; of a file of another name beside a tokenizer.json nothing but its own. Raises UsageError for a file
    that cannot be read.
    """
    found = {TOKENIZER_JSON: tokenizer}
    if tokenizer.name == TOKENIZER_JSON or not (tokenizer.parent / TOKENIZER_JSON).exists():
        found |= {name: tokenizer.parent / name for name in TOKENIZER_FILES if name != TOKENIZER_JSON}
    return {name: read_given(path, MOST_BYTES) for name, path in found.items() if path.is_file()}


def _between(checkpoint: Path, from_tokenizer: Path | str | None, to_tokenizer: Path) -> RowMap:
    from gte_surgery.vocabulary.confined import alone
    from gte_surgery.vocabulary.token_map import token_map
    from gte_surgery.vocabulary.trimming.words import require_package

    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    old = tokenizer_file(from_tokenizer if from_tokenizer is not None else folder)
    if not old.is_file():
        raise UsageError(f"{old}: no such file", "give the tokenizer that the rows belong to with --from-tokenizer")
    require_package()
    if not to_tokenizer.is_file():
        raise UsageError(f"{to_tokenizer}: no such file", "give the path of a tokenizer.json")
    with alone(old, to_tokenizer) as asked:
        found: RowMap = asked(token_map, old, to_tokenizer)
    return found
