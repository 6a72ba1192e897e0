"""What a finished checkpoint should preserve of another one: by the receipts of the surgeries between them, or by a row
map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.receipts import Receipt, receipts_of
from gte_surgery.errors import UsageError
from gte_surgery.surgery.planning.claim import Claim, kept_count
from gte_surgery.surgery.planning.claims import CAST_TOLERANCE, GEMM_TOLERANCE, same_states, same_tokens
from gte_surgery.surgery.planning.recorded import MOST_ROWS, claims_of_receipt, joined
from gte_surgery.surgery.planning.target import Target, understand
from gte_surgery.vocabulary.map_files import read_map
from gte_surgery.vocabulary.row_map import RowMap, kept_rows
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON

BY_HAND = "name the row map: --map FILE, new id, tab, old id in each line"


def claims_between(before: Checkpoint, after: Checkpoint, map_file: Path | None) -> tuple[Claim, ...]:
    """The claims of `after` about `before`: by the map in a file, else by the receipts that `after` has beyond those of
    `before`, else, where both tables have as many rows, by no id having moved.

    Raises UsageError where there is no receipt and the tables differ, and for two families; RefusedError for a
    checkpoint that is unsound or a map that leads out of it, CheckpointError for receipts that cannot be read.
    """
    one, other = understand(before), understand(after)
    if one.names != other.names:
        kinds = f"{after.name}: is of the family {other.family.name}, {before.name} of {one.family.name}"
        raise UsageError(
            f"{kinds}: no number of one is the other's", "--texts FILE tells how far apart they embed texts"
        )
    held, rows = _rows(one), _rows(other)
    if map_file is not None:
        return tuple(_of_map(one, other, _within(read_map(map_file, allow_repeats=True), held, rows, map_file)))
    surgeries = _surgeries(before, after)
    if surgeries:
        sizes = [MOST_ROWS] * (len(surgeries) - 1) + [rows]
        return joined(claims_of_receipt(*pair) for pair in zip(surgeries, sizes, strict=True))
    if held == rows:
        ids = kept_rows(rows)
        tokens = same_tokens(before, ids, frozenset()) if after.has(TOKENIZER_JSON) else ()
        return (*tokens, *_of_map(one, other, ids))
    raise UsageError(
        f"{after.name}: no receipt of a surgery on {before.name}, and {rows} rows are not its {held}: nobody knows "
        "which ids keep their meaning",
        BY_HAND,
    )


def _surgeries(before: Checkpoint, after: Checkpoint) -> Sequence[Receipt]:
    """The receipts of the surgeries that made one checkpoint of the other; none where they tell of another source.

    Of what is no weights a copy may lack some, as a hub's cache does.
    """
    former, all_of_them = receipts_of(before), receipts_of(after)
    later = all_of_them[len(former) :]
    if all_of_them[: len(former)] != former or not later:
        return ()
    sources = later[0].get("sources")
    listed = {file.name: file.size for file in before.files}
    if not isinstance(sources, list):
        return ()
    named = [(str(each.get("name")), each) for each in sources if isinstance(each, dict)]
    told = [(name, each) for name, each in named if "header" in each or name in listed]
    return later if all(listed.get(name) == each.get("size") for name, each in told) else ()


def _rows(target: Target) -> int:
    return target.tensors[target.names.words].shape[0]


def _within(ids: RowMap, held: int, rows: int, path: Path) -> RowMap:
    """The map; raises UsageError where it speaks of rows that are not there."""
    for what, found, limit in (("new", max(ids.new), rows), ("old", max(ids.old), held)):
        if found >= limit:
            raise UsageError(f"{path}: {what} id {found}, the table has {limit} rows", "give the map of these two")
    return ids


def _of_map(before: Target, after: Target, ids: RowMap) -> Iterator[Claim]:
    """The claims of a map alone; that numbers were rounded, or a type row folded, the two checkpoints tell."""
    words = after.names.words
    stored = after.tensors[words].dtype
    rounded = stored if stored != before.tensors[words].dtype else ""
    is_folded = before.names.types in before.tensors and after.names.types not in after.tensors
    pad = after.config.pad_token_id
    without = frozenset(() if pad is None or pad == before.config.pad_token_id else (pad,))
    tolerance = CAST_TOLERANCE[stored] if rounded or is_folded else 0.0
    how = f"rounded to {rounded}" if rounded else "bit for bit"
    tables = (*after.names.sized_by_vocabulary, after.names.types)
    yield Claim("tensors", f"every tensor but the tables is the old one {how}", tensors=tables, rounded=rounded)
    told = f"{kept_count(ids, without)} word rows are old ones by the map, {how}"
    added = stored if is_folded else rounded
    yield Claim("rows", told, 0.0, ids, without, rounded=added, adds_type=is_folded)
    yield from same_states(ids, without, tolerance, "by the map", tolerance or GEMM_TOLERANCE, rounded)
