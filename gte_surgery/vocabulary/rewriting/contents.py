"""A tokenizer.json read whole, for rewriting: its text, the places in it that hold ids, and its tokens by id.

Only files that `token_files` has read within its bounds come here; the text is JSON. Memory: some ten times the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gte_surgery.checkpoint.json.scan import Member, members, skip_space
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.emission import Emitted, emitted_by
from gte_surgery.vocabulary.token_files import AddedToken, TokenizerJson

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
SCORED = re.compile(rf"\[\s*({_STRING})\s*,\s*(-?[0-9.eE+-]+)\s*\]", re.DOTALL)
"""An entry of a Unigram vocabulary: ["▁the", -3.4]."""
NUMBERED = re.compile(rf"({_STRING})\s*:\s*([0-9]+)", re.DOTALL)
"""An entry of any other vocabulary: "the": 262."""
MERGE = re.compile(rf"\[\s*({_STRING})\s*,\s*({_STRING})\s*\]|({_STRING})", re.DOTALL)
"""A merge: ["t", "he"], or "t he" as files before tokenizers 0.20 have it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A token of the vocabulary: its text, id, score (0 without scores), and where its entry stands, [begin, end)."""

    text: str
    id: int
    score: float
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge of BPE: two tokens, and where its entry stands."""

    left: str
    right: str
    begin: int
    end: int


@dataclass(frozen=True)
class Contents:
    """A tokenizer.json: its `text`, its parts read in pieces (`whole`), and its added tokens with the ids in use."""

    text: str
    whole: TokenizerJson
    added: tuple[AddedToken, ...]

    @property
    def kind(self) -> str:
        """The model's type: "Unigram", "WordPiece", "BPE" or "WordLevel"."""
        return str(self.whole.model.get("type") or self._guessed)

    @cached_property
    def top(self) -> Mapping[str, Member]:
        """Where the members of the file stand."""
        return members(self.text, skip_space(self.text, 0))

    @cached_property
    def model(self) -> Mapping[str, Member]:
        """Where the members of its model stand."""
        return members(self.text, self.top["model"].begin)

    @cached_property
    def is_scored(self) -> bool:
        """Whether ids are places in a list, and tokens have scores [Unigram]."""
        return self.text[self.model["vocab"].begin] == "["

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The vocabulary, as it stands in the file."""
        place = self.model["vocab"]
        found = (SCORED if self.is_scored else NUMBERED).finditer(self.text, place.begin + 1, place.end)
        if self.is_scored:
            return tuple(Entry(string_of(m[1]), at, float(m[2]), m.start(), m.end()) for at, m in enumerate(found))
        return tuple(Entry(string_of(m[1]), int(m[2]), 0.0, m.start(), m.end()) for m in found)

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Ids by text, of the vocabulary and the added tokens."""
        return {entry.text: entry.id for entry in self.entries} | {token.text: token.id for token in self.added}

    @cached_property
    def texts(self) -> Mapping[int, str]:
        """Texts by id."""
        return {entry.id: entry.text for entry in self.entries} | {token.id: token.text for token in self.added}

    @cached_property
    def merges(self) -> tuple[Merge, ...]:
        """The merges of BPE, in their order."""
        place = self.model.get("merges")
        return tuple(self._merges(place)) if place is not None else ()

    @cached_property
    def made_of(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        """The pairs that merges make a token of, by its text."""
        found: dict[str, list[tuple[str, str]]] = {}
        for merge in self.merges:
            found.setdefault(self.joined(merge), []).append((merge.left, merge.right))
        return found

    @cached_property
    def emitted(self) -> tuple[Emitted, ...]:
        """The ids that the post-processor and the padding hold, with their JSON pointers."""
        found = list(emitted_by(self.whole.members.get("post_processor"), "tokenizer.json", self.ids))
        padding = self.whole.members.get("padding")
        if isinstance(padding, dict) and type(padding.get("pad_id")) is int:
            token = str(padding.get("pad_token"))
            found.append(Emitted(padding["pad_id"], token, "tokenizer.json", "/padding/pad_id", "padding"))
        return tuple(found)

    @property
    def unknown(self) -> int | None:
        """The id for what the vocabulary does not hold; None where there is none."""
        number, text = self.whole.model.get("unk_id"), self.whole.model.get("unk_token")
        if type(number) is int:
            return number
        return self.ids.get(text) if isinstance(text, str) else None

    def joined(self, merge: Merge) -> str:
        """The token that a merge makes [tokenizers, models/bpe/model.rs]."""
        prefix = self.whole.model.get("continuing_subword_prefix") or ""
        return merge.left + merge.right.removeprefix(str(prefix))

    def _merges(self, place: Member) -> Iterator[Merge]:
        for m in MERGE.finditer(self.text, place.begin + 1, place.end):
            if m[3] is None:
                yield Merge(string_of(m[1]), string_of(m[2]), m.start(), m.end())
                continue
            left, space, right = string_of(m[3]).partition(" ")
            if not space:
                raise RefusedError(f"tokenizer.json: merge {m[3][:40]}, must be two tokens")
            yield Merge(left, right, m.start(), m.end())

    @property
    def _guessed(self) -> str:
        return "Unigram" if self.is_scored else "BPE" if "merges" in self.model else "WordPiece"


def string_of(literal: str) -> str:
    """The text of a JSON string literal."""
    return str(json.loads(literal, strict=False)) if "\\" in literal else literal[1:-1]
