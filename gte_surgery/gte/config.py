"""A GTE config in one form, whatever its dialect: every field with the value that the loader would use.

Reads a parsed config.json and fills in the defaults of its dialect. It refuses only what no model could be built from;
whether the values are wise, and whether a flag is a real boolean, is for `gte_surgery.checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gte_surgery.errors import CheckpointError
from gte_surgery.gte.new_impl.dialect import Dialect, detect_dialect
from gte_surgery.gte.new_impl.rope import Rope
from gte_surgery.gte.new_impl.rope_reading import LARGEST_NUMBER, read_rope
from gte_surgery.gte.wording import shown

__all__ = ["FLAGS", "Dialect", "GteConfig", "detect_dialect", "read_config"]

FLAGS = (
    "unpad_inputs",
    "use_memory_efficient_attention",
    "pack_qkv",
    "logn_attention_scale",
    "logn_attention_clip1",
    "tie_word_embeddings",
)
"""The keys of a config that are true or false."""
LARGEST_SIZE = 2**31 - 1
"""No size in a config may be larger; the two below hold tighter bounds, since work grows with them."""
LARGEST_WIDTH = 2**20
MOST_LAYERS = 2**12
LAYER_NORM_TYPES = ("layer_norm", "rms_norm")
POSITION_EMBEDDING_TYPES = ("rope", "absolute")


@dataclass(frozen=True, slots=True)
class GteConfig:
    """The fields of a GTE config, effective values: absent keys carry the default of the dialect.

    In the native dialect `layer_norm_type`, `position_embedding_type` and `pack_qkv` are fixed to what the native
    model does ("layer_norm", "rope", True), whatever keys ride along in the file.
    """

    dialect: Dialect
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    pad_token_id: int | None
    initializer_range: float
    layer_norm_eps: float
    layer_norm_type: str
    position_embedding_type: str
    pack_qkv: bool
    hidden_act: str
    tie_word_embeddings: bool
    architectures: tuple[str, ...]
    num_labels: int
    dtype: str | None
    rope: Rope

    @property
    def head_size(self) -> int:
        """Width of one attention head, rounded down where the heads do not divide `hidden_size`."""
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True, slots=True)
class _Defaults:
    vocab_size: int
    max_position_embeddings: int
    pad_token_id: int | None


_REMOTE_DEFAULTS = _Defaults(vocab_size=30528, max_position_embeddings=2048, pad_token_id=None)
_NATIVE_DEFAULTS = _Defaults(vocab_size=250048, max_position_embeddings=8192, pad_token_id=1)


def read_config(config: Mapping[str, object]) -> GteConfig:
    """The effective config; raises CheckpointError naming the key whose value no model could be built from.

    Flags count as Python counts them: the string "false" is on, as it would be for the loader.
    """
    dialect = detect_dialect(config)
    if dialect is None:
        found = shown(config["model_type"]) if "model_type" in config else "missing"
        raise CheckpointError(f'model_type: {found}, must be "new" or "gte"', "this is not the config of a GTE model")
    is_native = dialect is Dialect.NATIVE
    defaults = _NATIVE_DEFAULTS if is_native else _REMOTE_DEFAULTS
    hidden_size = _integer(config, "hidden_size", 768, least=1, most=LARGEST_WIDTH)
    heads = _integer(config, "num_attention_heads", 12, least=1, most=hidden_size)
    if is_native:
        _check_head_dim(config, hidden_size // heads)
    return GteConfig(
        dialect=dialect,
        vocab_size=_integer(config, "vocab_size", defaults.vocab_size, least=1),
        hidden_size=hidden_size,
        num_hidden_layers=_integer(config, "num_hidden_layers", 12, least=1, most=MOST_LAYERS),
        num_attention_heads=heads,
        intermediate_size=_integer(config, "intermediate_size", 3072, least=1),
        max_position_embeddings=_integer(config, "max_position_embeddings", defaults.max_position_embeddings, least=1),
        type_vocab_size=_integer(config, "type_vocab_size", 1, least=0),
        pad_token_id=_pad_token_id(config, defaults.pad_token_id),
        initializer_range=_number(config, "initializer_range", 0.02),
        layer_norm_eps=_number(config, "layer_norm_eps", 1e-12),
        layer_norm_type="layer_norm" if is_native else _choice(config, "layer_norm_type", LAYER_NORM_TYPES),
        position_embedding_type="rope"
        if is_native
        else _choice(config, "position_embedding_type", POSITION_EMBEDDING_TYPES),
        pack_qkv=is_native or bool(config.get("pack_qkv", True)),
        hidden_act=_text(config, "hidden_act", "gelu"),
        tie_word_embeddings=bool(config.get("tie_word_embeddings", True)),
        architectures=_architectures(config),
        num_labels=_num_labels(config),
        dtype=_dtype(config),
        rope=read_rope(config, dialect, hidden_size // heads),
    )


def _wrong(key: str, value: object, wanted: str) -> CheckpointError:
    return CheckpointError(f"{key}: {shown(value)}, must be {wanted}")


def _integer(config: Mapping[str, object], key: str, default: int, least: int, most: int = LARGEST_SIZE) -> int:
    value = config.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(key, value, "an integer")
    if value < least:
        raise _wrong(key, value, f"at least {least}")
    if value > most:
        raise _wrong(key, value, f"at most {most}")
    return value


def _check_head_dim(config: Mapping[str, object], head_size: int) -> None:
    """The native model obeys a `head_dim`; a GTE has none of its own."""
    value = config.get("head_dim", head_size)
    if value != head_size:
        raise _wrong("head_dim", value, f"absent, or hidden_size / num_attention_heads = {head_size}")


def _number(config: Mapping[str, object], key: str, default: float) -> float:
    value = config.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _wrong(key, value, "a number")
    if not 0 <= value < LARGEST_NUMBER:
        raise _wrong(key, value, f"from 0 to {LARGEST_NUMBER}")
    return float(value)


def _text(config: Mapping[str, object], key: str, default: str) -> str:
    value = config.get(key, default)
    if not isinstance(value, str):
        raise _wrong(key, value, "a string")
    return value


def _choice(config: Mapping[str, object], key: str, choices: tuple[str, ...]) -> str:
    value = _text(config, key, choices[0])
    if value not in choices:
        raise _wrong(key, value, " or ".join(map(shown, choices)))
    return value


def _pad_token_id(config: Mapping[str, object], default: int | None) -> int | None:
    if config.get("pad_token_id", default) is None:
        return None
    value = config.get("pad_token_id", default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong("pad_token_id", value, "an integer or null")
    return value


def _architectures(config: Mapping[str, object]) -> tuple[str, ...]:
    value = config.get("architectures")
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def _num_labels(config: Mapping[str, object]) -> int:
    """`id2label` counts, as in transformers 4; a contradicting `num_labels` wins only in transformers 5."""
    labels = config.get("id2label")
    if isinstance(labels, Mapping):
        return len(labels)
    return 2 if config.get("num_labels") is None else _integer(config, "num_labels", 2, least=0)


def _dtype(config: Mapping[str, object]) -> str | None:
    for key in ("dtype", "torch_dtype"):
        value = config.get(key)
        if isinstance(value, str):
            return value
    return None
