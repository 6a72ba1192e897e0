"""The fields of a config in one form, whatever its family and dialect, and how each is read from config.json.

A reader refuses only what no model could be built from; whether the values are wise is for `gte_surgery.checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gte_surgery.errors import CheckpointError
from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.rope import LARGEST_NUMBER, NATIVE_THETA, Rope
from gte_surgery.gte.wording import shown

Values = Mapping[str, object]
"""The members of a config.json."""

RUNNING = (
    "_attn_implementation _attn_implementation_internal _name_or_path add_cross_attention chunk_size_feed_forward "
    "dtype embedding_size gradient_checkpointing is_causal is_decoder name_or_path output_attentions "
    "output_hidden_states return_dict tie_word_embeddings torch_dtype use_cache use_return_dict"
)
"""Members of every config that models read as they run."""
_CARRIED = (
    "architectures auto_map attn_implementation bad_words_ids begin_suppress_tokens bos_token_id cls_token_id "
    "cross_attention_hidden_size custom_pipelines decoder_start_token_id default_theta diversity_penalty do_sample "
    "early_stopping encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty finetuning_task "
    "forced_bos_token_id forced_eos_token_id head_dim id2label is_encoder_decoder label2id length_penalty "
    "mask_token_id max_length min_length model_type no_repeat_ngram_size num_beam_groups num_beams "
    "num_return_sequences output_past output_scores partial_rotary_factor prefix pruned_heads quantization_config "
    "remove_invalid_values repetition_penalty return_dict_in_generate rope_parameters rope_type sep_token_id "
    "sbert_ce_default_activation_function sentence_transformers suppress_tokens "
    "task_specific_params temperature tf_legacy_loss tie_encoder_decoder "
    "tokenizer_class top_k top_p torchscript transformers_version typical_p unk_token_id unsloth_version "
    "use_bfloat16 matryoshka_dimensions"
)
CARRIED = frozenset(_CARRIED.split())
"""Members that writers leave in any config [transformers 4.57.6 and 5.24, configuration_utils.py]."""

_ACTIVATIONS = (
    "gelu gelu_10 gelu_accurate gelu_fast gelu_new gelu_python gelu_python_tanh gelu_pytorch_tanh hardswish laplace "
    "leaky_relu linear mish prelu quick_gelu relu relu2 relu6 sigmoid silu sqrtsoftplus swish tanh xielu"
)
ACTIVATIONS = frozenset(_ACTIVATIONS.split())
"""The activations that transformers has [4.57.6 and 5.24, activations.py, ACT2FN]."""

LARGEST_SIZE = 2**31 - 1
"""No size in a config may be larger; the two below hold tighter bounds, since work grows with them."""
LARGEST_WIDTH = 2**20
MOST_LAYERS = 2**12


class GteConfig(NamedTuple):
    """The fields of a config, effective values: absent keys carry the default of the family and the dialect.

    What a family or a dialect has only one way of (`layer_norm_type`, `position_embedding_type`, `pack_qkv`, no types)
    is fixed to that, whatever keys ride along in the file.
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
    layer_norm_type: str
    layer_norm_eps: float
    position_embedding_type: str
    pack_qkv: bool
    hidden_act: str
    tie_word_embeddings: bool
    architectures: tuple[str, ...]
    num_labels: int
    dtype: str | None
    rope: Rope
    local_rope: Rope | None = None
    """Of the layers with a sliding window, where the family has such."""
    layer_types: tuple[str, ...] = ()
    """What each layer attends to, where they differ."""
    window: int = 0
    """Tokens that a sliding window spans, both sides together."""
    biased: tuple[str, ...] = ()
    """Kinds of modules that have a bias, where that is a matter of the config."""
    draw_cut: float | None = None
    """Standard deviations from zero at which fresh weights are cut off."""

    @property
    def head_size(self) -> int:
        """Width of one attention head, rounded down where the heads do not divide `hidden_size`."""
        return self.hidden_size // self.num_attention_heads


class Defaults(NamedTuple):
    """What a loader takes for the members that are absent and whose defaults differ from family to family."""

    vocab_size: int
    max_position_embeddings: int
    pad_token_id: int | None
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"


