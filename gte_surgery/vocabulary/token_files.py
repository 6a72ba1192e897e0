"""The tokenizer files beside the weights, and what the small ones of them say: special tokens by their parts, tokens
that are added, ids that are stated. The file that holds the vocabulary is for `filed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from shlex import join
from typing import NamedTuple, TypeGuard

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import read_whole
from gte_surgery.checkpoint.json.strict import escape
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.sidecars import members_of

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
MOST_BYTES = 1 << 27
"""A tokenizer file of more is not read; the largest published one has a quarter of that."""


class AddedToken(NamedTuple):
    """A token beside the vocabulary: its text, the id that the file states, and where. `turn` is when it gets its id:
    with those of tokenizer.json (0), of the older files (1), or of the settings' names (2). `flags` are those of
    `FLAGS` that are set, of a token that no tokenizer.json holds.
    """

    text: str
    id: int
    file: str
    pointer: str
    turn: int = 0
    flags: frozenset[str] = frozenset()


def made_whole(checkpoint: Checkpoint) -> str:
    """The command with which transformers makes a tokenizer.json of the older files; "" where it could not."""
    if checkpoint.snapshot is not None or not any(checkpoint.readable(name) for name in VOCABULARIES[1:]):
        return ""
    script = (
        "import sys, transformers; transformers.AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])"
    )
    return f"transformers makes one: `{join(('python', '-c', script, shown(str(checkpoint.path))))}`"


def contents_of(checkpoint: Checkpoint, names: Iterable[str]) -> dict[str, bytes]:
    """The content of those of these files that can be read, by name. Raises CheckpointError."""
    entries = {name: checkpoint.readable(name) for name in names}
    return {name: read_whole(entry, MOST_BYTES) for name, entry in entries.items() if entry is not None}


def settings(checkpoint: Checkpoint) -> Mapping[str, object]:
    """tokenizer_config.json and special_tokens_map.json together, as far as they can be read.

    The latter is believed where the former has no added_tokens_decoder [transformers 5.24, tokenization_utils_base.py].
    Its additional_special_tokens are not taken of a SentencePiece model, whose own control pieces stand there then
    [convert_slow_tokenizer.py, SentencePieceExtractor].
    """
    stated, older = (members_of(checkpoint, name) for name in (TOKENIZER_CONFIG, SPECIAL_TOKENS))
    if "added_tokens_decoder" in stated:
        return {**older, **stated}
    if next((name for name in VOCABULARIES if checkpoint.has(name)), "") in SENTENCEPIECE:
        older = {key: value for key, value in older.items() if key != _EXTRA[1]}
    return {**stated, **older}


def older_tokens(checkpoint: Checkpoint) -> Iterator[AddedToken]:
    """The tokens that tokenizer_config.json's added_tokens_decoder adds, or without it added_tokens.json, by ascending
    id [transformers 5.24 and 4.57.6, tokenization_utils_base.py].
    """
    found: list[AddedToken] = []
    stated = members_of(checkpoint, TOKENIZER_CONFIG)
    older = members_of(checkpoint, ADDED_TOKENS) if "added_tokens_decoder" not in stated else {}
    special = {token.text for token in named_tokens(settings(checkpoint))} if older else ()
    for text, number in older.items():
        if text and is_id(number):
            flags = _flags(None, text in special)
            found.append(AddedToken(text, number, ADDED_TOKENS, f"/{escape(text)}", 1, flags))
    for key, token in dict_of(stated.get("added_tokens_decoder")).items():
        text = token_text(token)
        if text and is_key_of_id(key):
            pointer = f"/added_tokens_decoder/{key}"
            found.append(AddedToken(text, int(key), TOKENIZER_CONFIG, pointer, 1, _flags(token, False)))
    yield from sorted(found, key=lambda token: token.id)


def named_tokens(stated: Mapping[str, object], file: str = TOKENIZER_CONFIG) -> Iterator[AddedToken]:
    """The special tokens that settings name, each at the key that does. Those that a vocabulary has not are added to
    it, with the next ids in this order [transformers 5.24, tokenization_utils_base.py and _tokenizers.py].
    """
    own = [key for key in stated if key.endswith("_token") and key not in _IN_TURN and isinstance(stated[key], str)]
    key = next((key for key in _EXTRA if stated.get(key)), "")
    extra = (*dict_of(stated.get(key)).values(), *list_of(stated.get(key)))
    for key, token in (*((each, stated.get(each)) for each in (*_IN_TURN, *own)), *((key, each) for each in extra)):
        if text := token_text(token):
            yield AddedToken(text, 0, file, f"/{key}", 2, _flags(token, True) | {"special"})


def token_text(token: object) -> str:
    """A token given as its text or as {"content": text}; "" for anything else."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""


def is_id(value: object) -> TypeGuard[int]:
    """Whether a JSON value can be a token id: a whole number that 32 bits hold."""
    return type(value) is int and 0 <= value < 2**32


def is_key_of_id(key: str) -> bool:
    """Whether a key of added_tokens_decoder is an id."""
    return key.isascii() and key.isdigit() and len(key) <= 10 and is_id(int(key))


def dict_of(value: object) -> dict[str, object]:
    """A JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[object]:
    """A JSON array, or an empty one for anything else."""
    return value if isinstance(value, list) else []


def _flags(token: object, special: bool) -> frozenset[str]:
    """The flags of an added token, as the package sets those that are not stated."""
    stated = {"special": special, **dict_of(token)}
    stated.setdefault("normalized", not stated["special"])
    return frozenset(name for name in FLAGS if stated.get(name) is True)
