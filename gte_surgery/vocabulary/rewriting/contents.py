"""A tokenizer.json read whole, for rewriting: its text, the places in it that hold ids, and its tokens by id.

Only files that `token_files` has read within its bounds come here; the text is JSON. Memory: some three times the file,
as much again and more once `ids` are asked for, which a Unigram vocabulary is rewritten without.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gte_surgery.checkpoint.json.scan import Member, skip_space
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.emission import Emitted, emitted_by
from gte_surgery.vocabulary.filed import TokenizerJson
from gte_surgery.vocabulary.json_stream import string_of
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON, AddedToken

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_SCORED = re.compile(rf"\[\s*({_STRING})\s*,\s*(-?[0-9.eE+-]+)\s*\]", re.DOTALL)
"""An entry of a Unigram vocabulary: ["▁the", -3.4]."""
_NUMBERED = re.compile(rf"({_STRING})\s*:\s*([0-9]+)", re.DOTALL)
"""An entry of any other vocabulary: "the": 262."""
_MERGE = re.compile(rf"\[\s*({_STRING})\s*,\s*({_STRING})\s*\]|({_STRING})", re.DOTALL)
"""A merge: ["t", "he"], or "t he" as files before tokenizers 0.20 have it."""


class Merge(NamedTuple):
    """A merge of BPE: the ids of two tokens and of what they make, −1 where there is none, and where it stands."""

    left: int
    right: int
    made: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Entries:
    """The vocabulary, as it stands in the file: `ids` by entry, where each stands, [`begins`, `ends`), where its text
    ends in there, and its score; no `scores` where tokens have none.
    """

    ids: Sequence[int]
    begins: array[int]
    ends: array[int]
    text_ends: array[int]
    scores: array[float]


def entries_of(text: str, place: Member) -> Entries:
    """The vocabulary at this place of a text, a list of [text, score] or an object of text: id."""
    is_scored, scores, ids = text[place.begin] == "[", array("d"), array("q")
    begins, ends, text_ends = array("I"), array("I"), array("I")
    for m in (_SCORED if is_scored else _NUMBERED).finditer(text, place.begin + 1, place.end):
        begins.append(m.start())
        ends.append(m.end())
        text_ends.append(m.end(1))
        if is_scored:
            scores.append(float(m[2]))
        else:
            ids.append(int(m[2]))
    return Entries(range(len(begins)) if is_scored else ids, begins, ends, text_ends, scores)


class Texts(Mapping[int, str]):
    """The texts of tokens by id, those of the vocabulary each read from the file when it is asked for."""

    def __init__(self, text: str, entries: Entries, beside: Mapping[int, str]) -> None:
        self._text, self._entries, self._beside = text, entries, beside
        ids = entries.ids
        places = ids if isinstance(ids, range) else {number: at for at, number in enumerate(ids)}
        self._places: range | dict[int, int] = places

    def __getitem__(self, number: int) -> str:
        if number in self._beside:
            return self._beside[number]
        if number not in self._places:
            raise KeyError(number)
        return self.of_entry(self._places[number])

    def __contains__(self, number: object) -> bool:
        return number in self._places or number in self._beside

    def __iter__(self) -> Iterator[int]:
        yield from self._places
        yield from (number for number in self._beside if number not in self._places)

    def __len__(self) -> int:
        return len(self._places) + sum(number not in self._places for number in self._beside)

    def of_entry(self, at: int) -> str:
        """The text of the entry that stands at this place of the vocabulary."""
        begin = self._text.index('"', self._entries.begins[at])
        return _string_of(self._text[begin : self._entries.text_ends[at]])


@dataclass(frozen=True)
class Contents:
    """A tokenizer.json: its `text`, its parts read in pieces (`whole`), and all added tokens with the ids in use. Where
    it was made of older files, `name` is that of their vocabulary, which messages name.

    The text is that of the file read as Latin-1, a character a byte: what is ASCII in it is what it says, all else is
    carried as it is.
    """

    text: str
    whole: TokenizerJson
    added: tuple[AddedToken, ...]
    name: str = TOKENIZER_JSON

    @property
    def beside(self) -> tuple[AddedToken, ...]:
        """The added tokens that stand in other files."""
        return tuple(token for token in self.added if token.turn)

    @property
    def raw(self) -> bytes:
        """The content of the file."""
        return self.text.encode("latin-1")

    @property
    def kind(self) -> str:
        """The model's type: "Unigram", "WordPiece", "BPE" or "WordLevel"."""
        return str(self.whole.model.get("type") or self._guessed)

    def place(self, name: str) -> Member | None:
        """Where the value of a member of the file stands, "added_tokens" or "model/vocab"; None where it has none."""
        if name not in self.whole.places:
            return None
        begin, end = self.whole.places[name]
        begin = skip_space(self.text, begin)
        return Member(begin, begin, begin, end)

    @property
    def vocabulary(self) -> Member:
        """Where the vocabulary stands."""
        place = self.place("model/vocab")
        if place is None:
            raise RefusedError(f"{self.name}: holds no vocabulary")
        return place

    @cached_property
    def is_scored(self) -> bool:
        """Whether ids are places in a list, and tokens have scores [Unigram]."""
        return self.text[self.vocabulary.begin] == "["

    @cached_property
    def entries(self) -> Entries:
        """The vocabulary, as it stands in the file."""
        return entries_of(self.text, self.vocabulary)

    @cached_property
    def texts(self) -> Texts:
        """Texts by id."""
        return Texts(self.text, self.entries, {token.id: token.text for token in self.added})

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Ids by text, of the vocabulary and the added tokens."""
        texts = map(self.texts.of_entry, range(len(self.entries.ids)))
        return dict(zip(texts, self.entries.ids, strict=True)) | {token.text: token.id for token in self.added}

    def ids_of(self, texts: Collection[str]) -> dict[str, int]:
        """The same of some texts, as far as they are tokens."""
        known: Mapping[str, int] = {**self.whole.pieces.ids, **{token.text: token.id for token in self.added}}
        if any(text not in known for text in texts):
            known = self.ids
        return {text: known[text] for text in texts if text in known}

    @cached_property
    def merges(self) -> list[Merge]:
        """The merges of BPE, in their order; a token that a merge makes is its two without a prefix in between
        [tokenizers, models/bpe/model.rs].
        """
        place, found = self.place("model/merges"), list[Merge]()
        if place is None:
            return found
        ids, prefix = self.ids, str(self.whole.model.get("continuing_subword_prefix") or "")
        for m in _MERGE.finditer(self.text, place.begin + 1, place.end):
            pair = [*map(_string_of, m.groups()[:2])] if m[3] is None else _string_of(m[3]).split(" ", 1)
            if len(pair) < 2:
                raise RefusedError(f"{self.name}: merge {m[3][:40]}, must be two tokens")
            left, right, made = (ids.get(text, -1) for text in (*pair, pair[0] + pair[1].removeprefix(prefix)))
            found.append(Merge(left, right, made, m.start(), m.end()))
        return found

    @cached_property
    def parts(self) -> Mapping[int, list[int]]:
        """The ids of the tokens that merges make another one of, by its id."""
        found: dict[int, list[int]] = {}
        for merge in self.merges:
            found.setdefault(merge.made, []).extend(part for part in merge[:2] if part >= 0)
        return found

    @cached_property
    def emitted(self) -> tuple[Emitted, ...]:
        """The ids that the post-processor and the padding hold, with their JSON pointers."""
        return tuple(emitted_by(self.whole.members, {}))

    @property
    def unknown(self) -> int | None:
        """The id for what the vocabulary does not hold; None where there is none."""
        number, text = self.whole.model.get("unk_id"), self.whole.model.get("unk_token")
        if type(number) is int:
            return number
        return self.ids_of([text]).get(text) if isinstance(text, str) else None

    @property
    def _guessed(self) -> str:
        return "Unigram" if self.is_scored else "BPE" if "model/merges" in self.whole.places else "WordPiece"


def _string_of(literal: str) -> str:
    return string_of(literal.encode("latin-1"))
