"""The older tokenizer files moved to other ids: tokenizer_config.json, added_tokens.json, vocab.txt, vocab.json,
merges.txt and SentencePiece models. Each takes its content and gives the new one.
"""

from __future__ import annotations

from collections.abc import Mapping

from gte_surgery.checkpoint.json.scan import Member, skip_space
from gte_surgery.checkpoint.json.strict import parse_document, replace_members
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.json_stream import StreamError
from gte_surgery.vocabulary.pieces import fields, piece_spans, piece_text
from gte_surgery.vocabulary.rewriting.contents import entries_of
from gte_surgery.vocabulary.rewriting.tokenizer_json import NewIds, renumbered, require_no_gaps, spliced
from gte_surgery.vocabulary.token_files import (
    ADDED_TOKENS,
    TOKENIZER_CONFIG,
    WORDS,
    dict_of,
    is_id,
    is_key_of_id,
    token_text,
)

_TYPE = 3
_NORMAL = 1
_IN_TEXTS = (_NORMAL, 4, 6)
"""SentencePiece.type: normal, user-defined and byte pieces. Texts do not hold unknown, control and unused ones."""


def settings_rewritten(raw: bytes, in_use: Mapping[str, int], new_ids: NewIds) -> bytes:
    """tokenizer_config.json: the ids that its added_tokens_decoder has as keys; `in_use` are the old ids by text, where
    others are stated.
    """
    document = parse_document(raw, TOKENIZER_CONFIG)
    decoder = dict_of(document.value).get("added_tokens_decoder")
    stated = [(int(key), token) for key, token in dict_of(decoder).items() if is_key_of_id(key)]
    numbered = [(in_use.get(token_text(token), number), token) for number, token in stated]
    kept = sorted((new_ids[number], at) for at, (number, _) in enumerate(numbered) if number in new_ids)
    moved = {"added_tokens_decoder": {str(number): numbered[at][1] for number, at in kept}}
    return replace_members(document, moved).encode() if isinstance(decoder, dict) else raw


def added_rewritten(raw: bytes, in_use: Mapping[str, int], new_ids: NewIds) -> bytes:
    """added_tokens.json: {"<token>": id}, in the order of the file; `in_use` are the old ids, others may be stated."""
    document = parse_document(raw, ADDED_TOKENS)
    stated = dict_of(document.value)
    numbers = {text: in_use.get(text, number) for text, number in stated.items()}
    kept = {text: new_ids[number] for text, number in numbers.items() if is_id(number) and number in new_ids}
    return replace_members(document, kept, stated.keys() - kept.keys()).encode() if stated else raw


def words_rewritten(raw: bytes, new_ids: NewIds) -> bytes:
    """vocab.txt: a token a line, so that ids must follow one another."""
    lines = raw.removesuffix(b"\n").split(b"\n")
    kept = sorted((new_ids[at], line) for at, line in enumerate(lines) if at in new_ids)
    require_no_gaps(WORDS, (number for number, _ in kept), 0, "its ids are the numbers of its lines")
    return b"\n".join(line for _, line in kept) + (b"\n" if raw.endswith(b"\n") else b"")


def numbered_rewritten(raw: bytes, new_ids: NewIds) -> bytes:
    """vocab.json: {"token": id}, by ascending new id."""
    text = raw.decode("utf-8")
    begin = skip_space(text, 0)
    place = Member(begin, begin, begin, len(text.rstrip()))
    return spliced(text, [renumbered(text, place, entries_of(text, place), new_ids)]).encode()


def merges_rewritten(raw: bytes, ids: Mapping[str, int], new_ids: NewIds) -> bytes:
    """merges.txt: two tokens a line, after a line of comment; `ids` are the old ids by text."""
    kept = []
    for line in raw.decode("utf-8").split("\n"):
        left, space, right = line.rstrip("\r").partition(" ")
        is_merge = bool(space) and not line.startswith("#version")
        if not is_merge or all(ids.get(text) in new_ids for text in (left, right, left + right)):
            kept.append(line)
    return "\n".join(kept).encode()


def sentencepiece_rewritten(raw: bytes, name: str, ids: Mapping[str, int], new_ids: NewIds) -> bytes:
    """A SentencePiece model with the kept pieces in their new order; the special ones stay in front.

    Raises RefusedError where programs that count its pieces would not come to the new ids.
    """
    pieces = [(raw[begin:end], piece_text(raw[begin:end])) for begin, end in piece_spans(raw)]
    special = [piece for piece, _ in pieces if _kind(piece) not in _IN_TEXTS]
    others = [(piece, text) for piece, text in pieces if _kind(piece) in _IN_TEXTS]
    offset = _offset(pieces, others[0][1] if others else "", ids)
    kept = sorted((new_ids[ids[text]], piece) for piece, text in others if ids.get(text) in new_ids)
    for at, (number, _) in enumerate(kept, len(special)):
        if number != at + offset:
            raise RefusedError(
                f"{name}: its piece {at} would be id {at + offset}, and {number} is wanted: its pieces are counted",
                "keep the special tokens where they are and the others in their order, or remove the file first",
            )
    parts = iter([*special, *(piece for _, piece in kept)])
    out = bytearray()
    for field, _, end, start in fields(raw):
        if field != 1:
            out += raw[start:end]
            continue
        piece = next(parts, None)
        if piece is not None:
            out += b"\x0a" + _varint(len(piece)) + piece
    return bytes(out)


def _offset(pieces: list[tuple[bytes, str]], text: str, ids: Mapping[str, int]) -> int:
    """How much later than its place in the model the id of a piece is: 1 beside XLM-R's tokenizer, else 0."""
    place = next((at for at, (_, each) in enumerate(pieces) if each == text), 0)
    return ids.get(text, place) - place


def _kind(piece: bytes) -> int:
    for field, begin, end, _ in fields(piece):
        if field == _TYPE and begin == end:
            raise StreamError("the type of a piece is no number")
        if field == _TYPE:
            return piece[begin]
    return _NORMAL


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
