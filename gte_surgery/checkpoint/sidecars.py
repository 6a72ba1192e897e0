"""The small JSON files beside the weights that other programs read: pooling, sequence length, settings.

A file that is bad or absent yields nothing, never an error; the rules compare what is found with the config. What the
tokenizer's files come to is for `vocabulary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gte_surgery.checkpoint.directory import (
    CONFIG_NAME,
    MODULES_NAME,
    WEIGHTS_NAME,
    Checkpoint,
    open_folder,
)
from gte_surgery.checkpoint.index import INDEX_NAME
from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.listing import is_unsafe
from gte_surgery.errors import CheckpointError

POOLING_CONFIG = "1_Pooling/config.json"
SENTENCE_CONFIG = "sentence_bert_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
MODULES = MODULES_NAME
SAVE_CONFIG = "config_sentence_transformers.json"
JSON_SIDECARS = (
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    MODULES,
    SENTENCE_CONFIG,
    POOLING_CONFIG,
)
"""The small JSON files beside the weights."""
_OF_THE_SAVE = (MODULES, POOLING_CONFIG, SAVE_CONFIG)


WIDTH_KEYS = ("embedding_dimension", "word_embedding_dimension")
"""What sentence-transformers from 5.4 on calls the width of a pooling, and what it was called before."""
MODE_KEYS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
"""The words of `pooling_mode`, and the boolean that each was before [sentence-transformers 6.2, modules/pooling.py]."""


class Pooling(NamedTuple):
    """1_Pooling/config.json: the modes that are on ("cls_token", "mean_tokens", ...) and the width of the vectors."""

    modes: tuple[str, ...]
    width: int | None

    @property
    def mode(self) -> str:
        """The modes as one word, "cls_token" for a GTE; several are joined with "+"."""
        return "+".join(self.modes)


def pooling(checkpoint: Checkpoint) -> Pooling | None:
    """The sentence-transformers pooling, or None without a readable 1_Pooling/config.json.

    A word, or a list of words, beats booleans, and the new width the old one [measured with sentence-transformers 6.2].
    """
    settings = members_of(checkpoint, POOLING_CONFIG)
    if not settings:
        return None
    width = settings.get(width_key(settings))
    return Pooling(_named(settings) or _switched_on(settings), width if type(width) is int else None)


def _named(settings: Mapping[str, object]) -> tuple[str, ...]:
    named = settings.get("pooling_mode")
    return tuple(each for each in (named if isinstance(named, list) else [named]) if isinstance(each, str))


def _switched_on(settings: Mapping[str, object]) -> tuple[str, ...]:
    prefix = "pooling_mode_"
    return tuple(
        key.removeprefix(prefix) for key, value in settings.items() if key.startswith(prefix) and value is True
    )


def width_key(settings: Mapping[str, object]) -> str:
    """The key of the width in a pooling's settings that is read: the new one where it is there."""
    return next((key for key in WIDTH_KEYS if key in settings), WIDTH_KEYS[-1])


def spelled_as_before(settings: Mapping[str, object]) -> dict[str, object] | None:
    """The settings of a pooling as sentence-transformers before 5.4 wrote them, which all its versions and servers read
    alike: a width and a boolean for each mode. None where the width or the mode is not stated, or a key is unknown.

    >>> spelled_as_before({"embedding_dimension": 768, "pooling_mode": "cls"})["pooling_mode_cls_token"]
    True
    """
    width, named = settings.get(width_key(settings)), _named(settings)
    modes = [MODE_KEYS.get(word, word) for word in named] or [f"pooling_mode_{word}" for word in _switched_on(settings)]
    known = {*WIDTH_KEYS, *MODE_KEYS.values(), "pooling_mode", "include_prompt"}
    if type(width) is not int or not modes or not {*modes, *settings} <= known:
        return None
    booleans = {key: key in modes for key in MODE_KEYS.values()}
    return {WIDTH_KEYS[-1]: width, **booleans, "include_prompt": settings.get("include_prompt", True)}


