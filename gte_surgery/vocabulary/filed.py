"""The file that holds a tokenizer's vocabulary: tokenizer.json, read in constant memory, or an older one. What cannot
be read says why in `trouble`; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import opened
from gte_surgery.checkpoint.source import Identity, Opened
from gte_surgery.errors import CheckpointError
from gte_surgery.vocabulary.emission import emitted_by
from gte_surgery.vocabulary.json_stream import JsonStream, StreamError
from gte_surgery.vocabulary.pieces import Pieces, json_pieces, line_pieces, sentencepiece_pieces, skip_merges
from gte_surgery.vocabulary.token_files import (
    MOST_BYTES,
    NUMBERED_WORDS,
    SENTENCEPIECE,
    TOKENIZER_JSON,
    VOCABULARIES,
    AddedToken,
    dict_of,
    is_id,
    list_of,
    token_text,
)

FAR_BYTES = 1 << 18
"""A tokenizer.json of more is not fetched whole from a hub to be looked at."""
_FAIRSEQ = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
"""A SentencePiece model beside XLM-R's tokenizer has its pieces one id later than it counts them, and these first
[transformers 4.57, tokenization_xlm_roberta.py]."""


class TokenizerJson(NamedTuple):
    """tokenizer.json: the small members whole, of the model its type and small members, and the vocabulary's size.
    `places` are the bytes [begin, end) where the value of each member stands, "model/vocab" and the like, in the file
    that is `identity`; that is None where not all of it was read.
    """

    members: Mapping[str, object]
    model: Mapping[str, object]
    pieces: Pieces
    places: Mapping[str, tuple[int, int]]
    identity: Identity | None = None

    @property
    def added(self) -> tuple[AddedToken, ...]:
        """The tokens of added_tokens: [{"id": 0, "content": "<s>", …}, …]."""
        found = ((at, dict_of(token).get("id"), token_text(token)) for at, token in enumerate(self.listed))
        return tuple(
            AddedToken(text, number, TOKENIZER_JSON, f"/added_tokens/{at}/id")
            for at, number, text in found
            if text and is_id(number)
        )

    @property
    def listed(self) -> list[object]:
        return list_of(self.members.get("added_tokens"))

    @property
    def padding(self) -> Mapping[str, object]:
        return dict_of(self.members.get("padding"))

    @property
    def texts(self) -> set[str]:
        """The texts of the tokens that it names."""
        emitted = {each.text for each in emitted_by(self.members, {})}
        return emitted | {token_text(token) for token in (*self.listed, self.model.get("unk_token"))}


@dataclass(frozen=True, slots=True)
class Filed:
    """The vocabulary of a checkpoint: the file that it was read from, "" for none, and what that holds; and why others
    could not be read, by name.
    """

    source: str = ""
    pieces: Pieces | None = None
    whole: TokenizerJson | None = None
    trouble: Mapping[str, str] = field(default_factory=dict)


def read_filed(checkpoint: Checkpoint, wanted: Collection[str]) -> Filed:
    """The vocabulary of a checkpoint from the first file that has one; `wanted` are texts whose ids are looked up."""
    trouble: dict[str, str] = {}
    for name in filter(checkpoint.has, VOCABULARIES):
        try:
            file = checkpoint.readable(name)
            if file is None:
                raise StreamError("not a regular file of this checkpoint, or a link that leads out of it")
            with opened(file) as reading:
                if reading.identity.size > MOST_BYTES:
                    raise StreamError(f"{reading.identity.size} bytes, at most {MOST_BYTES} are read")
                if name != TOKENIZER_JSON:
                    return Filed(name, _pieces(reading, name, wanted), None, trouble)
                is_far = file.place.near is None and reading.identity.size > FAR_BYTES
                whole = parsed(reading, wanted, FAR_BYTES if is_far else None)
                return Filed(name, whole.pieces, whole, trouble)
        except (StreamError, CheckpointError) as error:
            trouble[name] = error.message if isinstance(error, CheckpointError) else str(error)
    return Filed(trouble=trouble)


def parsed(file: Opened | bytes, wanted: Collection[str] = (), far_piece: int | None = None) -> TokenizerJson:
    """A tokenizer.json, open or its content, in which its own special tokens are looked up too. Raises StreamError and
    CheckpointError. With `far_piece`, read in pieces of so many bytes, only what comes before the vocabulary.
    """
    stream = JsonStream(file, piece=far_piece)
    members: dict[str, object] = {}
    model: dict[str, object] = {}
    places: dict[str, tuple[int, int]] = {}
    found = TokenizerJson(members, model, Pieces(0, 0, {}), places, None if isinstance(file, bytes) else file.identity)
    pieces, asked = None, set[str]()
    for key in stream.members():
        begin = stream.offset
        if key != "model":
            members[key] = stream.value()
            places[key] = begin, stream.offset
            continue
        for inner in stream.members():
            begin = stream.offset
            if inner == "vocab" and far_piece:
                return found._replace(pieces=_stated(found.added), places={}, identity=None)
            if inner == "vocab":
                asked = {*wanted, *found.texts}
                pieces = json_pieces(stream, asked)
            elif inner == "merges":
                skip_merges(stream)
            else:
                model[inner] = stream.value()
            places[f"model/{inner}"] = begin, stream.offset
    stream.require_end()
    if pieces is None:
        raise StreamError("holds no vocabulary")
    if not asked.issuperset(found.texts):
        pieces = json_pieces(JsonStream(file, places["model/vocab"][0]), {*wanted, *found.texts})
    return found._replace(pieces=pieces)


def _stated(added: Collection[AddedToken]) -> Pieces:
    """What the added tokens say of a vocabulary that is not read: the special ones of a published one are in it."""
    ids = {token.text: token.id for token in added}
    rows = max(ids.values(), default=-1) + 1
    return Pieces(rows, rows, ids)


def _pieces(file: Opened, name: str, wanted: Collection[str]) -> Pieces:
    """The vocabulary of an older file. The ids of a SentencePiece model's pieces are those that XLM-R's tokenizer gives
    them: one more, and `<mask>` at the end.
    """
    if name == NUMBERED_WORDS:
        return json_pieces(JsonStream(file), wanted)
    if name not in SENTENCEPIECE:
        return line_pieces(file, wanted)
    pieces = sentencepiece_pieces(file, wanted)
    moved = {text: number + 1 for text, number in pieces.ids.items()} | _FAIRSEQ
    return Pieces(pieces.rows + 2, pieces.count + 2, moved | {"<mask>": pieces.rows + 1})
