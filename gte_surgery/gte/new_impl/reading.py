"""The config of this family in its two dialects: which it is, every field as the loader would have it, and which
members some published code reads at all.

Everything else rides along unread; where code of one's own lies beside the weights, it may mean other mathematics.
Sources: Alibaba-NLP/new-impl configuration.py and modeling.py; transformers 4.57.6 and 5.24 configuration_utils.py and
models/gte; sentence-transformers 6.2; text-embeddings-inference 1.9 gte.rs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gte_surgery.errors import CheckpointError
from gte_surgery.gte.fields import (
    CARRIED,
    RUNNING,
    Defaults,
    GteConfig,
    Values,
    choice,
    look_both_ways,
    same_head_size,
    usual_config,
)
from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.new_impl.rope_reading import read_rope
from gte_surgery.gte.wording import shown


def detect_dialect(config: Mapping[str, object]) -> Dialect | None:
    """The dialect of a parsed config.json, or None when it is not a GTE config at all.

    A "gte" config without `rope_parameters` is the renamed remote dialect if it has that dialect's own keys and a
    rope key. One with a rope scaling but no `auto_map` has no code that could apply the scaling: it counts as native.
    """
    match config.get("model_type"):
        case "new":
            return Dialect.REMOTE
        case "gte":
            return Dialect.RENAMED if _is_renamed(config) else Dialect.NATIVE
        case _:
            return None


def _is_renamed(config: Mapping[str, object]) -> bool:
    if config.get("rope_parameters") is not None:
        return False
    has_old_keys = "position_embedding_type" in config or "pack_qkv" in config
    has_rope_keys = "rope_theta" in config or "rope_scaling" in config
    return has_old_keys and has_rope_keys and ("auto_map" in config or not config.get("rope_scaling"))


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
    usual = usual_config(config, NATIVE if is_native else _REMOTE)
    rope = read_rope(config, dialect, usual.head_size)
    if is_native:
        look_both_ways(config)
        same_head_size(config, usual.head_size)
        return usual._replace(rope=rope)
    return usual._replace(
        dialect=dialect,
        layer_norm_type=choice(config, "layer_norm_type", LAYER_NORM_TYPES),
        position_embedding_type=choice(config, "position_embedding_type", POSITION_EMBEDDING_TYPES),
        pack_qkv=bool(config.get("pack_qkv", True)),
        rope=rope,
    )


_SHAPE = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act hidden_dropout_prob "
    "attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_type "
    "layer_norm_eps position_embedding_type rope_theta rope_scaling classifier_dropout pack_qkv unpad_inputs "
    "use_memory_efficient_attention logn_attention_scale logn_attention_clip1 pad_token_id num_labels problem_type"
)
PUBLISHED_READS = frozenset(f"{_SHAPE} {RUNNING}".split())
"""The attributes of a config that the published modeling code reads."""
KNOWN_KEYS = PUBLISHED_READS | CARRIED
"""The members of a config.json that published code reads or that its writers leave there."""
_ALWAYS_READ = frozenset(
    ("hidden_act", "layer_norm_type", "logn_attention_scale", "pack_qkv", "position_embedding_type", "unpad_inputs")
)
_READ = re.compile(r"\bconfig\.([A-Za-z_]\w*)(?!\s*\()")
_ASKED = re.compile(r"""\bgetattr\(\s*(?:self\.)?config\s*,\s*["']([A-Za-z_]\w*)["']""")


def foreign_reads(code: str) -> tuple[str, ...] | None:
    """What modeling code reads of its config that the published code does not; None where it is no such code at all.

    Judged by its text alone, which is never run: code that reads just what the published code reads is taken for it.
    """
    reads = set(_READ.findall(code)) | set(_ASKED.findall(code))
    return tuple(sorted(reads - PUBLISHED_READS)) if reads >= _ALWAYS_READ else None
