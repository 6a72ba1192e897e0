"""The config of this family in its two dialects: which it is, and every field as the loader would have it."""

from __future__ import annotations

from gte_surgery.errors import CheckpointError
from gte_surgery.gte.fields import Defaults, GteConfig, Values, choice, look_both_ways, same_head_size, shared_fields
from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.new_impl.dialect import detect_dialect
from gte_surgery.gte.new_impl.rope_reading import read_rope
from gte_surgery.gte.wording import shown

FLAGS = (
    "unpad_inputs",
    "use_memory_efficient_attention",
    "pack_qkv",
    "logn_attention_scale",
    "logn_attention_clip1",
    "tie_word_embeddings",
)
"""The keys of a config that are true or false."""
LAYER_NORM_TYPES = ("layer_norm", "rms_norm")
POSITION_EMBEDDING_TYPES = ("rope", "absolute")
_REMOTE = Defaults(vocab_size=30528, max_position_embeddings=2048, pad_token_id=None)
NATIVE = Defaults(vocab_size=250048, max_position_embeddings=8192, pad_token_id=1)


def read_config(config: Values) -> GteConfig:
    """The effective config; raises CheckpointError naming the key whose value no model could be built from.

    In the native dialect the norm, the positions and the packing are what the native model does.
    """
    dialect = detect_dialect(config)
    if dialect is None:
        found = shown(config["model_type"]) if "model_type" in config else "missing"
        raise CheckpointError(f'model_type: {found}, must be "new" or "gte"', "this is not the config of a GTE model")
    is_native = dialect is Dialect.NATIVE
    shared = shared_fields(config, NATIVE if is_native else _REMOTE)
    head_size = shared["hidden_size"] // shared["num_attention_heads"]
    if is_native:
        look_both_ways(config)
        same_head_size(config, head_size)
    return GteConfig(
        **shared,
        dialect=dialect,
        layer_norm_type="layer_norm" if is_native else choice(config, "layer_norm_type", LAYER_NORM_TYPES),
        position_embedding_type="rope"
        if is_native
        else choice(config, "position_embedding_type", POSITION_EMBEDDING_TYPES),
        pack_qkv=is_native or bool(config.get("pack_qkv", True)),
        rope=read_rope(config, dialect, head_size),
    )
