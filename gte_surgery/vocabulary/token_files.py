"""The tokenizer files beside the weights, each read by itself: tokenizer.json in constant memory, the small ones
whole. What cannot be read says why in `trouble`; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from shlex import join
from types import MappingProxyType
from typing import NamedTuple

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import FileEntry, opened
from gte_surgery.checkpoint.json.strict import escape
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.sidecars import members_of
from gte_surgery.checkpoint.source import Identity, Opened
from gte_surgery.errors import CheckpointError
from gte_surgery.vocabulary.emission import is_id
from gte_surgery.vocabulary.json_stream import JsonStream, StreamError
from gte_surgery.vocabulary.pieces import Pieces, json_pieces, line_pieces, sentencepiece_pieces, skip_merges

TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"
WORDS = "vocab.txt"
NUMBERED_WORDS = "vocab.json"
MERGES = "merges.txt"
SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
TOKENIZER_FILES = (
    TOKENIZER_JSON, TOKENIZER_CONFIG, SPECIAL_TOKENS, ADDED_TOKENS, WORDS, NUMBERED_WORDS, MERGES, *SENTENCEPIECE,
)  # fmt: skip
VOCABULARIES = (TOKENIZER_JSON, WORDS, NUMBERED_WORDS, *SENTENCEPIECE)
"""Those that hold a vocabulary, the first that is there before the others."""

ROLES = ("pad", "cls", "sep", "mask", "bos", "eos", "unk")
FLAGS = ("special", "normalized", "single_word", "lstrip", "rstrip")
"""What an added token may be."""
_IN_TURN = tuple(f"{role}_token" for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
_EXTRA = ("extra_special_tokens", "additional_special_tokens")
CONTRACTED = ("cls", "sep", "mask", "unk")
"""The parts beside the pad whose ids a batch is held to."""


class Class(NamedTuple):
    """A class of transformers' that makes a tokenizer anew of its vocabulary: of which models of a tokenizer.json, or
    files without one, and with which special tokens where nothing names others; "" for the tokenizer as it is filed."""

    name: str = ""
    made_of: tuple[str, ...] = ()
    words: Mapping[str, str] = MappingProxyType({})

    def fits(self, kind: str) -> bool:
        """Whether a tokenizer is made of this model of a tokenizer.json, or of this file; "" is one that is unsaid."""
        return not self.name or not kind or kind in self.made_of


AS_FILED = Class()
_BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_ROBERTA = {
    "bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "pad": "<pad>", "cls": "<s>", "mask": "<mask>",
}  # fmt: skip
_BACKEND = Class("TokenizersBackend", ("WordPiece", "WordLevel", "Unigram", "BPE", NUMBERED_WORDS, *SENTENCEPIECE))
_CLASSES = {
    **{
        name: Class(name, ("WordPiece", "WordLevel", WORDS), _BERT)
        for name in ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer")
    },
    **dict.fromkeys(("TokenizersBackend", "PreTrainedTokenizerFast"), _BACKEND),
    "XLMRobertaTokenizer": Class("XLMRobertaTokenizer", ("Unigram", *SENTENCEPIECE), _ROBERTA),
    "RobertaTokenizer": Class("RobertaTokenizer", ("BPE", NUMBERED_WORDS), _ROBERTA),
}
_USUAL = {"bert": "BertTokenizer", "gte": "XLMRobertaTokenizer"}
"""By model_type, where no file names a class [transformers 5.24, models/auto/tokenization_auto.py]."""
FAR_BYTES = 1 << 18
"""A tokenizer.json of more is not fetched whole from a hub to be looked at."""
MOST_BYTES = 1 << 27
"""A vocabulary file of more is not read; the largest published one has a quarter of that."""


class AddedToken(NamedTuple):
    """A token beside the vocabulary: its text, the id that the file states, and where; `flags` are those of `FLAGS`
    that are set, of a token that no tokenizer.json holds.
    """

    text: str
    id: int
    file: str
    pointer: str
    flags: frozenset[str] = frozenset()

    @property
    def turn(self) -> int:
        """When it gets its id: with those of tokenizer.json, of the older files, or of the settings' names."""
        is_named = self.file == TOKENIZER_CONFIG and not self.pointer.startswith("/added_tokens_decoder/")
        return 2 if is_named else int(self.file != TOKENIZER_JSON)


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
        listed = self.members.get("added_tokens")
        return tuple(_listed(listed)) if isinstance(listed, list) else ()


@dataclass(frozen=True, slots=True)
class Read:
    """The outcome for a checkpoint: what was read of each kind, and why a file could not be, by name."""

    whole: TokenizerJson | None = None
    words: Pieces | None = None
    source: str = ""
    trouble: Mapping[str, str] = field(default_factory=dict)