class Module(NamedTuple):
    """An entry of modules.json: its number there, its kind ("Pooling"), its folder ("" for the save's own), and whether
    sentence-transformers has its code."""

    number: int
    kind: str
    folder: str
    is_own: bool

    @property
    def config(self) -> str:
        """Its config.json, by its name in the save."""
        return f"{self.folder}/{CONFIG_NAME}" if self.folder else CONFIG_NAME


def modules(document: Document | None) -> list[Module]:
    """What a modules.json lists, in order; entries that are no object or name no folder are passed over.

    The kind is the class's name: "Pooling" of "sentence_transformers.models.Pooling", as versions before 5.4 write it,
    and of "sentence_transformers.sentence_transformer.modules.pooling.Pooling".
    """
    listed = document.value if document is not None and isinstance(document.value, list) else []
    found = []
    for number, entry in enumerate(listed):
        if isinstance(entry, dict) and isinstance(entry.get("path"), str):
            origin, _, kind = str(entry.get("type")).rpartition(".")
            found.append(Module(number, kind, _folder(entry["path"]), origin.startswith("sentence_transformers.")))
    return found


def _folder(path: str) -> str:
    """The path without what changes no folder: "1_Pooling" of "./1_Pooling/"."""
    return path if path.startswith("/") else "/".join(part for part in path.split("/") if part not in ("", "."))


def nested(outer: Checkpoint) -> Checkpoint | None:
    """The checkpoint in a folder of `outer` that the modules.json there names, as sentence-transformers saved until
    2021 ("0_Transformer"); None where the weights lie in `outer` itself, or nothing says so.
    """
    if not outer.has(MODULES) or outer.has(WEIGHTS_NAME) or outer.has(INDEX_NAME):
        return None
    try:
        listed = modules(read_sidecar(outer, MODULES))
    except CheckpointError:
        return None
    folders = [each.folder for each in listed if each.kind.endswith("Transformer") and not is_unsafe(each.folder)]
    return next((open_folder(outer, folder) for folder in folders if outer.has(f"{folder}/{CONFIG_NAME}")), None)


def name_in(checkpoint: Checkpoint, name: str) -> str:
    """What a file of a sentence-transformers save is called in the checkpoint: "../modules.json" where that is nested
    in the save."""
    return f"../{name}" if checkpoint.around else name


def kind_of_save(checkpoint: Checkpoint) -> str:
    """What sentence-transformers saved: "SentenceTransformer", "CrossEncoder" or "SparseEncoder" [6.2,
    base/model.py: `model_type`]; the first where nothing says so."""
    found = members_of(checkpoint, SAVE_CONFIG).get("model_type")
    return found if isinstance(found, str) else "SentenceTransformer"


def max_seq_length(checkpoint: Checkpoint) -> int | None:
    """`max_seq_length` of sentence_bert_config.json, in tokens."""
    length = members_of(checkpoint, SENTENCE_CONFIG).get("max_seq_length")
    return length if type(length) is int else None


def longest_text(checkpoint: Checkpoint, positions: int) -> int:
    """How many tokens a text may have where `max_seq_length` is absent: the smaller of the tokenizer's model_max_length
    and the model's positions [sentence-transformers 6.2, base/modules/transformer.py]."""
    stated = members_of(checkpoint, TOKENIZER_CONFIG).get("model_max_length")
    return min(stated, positions) if type(stated) is int and stated > 0 else positions


def read_sidecar(checkpoint: Checkpoint, name: str) -> Document | None:
    """A small JSON file beside the weights; None when it is absent. Raises CheckpointError when it cannot be read."""
    return checkpoint.document(name_in(checkpoint, name) if name in _OF_THE_SAVE else name)


def members_of(checkpoint: Checkpoint, name: str) -> dict[str, object]:
    """The members of a small JSON file; none when it is absent, bad, too large or leads out of the checkpoint."""
    try:
        document = read_sidecar(checkpoint, name)
    except CheckpointError:
        return {}
    return document.members if document is not None else {}