def usual_config(config: Values, defaults: Defaults, spelled: Mapping[str, str] | None = None) -> GteConfig:
    """The fields that every family reads alike, and of the others those of a native model with plain rope; `spelled`
    maps a field to the member that says it, where they differ.

    Raises CheckpointError naming the member whose value no model could be built from. Flags count as Python counts
    them: the string "false" is on, as it would be for the loader.
    """

    def size(field: str, least: int = 1, most: int = LARGEST_SIZE) -> int:
        return integer(config, told(field), getattr(defaults, field), least, most)

    def told(field: str) -> str:
        return (spelled or {}).get(field, field)

    hidden_size = size("hidden_size", most=LARGEST_WIDTH)
    return GteConfig(
        dialect=Dialect.NATIVE,
        vocab_size=size("vocab_size"),
        hidden_size=hidden_size,
        num_attention_heads=size("num_attention_heads", most=hidden_size),
        num_hidden_layers=size("num_hidden_layers", most=MOST_LAYERS),
        intermediate_size=size("intermediate_size"),
        max_position_embeddings=size("max_position_embeddings"),
        type_vocab_size=size("type_vocab_size", least=0),
        pad_token_id=pad_token_id(config, defaults.pad_token_id),
        initializer_range=number(config, told("initializer_range"), 0.02),
        layer_norm_eps=number(config, told("layer_norm_eps"), defaults.layer_norm_eps),
        layer_norm_type="layer_norm",
        position_embedding_type="rope",
        pack_qkv=True,
        hidden_act=text(config, told("hidden_act"), defaults.hidden_act),
        tie_word_embeddings=bool(config.get("tie_word_embeddings", True)),
        architectures=architectures(config),
        num_labels=num_labels(config),
        dtype=dtype(config),
        rope=Rope("default", NATIVE_THETA),
    )


def wrong(key: str, value: object, wanted: str) -> CheckpointError:
    """The error for a member's value: found and wanted."""
    return CheckpointError(f"{key}: {shown(value)}, must be {wanted}")


def integer(config: Values, key: str, default: int, least: int, most: int = LARGEST_SIZE) -> int:
    """A whole number within bounds."""
    value = config.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(key, value, "an integer")
    if value < least:
        raise wrong(key, value, f"at least {least}")
    if value > most:
        raise wrong(key, value, f"at most {most}")
    return value


def number(config: Values, key: str, default: float) -> float:
    """A number from 0 to what float32 holds."""
    value = config.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong(key, value, "a number")
    if not 0 <= value < LARGEST_NUMBER:
        raise wrong(key, value, f"from 0 to {LARGEST_NUMBER}")
    return float(value)


def text(config: Values, key: str, default: str) -> str:
    """A string."""
    value = config.get(key, default)
    if not isinstance(value, str):
        raise wrong(key, value, "a string")
    return value


def choice(config: Values, key: str, choices: tuple[str, ...]) -> str:
    """One of some words, the first if none is given."""
    value = text(config, key, choices[0])
    if value not in choices:
        raise wrong(key, value, " or ".join(map(shown, choices)))
    return value


def pad_token_id(config: Values, default: int | None) -> int | None:
    """The pad id; null means none."""
    value = config.get("pad_token_id", default)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong("pad_token_id", value, "an integer or null")
    return value


def architectures(config: Values) -> tuple[str, ...]:
    """The classes that the config names."""
    value = config.get("architectures")
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def look_both_ways(config: Values) -> None:
    """Raises CheckpointError where `is_causal` is on: transformers 5 goes by it."""
    if config.get("is_causal"):
        raise wrong("is_causal", config["is_causal"], "false: tokens of a GTE see those before and behind them")


def same_head_size(config: Values, head_size: int) -> None:
    """Raises CheckpointError where `head_dim` says another one: transformers 5 goes by it."""
    if config.get("head_dim", head_size) != head_size:
        wanted = f"absent, or hidden_size / num_attention_heads = {head_size}"
        raise wrong("head_dim", config["head_dim"], wanted)


def num_labels(config: Values) -> int:
    """`id2label` counts, as in transformers 4; a contradicting `num_labels` wins only in transformers 5.

    A model for multiple choice gives each choice one number, whatever the labels are.
    """
    named = config.get("architectures")
    if isinstance(named, list) and any(str(name).endswith("ForMultipleChoice") for name in named):
        return 1
    labels = config.get("id2label")
    if isinstance(labels, Mapping):
        return len(labels)
    return 2 if config.get("num_labels") is None else integer(config, "num_labels", 2, least=0)


def dtype(config: Values) -> str | None:
    """The dtype that the config states: "float16", "torch.float16"."""
    for key in ("dtype", "torch_dtype"):
        value = config.get(key)
        if isinstance(value, str):
            return value
    return None