def read_files(checkpoint: Checkpoint, wanted: Collection[str]) -> Read:
    """The vocabulary of a checkpoint from the first file that has one; `wanted` are texts whose ids are looked up."""
    trouble: dict[str, str] = {}
    for name in VOCABULARIES:
        if not checkpoint.has(name):
            continue
        file = checkpoint.readable(name)
        try:
            if file is None:
                raise StreamError("not a regular file of this checkpoint, or a link that leads out of it")
            if name == TOKENIZER_JSON:
                return Read(read_tokenizer_json(file, wanted), None, name, trouble)
            return Read(None, _words(file, name, wanted), name, trouble)
        except (StreamError, CheckpointError) as error:
            trouble[name] = error.message if isinstance(error, CheckpointError) else str(error)
    return Read(trouble=trouble)


def read_tokenizer_json(file: FileEntry, wanted: Collection[str]) -> TokenizerJson:
    """Reads a tokenizer.json; its own special tokens are looked up too. Raises StreamError and CheckpointError.

    Of a large one on a hub only what comes before its vocabulary.
    """
    with opened(file.place) as reading:
        if reading.identity.size > MOST_BYTES:
            raise StreamError(f"{reading.identity.size} bytes, at most {MOST_BYTES} are read")
        if file.place.near is None and reading.identity.size > FAR_BYTES:
            return parsed(reading, wanted, FAR_BYTES)
        return parsed(reading, wanted)._replace(identity=reading.identity)


def parsed(file: Opened | bytes, wanted: Collection[str] = (), far_piece: int | None = None) -> TokenizerJson:
    """The same of an open file, or of its content; with `far_piece`, read in pieces of so many bytes, only of what
    comes before the vocabulary.
    """
    stream = JsonStream(file, piece=far_piece)
    members: dict[str, object] = {}
    model: dict[str, object] = {}
    texts, pieces, asked = set(wanted), None, 0
    places: dict[str, tuple[int, int]] = {}
    for key in stream.members():
        begin = stream.offset
        if key != "model":
            members[key] = stream.value()
            places[key] = begin, stream.offset
            texts |= set(_own_texts(members))
            continue
        for inner in stream.members():
            begin = stream.offset
            if inner == "vocab" and far_piece:
                return TokenizerJson(members, model, _stated_pieces(members), {})
            if inner == "vocab":
                asked = len(texts)
                pieces = json_pieces(stream, texts)
            elif inner == "merges":
                skip_merges(stream)
            else:
                model[inner] = stream.value()
            places[f"model/{inner}"] = begin, stream.offset
    texts |= set(_own_texts(members)) | {text for text in (model.get("unk_token"),) if isinstance(text, str)}
    stream.require_end()
    if pieces is None:
        raise StreamError("holds no vocabulary")
    if len(texts) > asked:
        pieces = json_pieces(JsonStream(file, places["model/vocab"][0]), texts)
    return TokenizerJson(members, model, pieces, places)


def _stated_pieces(members: Mapping[str, object]) -> Pieces:
    """What the added tokens say of a vocabulary that is not read: the special ones of a published one are in it."""
    listed = members.get("added_tokens")
    ids = {token.text: token.id for token in (_listed(listed) if isinstance(listed, list) else ())}
    rows = max(ids.values(), default=-1) + 1
    return Pieces(rows, rows, ids)


def made_whole(checkpoint: Checkpoint) -> str:
    """The command with which transformers makes a tokenizer.json of the older files; "" where it could not."""
    if checkpoint.snapshot is not None or not any(checkpoint.readable(name) for name in VOCABULARIES[1:]):
        return ""
    script = (
        "import sys, transformers; transformers.AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])"
    )
    return f"transformers makes one: `{join(('python', '-c', script, shown(str(checkpoint.path))))}`"


def settings(checkpoint: Checkpoint) -> list[Mapping[str, object]]:
    """tokenizer_config.json and special_tokens_map.json, as far as they can be read, the one that is believed first.

    That is the latter where the former has no added_tokens_decoder [transformers 5.24, tokenization_utils_base.py]. Its
    additional_special_tokens are not taken of a SentencePiece model, whose own control pieces stand there then
    [convert_slow_tokenizer.py, SentencePieceExtractor].
    """
    stated, older = (members_of(checkpoint, name) for name in (TOKENIZER_CONFIG, SPECIAL_TOKENS))
    if "added_tokens_decoder" in stated:
        return [stated, older]
    if next((name for name in VOCABULARIES if checkpoint.has(name)), "") in SENTENCEPIECE:
        older = {key: value for key, value in older.items() if key != _EXTRA[1]}
    return [older, stated]


def class_of(checkpoint: Checkpoint) -> Class:
    """The class that transformers makes the tokenizer with; of a ModernBERT it takes the file as it is, whatever is
    stated [5.24, models/auto/tokenization_auto.py, AutoTokenizer].
    """
    kind = str(checkpoint.values.get("model_type"))
    stated = members_of(checkpoint, TOKENIZER_CONFIG).get("tokenizer_class") or checkpoint.values.get("tokenizer_class")
    name = str(stated) if stated else _USUAL.get(kind, "")
    return _CLASSES.get(name.removesuffix("Fast"), _CLASSES.get(name, AS_FILED)) if kind != "modernbert" else _BACKEND


