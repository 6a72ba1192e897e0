"""The family of 2024 as a value: rotary positions, a gated feed-forward, packed projections; GTE v1.5 and mGTE."""

from __future__ import annotations

from gte_surgery.gte.consumers import Demands
from gte_surgery.gte.family import Facts, Family, Naming, Native, Ropes
from gte_surgery.gte.kinds import Consumer, Dialect, Head
from gte_surgery.gte.new_impl import names
from gte_surgery.gte.new_impl.members import EXACT_GELU, native_members, remote_members
from gte_surgery.gte.new_impl.names import architecture, head_of
from gte_surgery.gte.new_impl.parts import parts
from gte_surgery.gte.new_impl.reading import FLAGS, KNOWN_KEYS, NATIVE, detect_dialect, foreign_reads, read_config
from gte_surgery.gte.new_impl.releases import RELEASES, release_config
from gte_surgery.gte.new_impl.rope_reading import is_stated, moved_rope, read_rope_of_tei, ropes_of_both
from gte_surgery.gte.rope import NATIVE_THETA, Rope

_WITHOUT_EFFECT = ("logn_attention_scale", "logn_attention_clip1")
_REFERENCE_ONLY = ("unpad_inputs", "use_memory_efficient_attention")

_VLLM = Demands(
    classes={
        Dialect.REMOTE: ("GteNewModel", "GteNewForSequenceClassification"),
        Dialect.RENAMED: ("GteModel",),
        Dialect.NATIVE: ("GteModel",),
    },
    only={"hidden_act": "gelu", "layer_norm_type": "layer_norm", "position_embedding_type": "rope"},
    prefixes={Dialect.REMOTE: ("", "new."), Dialect.RENAMED: ("",), Dialect.NATIVE: ("",)},
    is_packed=True,
    lacks=(Head.MASKED_LM, Head.QUESTION_ANSWERING),
)
_TEI = Demands(
    stated=(
        "architectures", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "hidden_act", "max_position_embeddings", "type_vocab_size", "layer_norm_type", "layer_norm_eps",
        "position_embedding_type",
    ),
    only={"layer_norm_type": "layer_norm", "position_embedding_type": "rope"},
    activations=("gelu", "relu", "silu", "swiglu"),
    unset=_WITHOUT_EFFECT,
    letters=("a", "b"),
    looked_for="encoder.layer.0.attention.qkv_proj, with or without `new.`",
    is_packed=True,
    rope=read_rope_of_tei,
)  # fmt: skip

NEW_IMPL = Family(
    name="GTE v1.5",
    model_types=("new", "gte"),
    names=names.NAMES,
    naming=Naming(
        names.PREFIXES, names.detect_layout, names.canonical_name, names.stored_name, names.layouts, names.PACKED
    ),
    dialect_of=detect_dialect,
    read_config=read_config,
    parts=parts,
    head_of=head_of,
    architecture=architecture,
    is_known=names.is_known,
    region=names.region,
    releases=RELEASES,
    release_config=release_config,
    members={"native": native_members, "remote": remote_members},
    native=Native(
        stem="Gte",
        stages={
            Head.NONE: (),
            Head.MASKED_LM: ("lm_head",),
            Head.SEQUENCE_CLASSIFICATION: ("gte.pooler", "dropout", "classifier"),
            Head.TOKEN_CLASSIFICATION: ("dropout", "classifier"),
        },
        layout=names.native_layout,
        oldest="5.18",
        is_in_transformers_4=False,
        head_activations=EXACT_GELU,
    ),
    schemas={
        Dialect.REMOTE: "config.remote",
        Dialect.RENAMED: "config.remote",
        Dialect.NATIVE: "config.native",
    },
    facts=Facts(
        flags=FLAGS,
        idle=dict.fromkeys((Dialect.REMOTE, Dialect.RENAMED), _WITHOUT_EFFECT)
        | {Dialect.NATIVE: _WITHOUT_EFFECT + _REFERENCE_ONLY},
        unnumbered=_REFERENCE_ONLY + _WITHOUT_EFFECT,
        fixed=(("layer_norm_type", "layer_norm"), ("position_embedding_type", "rope"), ("pack_qkv", True)),
        default_pad=NATIVE.pad_token_id,
        silent_rope=Rope("default", NATIVE_THETA),
        row_multiple=64,
        padded=(names.NAMES.words, names.NAMES.positions),
        copies={names.NAMES.decoder: names.NAMES.words},
        defaults={"attention_probs_dropout_prob": 0.0, "classifier_dropout": None, "hidden_dropout_prob": 0.1},
    ),
    ropes=Ropes(is_stated, moved_rope, ropes_of_both),
    known_keys=KNOWN_KEYS,
    foreign_reads=foreign_reads,
    demands={Consumer.VLLM: _VLLM, Consumer.TEI: _TEI},
    matrix=names.MATRIX,
    fed_by_norms=names.fed_by_norms,
)
