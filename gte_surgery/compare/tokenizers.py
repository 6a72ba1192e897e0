"""What lies between two tokenizers: whether one is the other with fewer tokens under other ids, which tokens went and
came, and what texts cost in tokens by each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gte_surgery.checkpoint.directory import Checkpoint, open_found, open_listing
from gte_surgery.checkpoint.hub.address import address_of
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.vocabulary.origins import tokenizer_file
from gte_surgery.vocabulary.rewriting.contents import Contents
from gte_surgery.vocabulary.rewriting.rewrite import read_contents
from gte_surgery.vocabulary.rewriting.tokenizer_json import rewritten_json
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON
from gte_surgery.vocabulary.trimming.child import Cost
from gte_surgery.vocabulary.trimming.costs import cost_between
from gte_surgery.vocabulary.trimming.texts import parts

Relation = Literal["equal", "renumbered", "right in left", "left in right", "other"]
"""`equal`: one and the same; `renumbered`: the same tokens under other ids; `right in left`: the right one is the left
one without some tokens, under new ids; `other`: they cut, or speak of tokens, in ways of their own.
"""

_HINT = "give two tokenizer.json files, or folders that hold one"


@dataclass(frozen=True, slots=True)
class TokenizerDifference:
    """What `diff_tokenizers` found between the tokenizers `left` and `right`, of so many tokens each (`sizes`).

    `shared` tokens are in both, `moved` of them under another id; `gone` are on the left alone, `came` on the right
    alone, (id, token). `differs` names the parts of tokenizer.json that are not the same beside that. `cost` is None
    without texts.
    """

    left: str
    right: str
    kinds: tuple[str, str]
    sizes: tuple[int, int]
    relation: Relation
    shared: int
    moved: int
    gone: tuple[tuple[int, str], ...]
    came: tuple[tuple[int, str], ...]
    differs: tuple[str, ...]
    cost: Cost | None = None

    @property
    def is_equal(self) -> bool:
        """Whether both give every text the same ids."""
        return self.relation == "equal"


def diff_tokenizers(
    left: Path | str,
    right: Path | str,
    *,
    texts: Sequence[Path] = (),
    column: str | None = None,
    threads: int | None = None,
) -> TokenizerDifference:
    """Compares two tokenizer.json, each given by its path or by a folder or checkpoint that holds it.

    With `texts`, files of them, also says what they cost by each. Raises UsageError for a file that is not there and
    RefusedError for a tokenizer that cannot be read.
    """
    corpus = parts(list(texts), column)
    one, other = (_contents(path) for path in (left, right))
    gone, came = _alone(one, other), _alone(other, one)
    moved = sum(other.ids.get(text, number) != number for text, number in one.ids.items())
    differs = tuple(_differing(one, other) if len(came) <= len(gone) else _differing(other, one))
    return TokenizerDifference(
        _named(left),
        _named(right),
        (one.kind, other.kind),
        (len(one.ids), len(other.ids)),
        _relation(bool(gone), bool(came), bool(moved), bool(differs)),
        len(one.ids) - len(gone),
        moved,
        gone,
        came,
        differs,
        cost_between(one, other, corpus, threads) if corpus else None,
    )


def _named(path: Path | str) -> str:
    return str(address_of(path) or path)


def _contents(path: Path | str) -> Contents:
    file, name = _opened(path).readable(TOKENIZER_JSON), _named(path)
    if file is None:
        raise UsageError(f"{name}: no {TOKENIZER_JSON} is here", _HINT)
    try:
        return read_contents(file, _HINT)
    except RefusedError as error:
        raise RefusedError(f"{name}: {error.message.removeprefix(f'{TOKENIZER_JSON}: ')}", error.hint) from None


def _opened(path: Path | str) -> Checkpoint:
    """A folder with the tokenizer.json that a path names."""
    if address_of(path) is not None:
        return open_found(path)
    file = tokenizer_file(path)
    if not file.is_file():
        raise UsageError(f"{file}: no such file", _HINT)
    return open_listing(file.parent, {TOKENIZER_JSON: file})


def _alone(one: Contents, other: Contents) -> tuple[tuple[int, str], ...]:
    return tuple(sorted((number, text) for text, number in one.ids.items() if text not in other.ids))


def _relation(has_gone: bool, has_come: bool, has_moved: bool, differs: bool) -> Relation:
    if differs or (has_gone and has_come):
        return "other"
    if has_gone or has_come:
        return "right in left" if has_gone else "left in right"
    return "renumbered" if has_moved else "equal"


def _differing(whole: Contents, part: Contents) -> Iterator[str]:
    """The parts of the file in which `part` is not `whole` with its tokens alone, under its ids."""
    new_ids = {whole.ids[text]: number for text, number in part.ids.items() if text in whole.ids}
    try:
        wanted = _members(rewritten_json(whole, new_ids))
    except RefusedError:
        wanted = _members(whole.raw)  # it cannot be cut down to those tokens, and the rest is compared as it stands
    found = _members(part.raw)
    yield from (name for name in dict.fromkeys((*wanted, *found)) if wanted.get(name) != found.get(name))


def _members(raw: bytes) -> Mapping[str, Any]:
    """What a tokenizer.json says, part by part: {"normalizer": …, "model/merges": …}."""
    whole = json.loads(raw)
    found = {name: value for name, value in whole.items() if name not in ("version", "model")}
    found |= {f"model/{name}": value for name, value in whole["model"].items()}
    merges = found.get("model/merges") or []
    return found | {"model/merges": [each.split(" ", 1) if isinstance(each, str) else each for each in merges]}
