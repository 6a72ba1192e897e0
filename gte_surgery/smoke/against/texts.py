"""The texts of a comparison in the ids of both checkpoints: cut by the tokenizer of each, or given as ids before, which
a row map leads to those after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.gte.wording import counted
from gte_surgery.vocabulary.trimming.framing import framed
from gte_surgery.vocabulary.trimming.texts import Row, labelled, parts, rows_of

Ids = list[int]
_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Queries:
    """Rows of a corpus: that of each query, and those of its positives."""

    queries: tuple[int, ...]
    positives: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Distinct texts: how each begins, its ids before and after. The first `documents` are searched, the others only
    ask. `left_out` had an id that no longer is, or no id at all; `cut` were longer than `longest` tokens, in either.
    """

    shown: tuple[str, ...]
    before: tuple[Ids, ...]
    after: tuple[Ids, ...]
    documents: int
    left_out: int
    cut: int
    longest: int
    labels: Queries | None = None


def read_corpus(
    checkpoints: tuple[Checkpoint, Checkpoint],
    files: tuple[Path, Path | None, str | None],
    new_ids: Mapping[int, int] | None,
    longest: int,
) -> Corpus:
    """The corpus of files: texts, labelled queries or None, the column of texts. `new_ids` are by the ids before,
    None where nobody knows them. Raises UsageError and RefusedError, also for fewer than two texts.
    """
    path, queries, column = files
    asked = list(labelled(queries)) if queries is not None else []
    given = (row for part in parts([path], column) for row in rows_of(part))
    documents = _distinct((*given, *(row for _, positives in asked for row in positives)))
    rows = _distinct((*documents.values(), *(query for query, _ in asked)))
    ids = _in_both(list(rows.values()), checkpoints, new_ids, longest)
    kept = [at for at, pair in enumerate(ids) if pair is not None]
    places = {at: place for place, at in enumerate(kept)}
    numbers = {key: places.get(at) for at, key in enumerate(rows)}
    known = sum(at < len(documents) for at in kept)
    if known < 2:
        raise RefusedError(f"{path}: {counted(known, 'text')} that both take, must be at least 2", "give more texts")
    shown = list(rows.values())
    pairs = [pair for pair in ids if pair is not None]
    return Corpus(
        tuple(_beginning(shown[at]) for at in kept),
        tuple(before for before, _, _ in pairs),
        tuple(after for _, after, _ in pairs),
        known,
        len(ids) - len(kept),
        sum(is_cut for _, _, is_cut in pairs),
        longest,
        _labels(asked, numbers) if queries is not None else None,
    )


def _labels(asked: Sequence[tuple[Row, list[Row]]], numbers: Mapping[object, int | None]) -> Queries:
    """The queries whose text, and of whose positives one at least, both checkpoints take."""
    found = []
    for query, positives in asked:
        row = numbers.get(_key(query))
        relevant = {numbers.get(_key(each)) for each in positives} - {None}
        if row is not None and relevant:
            found.append((row, tuple(sorted(each for each in relevant if each is not None))))
    if not found:
        raise RefusedError("queries: none that both checkpoints take", "give JSON lines with query and positives")
    return Queries(tuple(row for row, _ in found), tuple(relevant for _, relevant in found))


def _in_both(
    rows: Sequence[Row],
    checkpoints: tuple[Checkpoint, Checkpoint],
    new_ids: Mapping[int, int] | None,
    longest: int,
) -> list[tuple[Ids, Ids, bool] | None]:
    """The ids of each row before and after, and whether it was cut in either; None for one that has none."""
    texts = [row for row in rows if isinstance(row, str)]
    both = zip(*framed(checkpoints, texts, longest), strict=True) if texts else ()
    given = iter([(old, new, is_old_cut or is_new_cut) for (old, is_old_cut), (new, is_new_cut) in both])
    found = [next(given) if isinstance(row, str) else _moved(row, new_ids, longest) for row in rows]
    return [each if each is not None and each[0] and each[1] else None for each in found]


def _moved(row: Ids, new_ids: Mapping[int, int] | None, longest: int) -> tuple[Ids, Ids, bool] | None:
    if new_ids is None:
        raise UsageError("texts: they are ids, and nobody knows the new ones", "name the row map: --map FILE")
    ids = row[:longest]
    known = all(each in new_ids for each in ids)
    return (ids, [new_ids[each] for each in ids], len(row) > longest) if known else None


def _distinct(rows: Sequence[Row]) -> dict[object, Row]:
    """Each row that is not empty once, in order, by what tells it from others."""
    found: dict[object, Row] = {}
    for row in rows:
        if row:
            found.setdefault(_key(row), row)
    return found


def _key(row: Row) -> object:
    return row if isinstance(row, str) else tuple(row)


def _beginning(row: Row) -> str:
    text = row if isinstance(row, str) else f"ids {' '.join(map(str, row[:32]))}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
