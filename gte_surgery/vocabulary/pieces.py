"""The vocabulary proper of a tokenizer, wherever it is stored, walked through entry by entry in constant memory: how
many rows it needs, and which ids the texts asked for have.

Sources of the formats: tokenizers 0.23 (`tokenizer.json`, vocab.json), transformers 5 (vocab.txt: a token's id is its
line), sentencepiece's `sentencepiece_model.proto` (ModelProto.pieces).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gte_surgery.checkpoint.source import Opened
from gte_surgery.vocabulary.json_stream import (
    PIECE,
    SMALL,
    SPACES,
    STRING,
    JsonStream,
    StreamError,
    entry_of,
    string_of,
)

MOST_TOKENS = 1 << 22
"""Four million; the largest published vocabularies have a tenth of that."""
_NUMBER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_TEXT = rb"(" + STRING + rb")"
_SCORED = entry_of(rb"\[", _TEXT, rb",", _NUMBER, rb"\]", rb"([,\]])")
"""An entry of a Unigram vocabulary, whose ids count from 0: ["▁the", -3.4]."""
_NUMBERED = entry_of(_TEXT, rb":", rb"(0|[1-9][0-9]{0,8})", rb"([,}])")
"""An entry of a WordPiece, BPE or WordLevel vocabulary: "the": 262."""
_ESCAPED = re.compile(rb'\\[^"\\]')
"""What may be written otherwise than `json.dumps` writes it: an escape of neither a quote nor a backslash."""
_MERGE = entry_of(rb"(?:" + _TEXT + rb"|\[" + SPACES.join((b"", _TEXT, b",", _TEXT, rb"\])")), rb"([,\]])")
"""An entry of the merges of BPE: "th e", or ["th", "e"]."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """`rows`: the least number of table rows that holds every id; `count`: how many tokens; `ids` of the texts that
    were asked for and are there.
    """

    rows: int
    count: int
    ids: Mapping[str, int]


class _Tally:
    """Counts entries and notes the wanted ones."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = set(wanted)
        self._literals = {json.dumps(text, ensure_ascii=ascii).encode() for text in wanted for ascii in (True, False)}
        self.rows = self.count = 0
        self.ids: dict[str, int] = {}

    def take_literals(self, literals: Sequence[bytes], numbers: Sequence[int]) -> None:
        """Notes entries whose texts are JSON literals."""
        known, escaped = self._literals, _ESCAPED.search
        if not known.isdisjoint(literals) or escaped(b"".join(literals)):
            for literal, number in zip(literals, numbers, strict=True):
                if (literal in known or escaped(literal)) and (text := string_of(literal)) in self._wanted:
                    self.ids[text] = number
        self._add(len(literals), max(numbers))

    def take_lines(self, lines: list[str]) -> None:
        """Notes entries whose numbers go on from those before."""
        if not self._wanted.isdisjoint(lines):
            self.ids |= {text: number for number, text in enumerate(lines, self.count) if text in self._wanted}
        self._add(len(lines), self.count + len(lines) - 1)

    def _add(self, count: int, highest: int) -> None:
        self.count += count
        self.rows = max(self.rows, highest + 1)
        if self.count > MOST_TOKENS:
            raise StreamError(f"more than {MOST_TOKENS} tokens")

    def pieces(self) -> Pieces:
        return Pieces(self.rows, self.count, self.ids)


def json_pieces(stream: JsonStream, wanted: Collection[str]) -> Pieces:
    """The vocabulary at the cursor, a list of [text, score] or an object of text: id; the cursor goes behind it."""
    opening, tally = stream.opens(), _Tally(wanted)
    if not opening:
        raise StreamError("the vocabulary is neither a list nor an object")
    for batch in stream.entries(_SCORED if opening == "[" else _NUMBERED):
        literals, *numbers, _ = zip(*batch, strict=True)
        counted = range(tally.count, tally.count + len(batch))
        tally.take_literals(literals, list(map(int, numbers[0])) if numbers else counted)
    return tally.pieces()


def skip_merges(stream: JsonStream) -> None:
    """Goes behind the merges at the cursor. Raises StreamError for what are none."""
    if stream.opens() != "[":
        raise StreamError("the merges are no list")
    for batch in stream.entries(_MERGE):
        for literal in {part for entry in batch for part in entry if part and _ESCAPED.search(part)}:
            string_of(literal)


def line_pieces(file: Opened, wanted: Collection[str]) -> Pieces:
    """A vocab.txt: a token a line, its id the number of the line, from 0."""
    tally = _Tally(wanted)
    for lines in _lines(file):
        tally.take_lines(lines)
    return tally.pieces()


def sentencepiece_pieces(file: Opened, wanted: Collection[str]) -> Pieces:
    """The pieces of a SentencePiece model, by their number there."""
    tally = _Tally(wanted)
    raw = file.read(0, file.identity.size)
    for begin, end in piece_spans(raw):
        tally.take_lines([piece_text(raw[begin:end])])
    return tally.pieces()


def piece_spans(raw: bytes) -> Iterator[tuple[int, int]]:
    """[begin, end) of the content of each piece: field 1 of a ModelProto. Raises StreamError for what is none."""
    for field, begin, end, _ in fields(raw):
        if field == 1:
            yield begin, end


def piece_text(piece: bytes) -> str:
    """The text of a piece: field 1 of a SentencePiece message."""
    for field, begin, end, _ in fields(piece):
        if field == 1:
            try:
                return piece[begin:end].decode("utf-8")
            except UnicodeDecodeError:
                raise StreamError("a piece that is not UTF-8") from None
    return ""


def fields(raw: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(field number, begin and end of its content, begin of its key) of a protobuf message [wire types 0, 1, 2, 5]."""
    at = 0
    while at < len(raw):
        start = at
        key, at = _varint(raw, at)
        kind = key & 7
        if kind == 0:
            begin = at
            _, at = _varint(raw, at)
        elif kind in (1, 2, 5):
            length, at = _varint(raw, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            begin, at = at, at + length
        else:
            raise StreamError(f"not a protobuf message at byte {start}")
        if at > len(raw):
            raise StreamError("a protobuf message that is cut short")
        yield key >> 3, begin, at, start


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw) and shift < 64:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise StreamError("a protobuf number that is cut short")


def _lines(file: Opened) -> Iterator[list[str]]:
    """All lines, as many at a time as a piece of the file holds."""
    rest, offset = b"", 0
    while piece := file.read(offset, PIECE):
        offset += len(piece)
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if newline:
            yield _texts(whole)
        if len(rest) > SMALL:
            raise StreamError(f"a line of more than {SMALL} bytes")
    if rest:
        yield _texts(rest)


def _texts(lines: bytes) -> list[str]:
    try:
        return [line.removesuffix("\r") for line in lines.decode("utf-8").split("\n")]
    except UnicodeDecodeError as error:
        raise StreamError(f"byte 0x{lines[error.start]:02x} is not UTF-8") from None
