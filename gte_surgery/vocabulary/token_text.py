"""What tokens stand for, and how a tokenizer cuts it: the marks of word beginnings and continuations in each family of
tokenizers, bytes written as characters or as `<0x41>`, and a cut that respects them.

WordPiece marks what continues a word (`##ing`), SentencePiece (`▁the`) and byte-level BPE (`Ġthe`) what begins one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPACE = "▁"
_BYTE = re.compile("<0x([0-9A-F]{2})>")


@dataclass(frozen=True, slots=True)
class Text:
    """What a token stands for: bytes, mostly UTF-8, and whether they begin a word; None where that is not marked."""

    content: bytes
    begins_word: bool | None


@dataclass(frozen=True, slots=True)
class Spelling:
    """How the tokens of a tokenizer are written.

    `begins` marks the beginning of a word ("▁", "Ġ" or ""), `continues` its continuation ("##" or ""), `ends` its end
    ("</w>" or ""). With `is_bytes` every character is a byte, as byte-level BPE writes them.
    """

    begins: str = ""
    continues: str = ""
    ends: str = ""
    is_bytes: bool = False

    @staticmethod
    def of(tokenizer: Tokenizer) -> Spelling:
        """The spelling that the parts of a tokenizer imply."""
        parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder)
        types = {node for part in parts if part is not None for node in _strings(json.loads(part.__getstate__()))}
        if "ByteLevel" in types:
            return Spelling(begins="Ġ", is_bytes=True)
        if SPACE in types or "Metaspace" in types:
            return Spelling(begins=SPACE)
        model = tokenizer.model
        return Spelling(
            continues=getattr(model, "continuing_subword_prefix", None) or "",
            ends=getattr(model, "end_of_word_suffix", None) or "",
        )

    def read(self, token: str) -> Text:
        """What a token of the vocabulary stands for."""
        if (byte := _BYTE.fullmatch(token)) and not self.is_bytes:
            return Text(bytes([int(byte[1], 16)]), False)
        if self.continues:
            continued = token.startswith(self.continues)
            return Text(token.removeprefix(self.continues).encode(), not continued)
        if self.begins:
            rest = token.removeprefix(self.begins)
            return Text(self._bytes(rest), rest != token)
        return Text(token.removesuffix(self.ends).encode(), None)

    def _bytes(self, text: str) -> bytes:
        if not self.is_bytes:
            return text.replace(SPACE, " ").encode()
        return b"".join(bytes([_BYTE_OF[c]]) if c in _BYTE_OF else c.encode() for c in text)


class Cutter:
    """Cuts texts as a tokenizer does, without its special tokens and without what it does not know."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        self._normalizer, self._pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
        self._model = tokenizer.model
        self._spelling = Spelling.of(tokenizer)
        self._unknown = self.vocabulary.get(getattr(self._model, "unk_token", None) or "<unk>")

    def cut(self, text: Text) -> tuple[int, ...]:
        """The ids of the pieces; () when nothing of it is known."""
        try:
            words = self._words(text)
        except UnicodeDecodeError:
            return self._cut_bytes(text.content)
        ids: list[int] = []
        for at, word in enumerate(words):
            if at == 0 and self._spelling.continues and text.begins_word is False:
                ids += self._continued(word)
            else:
                ids += [token.id for token in self._model.tokenize(word)]
        return tuple(number for number in ids if number != self._unknown)

    def _words(self, text: Text) -> list[str]:
        """The text as the model takes it: normalised, cut into words, the first marked as what it is."""
        plain = text.content.decode("utf-8")
        if self._normalizer is not None:
            plain = self._normalizer.normalize_str(plain)
        words = [plain]
        if self._pre_tokenizer is not None:
            words = [word for word, _ in self._pre_tokenizer.pre_tokenize_str(plain)]
        mark = self._spelling.begins
        if text.content.isspace():
            return words
        if words and mark and text.begins_word is not None:
            words[0] = (mark if text.begins_word else "") + words[0].removeprefix(mark)
        return [word for word in words if word not in ("", mark)]

    def _continued(self, word: str) -> list[int]:
        """The longest continuation pieces that make up a word; as any word where one is missing."""
        mark = self._spelling.continues
        names = list(longest_pieces(word, self.vocabulary, mark, mark))
        if sum(len(name) - len(mark) for name in names) < len(word):
            return [token.id for token in self._model.tokenize(word)]
        return [self.vocabulary[name] for name in names]

    def _cut_bytes(self, content: bytes) -> tuple[int, ...]:
        """Bytes that are no text by themselves, as tokens of single bytes where the tokenizer has them."""
        if self._spelling.is_bytes:
            return tuple(token.id for token in self._model.tokenize("".join(_CHARACTER_OF[byte] for byte in content)))
        ids = [self.vocabulary.get(f"<0x{byte:02X}>") for byte in content]
        known = tuple(number for number in ids if number is not None)
        return known if len(known) == len(ids) else ()


def longest_pieces(word: str, known: Container[str], first: str, then: str) -> Iterator[str]:
    """The longest pieces that make up a word, left to right, as far as they are known [WordPiece]; before the first of
    them is written `first`, before the others `then`.
    """
    begin = 0
    while begin < len(word):
        mark = then if begin else first
        end = next((end for end in range(len(word), begin, -1) if mark + word[begin:end] in known), begin)
        if end == begin:
            return
        yield mark + word[begin:end]
        begin = end


def _strings(value: object) -> Iterator[str]:
    """Every string in a JSON value."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _strings(item)
        case list():
            for item in value:
                yield from _strings(item)


def _characters() -> dict[int, str]:
    """The character that byte-level BPE writes for each byte: itself where it is printable, else one from U+0100 on
    [GPT-2, bytes_to_unicode].
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + at) for at, byte in enumerate(others)}


_CHARACTER_OF = _characters()
_BYTE_OF = {character: byte for byte, character in _CHARACTER_OF.items()}
