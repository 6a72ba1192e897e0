"""The files beside the weights that other programs read: tokenizer, pooling, sequence length.

Only small parts are read: tokenizer.json is 17 MB and its first quarter megabyte says enough. A file that is bad or
absent yields nothing, never an error; the rules compare what is found with the config.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import opened, read_at, read_json, read_whole
from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError

VOCABULARY = "vocab.txt"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    VOCABULARY,
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
)
POOLING_CONFIG = "1_Pooling/config.json"
SENTENCE_CONFIG = "sentence_bert_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
MODULES = "modules.json"
JSON_SIDECARS = (TOKENIZER_CONFIG, "special_tokens_map.json", MODULES, SENTENCE_CONFIG, POOLING_CONFIG)
"""The small JSON files beside the weights."""
ROLES = ("pad", "cls", "sep", "mask", "bos", "eos", "unk")
_TOKENIZER_HEAD = 1 << 18
_VOCABULARY_LIMIT = 1 << 23
_MOST_WORDS = 500_000


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What the tokenizer files say: `files` present, special `ids` by role ("pad", "cls", ...), added `tokens` by id.

    Tokens are as messages show them. `vocab_size` is the least number of table rows that holds every id seen; None
    when none was seen.
    """

    files: tuple[str, ...] = ()
    ids: Mapping[str, int] = field(default_factory=dict)
    tokens: Mapping[int, str] = field(default_factory=dict)
    vocab_size: int | None = None


@dataclass(frozen=True, slots=True)
class Pooling:
    """1_Pooling/config.json: the modes that are on ("cls_token", "mean_tokens", ...) and the width of the vectors."""

    modes: tuple[str, ...]
    width: int | None

    @property
    def mode(self) -> str:
        """The modes as one word, "cls_token" for a GTE; several are joined with "+"."""
        return "+".join(self.modes)


def special_tokens(checkpoint: Checkpoint) -> TokenizerFacts:
    """Special token ids, from tokenizer_config.json, special_tokens_map.json, vocab.txt and tokenizer.json's head."""
    files = tuple(name for name in TOKENIZER_FILES if checkpoint.has(name))
    if not files:
        return TokenizerFacts()
    settings = _object(checkpoint, TOKENIZER_CONFIG)
    words = _word_ids(checkpoint)
    tokens = _added_tokens(settings.get("added_tokens_decoder")) | _tokenizer_tokens(checkpoint)
    by_text = words | {text: number for number, text in tokens.items()}
    ids: dict[str, int] = {}
    for role in ROLES:
        for source in (settings, _object(checkpoint, "special_tokens_map.json")):
            text = _token_text(source.get(f"{role}_token"))
            if text in by_text:
                ids.setdefault(role, by_text[text])
    printable = {number: shown(text) for number, text in tokens.items()}
    return TokenizerFacts(files, ids, printable, max(by_text.values()) + 1 if by_text else None)


def pooling(checkpoint: Checkpoint) -> Pooling | None:
    """The sentence-transformers pooling, or None without a readable 1_Pooling/config.json."""
    settings = _object(checkpoint, POOLING_CONFIG)
    if not settings:
        return None
    prefix = "pooling_mode_"
    modes = tuple(
        key.removeprefix(prefix) for key, value in settings.items() if key.startswith(prefix) and value is True
    )
    named = settings.get("pooling_mode")
    if not modes and isinstance(named, str):
        modes = (named,)
    width = settings.get("word_embedding_dimension")
    return Pooling(modes, width if type(width) is int else None)


def max_seq_length(checkpoint: Checkpoint) -> int | None:
    """`max_seq_length` of sentence_bert_config.json, in tokens."""
    length = _object(checkpoint, SENTENCE_CONFIG).get("max_seq_length")
    return length if type(length) is int else None


def read_sidecar(checkpoint: Checkpoint, name: str) -> Document | None:
    """A small JSON file beside the weights; None when it is absent. Raises CheckpointError when it cannot be read."""
    if not checkpoint.has(name):
        return None
    file = checkpoint.readable(name)
    if file is None:
        raise CheckpointError(f"{name}: not a regular file of this checkpoint")
    return read_json(file)


def _object(checkpoint: Checkpoint, name: str) -> dict[str, object]:
    """The members of a small JSON file; none when it is absent, bad, too large or leads out of the checkpoint."""
    try:
        document = read_sidecar(checkpoint, name)
    except CheckpointError:
        return {}
    value = document.value if document is not None else None
    return value if isinstance(value, dict) else {}


def _word_ids(checkpoint: Checkpoint) -> dict[str, int]:
    """Ids of a WordPiece vocab.txt: a token's id is its line, from 0."""
    file = checkpoint.readable(VOCABULARY)
    if file is None:
        return {}
    try:
        text = read_whole(file.place, _VOCABULARY_LIMIT).decode("utf-8")
    except (CheckpointError, UnicodeDecodeError):
        return {}
    if text.count("\n") > _MOST_WORDS:
        return {}
    return {line.rstrip("\r"): number for number, line in enumerate(text.removesuffix("\n").split("\n"))}


def _added_tokens(decoder: object) -> dict[int, str]:
    """{"0": {"content": "<s>"}, ...} as id to token."""
    tokens: dict[int, str] = {}
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        text = _token_text(token)
        if text and number.isascii() and number.isdigit() and len(number) <= 9:
            tokens[int(number)] = text
    return tokens


def _tokenizer_tokens(checkpoint: Checkpoint) -> dict[int, str]:
    """The added tokens of tokenizer.json, which the tokenizers package writes before the vocabulary."""
    file = checkpoint.readable("tokenizer.json")
    if file is None:
        return {}
    try:
        with opened(file.place) as reading:
            head = read_at(reading, 0, _TOKENIZER_HEAD).decode("utf-8", "ignore")
        begin = head.index("[", head.index('"added_tokens"'))
        added, _ = json.JSONDecoder().raw_decode(head, begin)
    except (CheckpointError, ValueError, RecursionError):
        return {}
    tokens: dict[int, str] = {}
    for token in added:
        number = token.get("id") if isinstance(token, dict) else None
        if type(number) is int and 0 <= number < 10**9 and (text := _token_text(token)):
            tokens[number] = text
    return tokens


def _token_text(token: object) -> str:
    """A token given as its text or as {"content": text}; "" for anything else."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""
