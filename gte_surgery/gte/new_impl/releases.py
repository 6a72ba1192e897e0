"""The eight published checkpoints: sizes, rope and head, and their config.json."""

from __future__ import annotations

from collections.abc import Mapping

from gte_surgery.gte.family import Release, released
from gte_surgery.gte.kinds import AUTO_CLASSES, Dialect, Head
from gte_surgery.gte.new_impl.names import BARE, REMOTE_HEAD, architecture
from gte_surgery.gte.new_impl.reading import read_config
from gte_surgery.gte.rope import Rope, to_native

_BASE = (768, 3072, 12, 12)
_LARGE = (1024, 4096, 24, 16)
_MULTILINGUAL = (250048, 1, 1)
_ENGLISH = (30528, 0, 0)
_ENGLISH_LARGE = (30528, 0, 2)

RELEASES: tuple[Release, ...] = (
    Release(
        "gte-multilingual-base", *_BASE, *_MULTILINGUAL, Rope("ntk", 20000.0, 8.0),
        "F16", Head.TOKEN_CLASSIFICATION, REMOTE_HEAD, 138, 305_369_089,
    ),
    Release(
        "gte-base-en-v1.5", *_BASE, *_ENGLISH, Rope("ntk", 500000.0, 2.0),
        "F32", Head.NONE, BARE, 135, 136_776_192,
    ),
    Release(
        "gte-large-en-v1.5", *_LARGE, *_ENGLISH_LARGE, Rope("ntk", 160000.0, 2.0),
        "F32", Head.NONE, BARE, 268, 434_139_136,
    ),
    Release(
        "gte-multilingual-mlm-base", *_BASE, *_MULTILINGUAL, Rope("default", 160000.0),
        "F16", Head.MASKED_LM, REMOTE_HEAD, 141, 306_210_496,
    ),
    Release(
        "gte-en-mlm-base", *_BASE, *_ENGLISH, Rope("default", 500000.0),
        "F32", Head.MASKED_LM, REMOTE_HEAD, 140, 137_398_848,
    ),
    Release(
        "gte-en-mlm-large", *_LARGE, *_ENGLISH_LARGE, Rope("default", 160000.0),
        "F16", Head.MASKED_LM, REMOTE_HEAD, 273, 435_221_312,
    ),
    Release(
        "gte-multilingual-reranker-base", *_BASE, *_MULTILINGUAL, Rope("ntk", 20000.0, 8.0),
        "F16", Head.SEQUENCE_CLASSIFICATION, REMOTE_HEAD, 140, 305_959_681,
    ),
    Release(
        "snowflake-arctic-embed-m-v2.0", *_BASE, *_MULTILINGUAL, Rope("default", 160000.0),
        "F32", Head.NONE, BARE, 136, 305_368_320, dialect=Dialect.RENAMED,
    ),
)  # fmt: skip


def release_config(
    release: Release, dialect: Dialect, head: Head | None = None, **changes: object
) -> dict[str, object]:
    """config.json of the release in the dialect, keys in alphabetical order as transformers writes them.

    `head` replaces the release's own; `changes` are config keys and their values, such as `vocab_size=32000`. The two
    switches for unpadding are off, whatever the release says, so that the model runs without xformers. A key
    `transformers_version` is absent: transformers did not write this.
    """
    wanted = release.head if head is None else head
    members: dict[str, object] = {
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12,
        "layer_norm_type": "layer_norm",
        "pack_qkv": True,
        "position_embedding_type": "rope",
        "type_vocab_size": release.type_vocab_size,
    }
    config = released(release, wanted, _architectures(release, wanted, dialect), members | changes)
    return dict(sorted((config | _dialect_keys(release, dialect, config) | changes).items()))


def _architectures(release: Release, head: Head, dialect: Dialect) -> list[str]:
    name = architecture(head, dialect)
    is_base = release.head is head is Head.TOKEN_CLASSIFICATION
    return [architecture(Head.NONE, dialect), name] if is_base else [name]


def _dialect_keys(release: Release, dialect: Dialect, config: Mapping[str, object]) -> dict[str, object]:
    """The keys that differ between dialects: model type, code to load, rope."""
    if dialect is Dialect.NATIVE:
        effective = read_config(dict(config) | {"model_type": "gte", "rope_parameters": {"rope_type": "default"}})
        parameters = to_native(release.rope, effective.head_size, effective.max_position_embeddings)
        return {"model_type": "gte", "rope_parameters": parameters, "tie_word_embeddings": True}
    is_ntk = release.rope.kind == "ntk"
    return {
        "auto_map": auto_map(dialect),
        "logn_attention_clip1": False,
        "logn_attention_scale": False,
        "model_type": "new" if dialect is Dialect.REMOTE else "gte",
        "rope_scaling": {"factor": release.rope.factor, "type": "ntk"} if is_ntk else None,
        "rope_theta": int(release.rope.theta),
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
    }


def auto_map(dialect: Dialect) -> dict[str, object]:
    """Where the published code for a remote dialect lies, as `auto_map` says it. Never fetched or run by us."""
    if dialect is Dialect.RENAMED:
        return {
            "AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig",
            "AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel",
        }
    code = "Alibaba-NLP/new-impl--"
    models: dict[str, object] = {
        auto: f"{code}modeling.{architecture(head, dialect)}"
        for head, auto in AUTO_CLASSES.items()
        if head is not Head.QUESTION_ANSWERING
    }
    return {"AutoConfig": f"{code}configuration.NewConfig", **models}