def older_tokens(checkpoint: Checkpoint) -> Iterator[AddedToken]:
    """The tokens that tokenizer_config.json's added_tokens_decoder adds, or without it added_tokens.json, by ascending
    id [transformers 5.24 and 4.57.6, tokenization_utils_base.py].
    """
    found: list[AddedToken] = []
    stated = members_of(checkpoint, TOKENIZER_CONFIG)
    decoder = stated.get("added_tokens_decoder")
    older = members_of(checkpoint, ADDED_TOKENS) if "added_tokens_decoder" not in stated else {}
    special = {token.text for token in named_tokens(settings(checkpoint))} if older else ()
    for text, number in older.items():
        if text and is_id(number) and isinstance(number, int):
            flags = _flags(None, text in special)
            found.append(AddedToken(text, number, ADDED_TOKENS, f"/{escape(text)}", flags))
    for key, token in decoder.items() if isinstance(decoder, dict) else ():
        text = token_text(token)
        if text and key.isascii() and key.isdigit() and len(key) <= 10 and is_id(int(key)):
            pointer = f"/added_tokens_decoder/{key}"
            found.append(AddedToken(text, int(key), TOKENIZER_CONFIG, pointer, _flags(token, False)))
    yield from sorted(found, key=lambda token: token.id)


def named_tokens(stated: Iterable[Mapping[str, object]]) -> Iterator[AddedToken]:
    """The special tokens that settings name, each at the key that does. Those that a vocabulary has not are added to
    it, with the next ids in this order [transformers 5.24, tokenization_utils_base.py and _tokenizers.py].
    """
    for source in stated:
        own = [key for key in source if key.endswith("_token") and key not in _IN_TURN and isinstance(source[key], str)]
        key = next((key for key in _EXTRA if source.get(key)), "")
        extra = source.get(key)
        listed, of_names = extra if isinstance(extra, list) else [], extra if isinstance(extra, dict) else {}
        tokens = [(each, source.get(each)) for each in (*_IN_TURN, *own)]
        tokens += [(key, token) for token in (*of_names.values(), *listed)]
        for key, token in tokens:
            if text := token_text(token):
                yield AddedToken(text, 0, TOKENIZER_CONFIG, f"/{key}", _flags(token, True) | {"special"})


def _flags(token: object, special: bool) -> frozenset[str]:
    """The flags of an added token, as the package sets those that are not stated."""
    stated = {"special": special, **(token if isinstance(token, dict) else {})}
    stated.setdefault("normalized", not stated["special"])
    return frozenset(name for name in FLAGS if stated.get(name) is True)


def token_text(token: object) -> str:
    """A token given as its text or as {"content": text}; "" for anything else."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""


def _listed(tokens: list[object]) -> Iterator[AddedToken]:
    """tokenizer.json's added_tokens: [{"id": 0, "content": "<s>", …}, …]."""
    for at, token in enumerate(tokens):
        number = token.get("id") if isinstance(token, dict) else None
        if isinstance(number, int) and is_id(number) and (text := token_text(token)):
            yield AddedToken(text, number, TOKENIZER_JSON, f"/added_tokens/{at}/id")


def _own_texts(members: Mapping[str, object]) -> Iterator[str]:
    """The texts that the members of a tokenizer.json name as tokens."""
    listed, padding = members.get("added_tokens"), members.get("padding")
    yield from (token_text(token) for token in (listed if isinstance(listed, list) else ()))
    if isinstance(padding, dict) and isinstance(padding.get("pad_token"), str):
        yield padding["pad_token"]
    yield from _named(members.get("post_processor"))


def _named(post: object) -> Iterator[str]:
    if not isinstance(post, dict):
        return
    inner, specials = post.get("processors"), post.get("special_tokens")
    for each in inner if isinstance(inner, list) else ():
        yield from _named(each)
    for special in specials.values() if isinstance(specials, dict) else ():
        texts = special.get("tokens") if isinstance(special, dict) else None
        yield from (text for text in (texts if isinstance(texts, list) else ()) if isinstance(text, str))
    for role in ("cls", "sep"):
        pair = post.get(role)
        if isinstance(pair, list) and pair and isinstance(pair[0], str):
            yield pair[0]


def _words(file: FileEntry, name: str, wanted: Collection[str]) -> Pieces:
    with opened(file.place) as reading:
        if reading.identity.size > MOST_BYTES:
            raise StreamError(f"{reading.identity.size} bytes, at most {MOST_BYTES} are read")
        if name == NUMBERED_WORDS:
            return json_pieces(JsonStream(reading), wanted)
        return line_pieces(reading, wanted) if name == WORDS else sentencepiece_pieces(reading, wanted)
