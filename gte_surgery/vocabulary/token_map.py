"""Maps the rows of one tokenizer's tokens to another's: shared tokens keep their rows, new ones are made of the pieces
that the old tokenizer cuts them into. Needs the tokenizers package, imported when called; how tokens are written and
cut is for `token_text`.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from gte_surgery.vocabulary.row_map import Places, RowMap
from gte_surgery.vocabulary.token_text import Cutter, Spelling, Text
from gte_surgery.vocabulary.tokenizer import ALIKE
from gte_surgery.vocabulary.trimming.words import opened

SHOWN = 5
"""Of a long list of tokens so many are told."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the row of a new token comes from: old ids, and how they were found: "shared", "alike", "cut" or "none"."""

    ids: tuple[int, ...]
    how: str


def token_map(old_path: Path, new_path: Path) -> RowMap:
    """The map from the rows of one tokenizer.json to those of another, with a report of coverage.

    Raises RefusedError when the tokenizers package is missing or cannot read a file.
    """
    old, new = opened(old_path), opened(new_path)
    tokens = {number: token for token, number in new.get_vocab(with_added_tokens=True).items()}
    special = {number: token.special for number, token in new.get_added_tokens_decoder().items()}
    origins = dict(_origins(tokens, special, Spelling.of(new), Cutter(old)))
    ids = array("q", sorted(number for number, origin in origins.items() if origin.ids))
    return RowMap(
        rows=max(tokens, default=0) + 1,
        new=ids,
        old=array("q", (old_id for number in ids for old_id in origins[number].ids)),
        offsets=array("q", accumulate((len(origins[number].ids) for number in ids), initial=0)),
        places=Places(str(new_path), "id", ids),
        record=_record("from_tokenizer", old_path) | _record("to_tokenizer", new_path),
        coverage=tuple(_coverage(tokens, origins)),
    )


def _origins(
    tokens: Mapping[int, str], special: Mapping[int, bool], spelling: Spelling, cutter: Cutter
) -> Iterator[tuple[int, Origin]]:
    """(new id, origin) of every new token; `special` says of the added tokens whether they are special."""
    for number, token in tokens.items():
        old = cutter.vocabulary.get(token)
        alike = _alike(token, cutter.vocabulary)
        if old is not None:
            yield number, Origin((old,), "shared")
        elif alike is not None:
            yield number, Origin((alike,), "alike")
        elif special.get(number):
            yield number, Origin((), "none")
        else:
            is_written_out = number in special
            ids = cutter.cut(Text(token.encode(), None) if is_written_out else spelling.read(token))
            yield number, Origin(ids, "cut" if ids else "none")


def _alike(token: str, vocabulary: Mapping[str, int]) -> int | None:
    """The old id of a special token that plays the same part."""
    for names in ALIKE.values():
        if token in names:
            return next((vocabulary[name] for name in names if name in vocabulary), None)
    return None


def _coverage(tokens: Mapping[int, str], origins: Mapping[int, Origin]) -> Iterator[str]:
    counts = Counter(origin.how for origin in origins.values())
    covered = len(tokens) - counts["none"]
    share = 100 * covered / max(1, len(tokens))
    yield (
        f"coverage: {covered} of {len(tokens)} new tokens ({share:.1f} %) have old rows: {counts['shared']} shared, "
        f"{counts['alike']} special ones of the same part, {counts['cut']} cut into pieces{_average(origins)}"
    )
    titles = {"alike": "special tokens that take the row of their old counterpart", "none": "tokens without an old row"}
    for how, title in titles.items():
        found = [tokens[number] for number in sorted(tokens) if origins[number].how == how]
        if found:
            yield f"{title}: {_listed(found)}"


def _average(origins: Mapping[int, Origin]) -> str:
    lengths = [len(origin.ids) for origin in origins.values() if origin.how == "cut"]
    return f" ({sum(lengths) / len(lengths):.1f} on average)" if lengths else ""


def _listed(tokens: list[str]) -> str:
    more = f" and {len(tokens) - SHOWN} more" if len(tokens) > SHOWN else ""
    return ", ".join(f"`{token}`" for token in tokens[:SHOWN]) + more


def _record(key: str, path: Path) -> dict[str, object]:
    return {key: str(path), f"{key}_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
