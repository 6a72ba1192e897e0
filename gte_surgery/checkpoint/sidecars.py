"""The small JSON files beside the weights that other programs read: pooling, sequence length, settings.

A file that is bad or absent yields nothing, never an error; the rules compare what is found with the config. What the
tokenizer's files come to is for `vocabulary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import read_json
from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.errors import CheckpointError

POOLING_CONFIG = "1_Pooling/config.json"
SENTENCE_CONFIG = "sentence_bert_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
MODULES = "modules.json"
JSON_SIDECARS = (
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    MODULES,
    SENTENCE_CONFIG,
    POOLING_CONFIG,
)
"""The small JSON files beside the weights."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """1_Pooling/config.json: the modes that are on ("cls_token", "mean_tokens", ...) and the width of the vectors."""

    modes: tuple[str, ...]
    width: int | None

    @property
    def mode(self) -> str:
        """The modes as one word, "cls_token" for a GTE; several are joined with "+"."""
        return "+".join(self.modes)


def pooling(checkpoint: Checkpoint) -> Pooling | None:
    """The sentence-transformers pooling, or None without a readable 1_Pooling/config.json."""
    settings = members_of(checkpoint, POOLING_CONFIG)
    if not settings:
        return None
    prefix = "pooling_mode_"
    modes = tuple(
        key.removeprefix(prefix) for key, value in settings.items() if key.startswith(prefix) and value is True
    )
    named = settings.get("pooling_mode")
    if not modes and isinstance(named, str):
        modes = (named,)
    width = settings.get(width_key(settings))
    return Pooling(modes, width if type(width) is int else None)


def width_key(settings: Mapping[str, object]) -> str:
    """The key of the width in a pooling's settings: the new one of sentence-transformers from 5.4 on, or the old one.

    Written are `embedding_dimension` and `pooling_mode`, a word; before, `word_embedding_dimension` and a boolean for
    each mode. Both are read [sentence-transformers 6.2, sentence_transformer/modules/pooling.py].
    """
    return "embedding_dimension" if "embedding_dimension" in settings else "word_embedding_dimension"


def kind_of_save(checkpoint: Checkpoint) -> str:
    """What sentence-transformers saved: "SentenceTransformer", "CrossEncoder" or "SparseEncoder" [6.2,
    base/model.py: `model_type`]; the first where nothing says so."""
    found = members_of(checkpoint, "config_sentence_transformers.json").get("model_type")
    return found if isinstance(found, str) else "SentenceTransformer"


def max_seq_length(checkpoint: Checkpoint) -> int | None:
    """`max_seq_length` of sentence_bert_config.json, in tokens."""
    length = members_of(checkpoint, SENTENCE_CONFIG).get("max_seq_length")
    return length if type(length) is int else None


def read_sidecar(checkpoint: Checkpoint, name: str) -> Document | None:
    """A small JSON file beside the weights; None when it is absent. Raises CheckpointError when it cannot be read."""
    if not checkpoint.has(name):
        return None
    file = checkpoint.readable(name)
    if file is None:
        raise CheckpointError(f"{name}: not a regular file of this checkpoint")
    return read_json(file)


def members_of(checkpoint: Checkpoint, name: str) -> dict[str, object]:
    """The members of a small JSON file; none when it is absent, bad, too large or leads out of the checkpoint."""
    try:
        document = read_sidecar(checkpoint, name)
    except CheckpointError:
        return {}
    value = document.value if document is not None else None
    return value if isinstance(value, dict) else {}
