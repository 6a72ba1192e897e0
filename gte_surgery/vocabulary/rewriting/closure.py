"""What a tokenizer cannot do without: the tokens that must be kept beside chosen ones, so that every text of which all
tokens are kept is cut as before.

Unigram: the best path of a subset that holds it is the same path, as long as the unknown's score is the same, which is
the lowest of the vocabulary less 10 [tokenizers, models/unigram/model.rs]. WordPiece: the longest match that is kept is
still the longest. BPE: merges happen in their order, and only those that the kept tokens pass through are needed; where
several make one token, all of them are kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from gte_surgery.vocabulary.rewriting.contents import Contents
from gte_surgery.vocabulary.token_files import named_tokens

_BYTE = re.compile("<0x[0-9A-F]{2}>")


def required(contents: Contents, settings: Mapping[str, object]) -> dict[int, str]:
    """The tokens that every vocabulary of this tokenizer must hold, by id, each with the reason in words.

    `settings` are those of the checkpoint, which name special tokens by their texts.
    """
    found: dict[int, str] = {}
    for number, reason in _named(contents, settings):
        if number in contents.texts:
            found.setdefault(number, reason)
    return found


def characters(contents: Contents) -> Iterator[int]:
    """The ids of single characters, of bytes, and of the alphabet of byte-level BPE: with them no character of the old
    vocabulary becomes unknown.
    """
    prefix = str(contents.whole.model.get("continuing_subword_prefix") or "")
    for at, number in enumerate(contents.entries.ids):
        text = contents.texts.of_entry(at)
        if len(text) == 1 or len(text.removeprefix(prefix)) == 1 or _BYTE.fullmatch(text):
            yield number


def passed_through(contents: Contents, kept: Collection[int]) -> dict[int, str]:
    """The tokens that the merges of kept ones pass through, which are not kept; by id, with the token that needs them.

    Empty for any model but BPE.
    """
    return dict(_added_by(contents, set(kept), kept))


def growth(contents: Contents, fixed: Collection[int], order: Iterable[int]) -> Iterator[list[int]]:
    """The fixed ids with all that merges pass through; then what each token of `order` adds to those before it."""
    have = set(fixed)
    yield [*have, *(number for number, _ in _added_by(contents, have, fixed))]
    for number in order:
        new = [number] if number not in have else []
        have.update(new)
        yield [*new, *(each for each, _ in _added_by(contents, have, new))]


def _added_by(contents: Contents, have: set[int], kept: Collection[int]) -> Iterator[tuple[int, str]]:
    """What merges of the kept ids pass through beside those in `have`, to which it is added; with the reason."""
    waiting = list(kept)
    while waiting:
        number = waiting.pop()
        for part in contents.parts.get(number, ()):
            if part not in have:
                have.add(part)
                yield part, f"`{contents.texts[number]}` is merged from it"
                waiting.append(part)


def _named(contents: Contents, settings: Mapping[str, object]) -> Iterator[tuple[int, str]]:
    for each in contents.emitted:
        yield each.id, f"the {'padding' if each.part == 'padding' else 'post-processor'} holds it"
    if contents.unknown is not None:
        yield contents.unknown, "it stands for what is unknown"
    named = [*named_tokens(settings)]
    ids = contents.ids_of([token.text for token in named])
    yield from ((ids[each.text], f"{each.pointer[1:]} names it") for each in named if each.text in ids)
    if scores := contents.entries.scores:
        yield scores.index(min(scores)), "the score of what is unknown is counted from its own, the lowest"
