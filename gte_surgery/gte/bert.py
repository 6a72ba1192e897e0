"""The GTE of 2023 as a family: plain BERT under mean pooling; gte-small, -base, -large and the three for Chinese.

Learned positions, no rope; q, k and v are stored apart; a pooler that the sentence vector does not use comes with the
bare model. Names, classes and initialisation are those of transformers (models/bert, 5.24).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gte_surgery.errors import RefusedError
from gte_surgery.gte.consumers import Demands, served_by_vllm
from gte_surgery.gte.family import Facts, Family, Names, Native, Release, head_shown, prefixed, released
from gte_surgery.gte.fields import (
    CARRIED,
    RUNNING,
    Defaults,
    GteConfig,
    Values,
    look_both_ways,
    text,
    usual_config,
    wrong,
)
from gte_surgery.gte.kinds import SUFFIXES, Consumer, Dialect, Head, Layout
from gte_surgery.gte.rope import Rope
from gte_surgery.gte.tensors import Dim, H, I, Init, K, Need, P, Part, T, V, linear, norm

NAMES = Names(
    decoder="cls.predictions.decoder.weight",
    biases=("cls.predictions.bias", "cls.predictions.decoder.bias"),
)
_HEADS = ("cls", "classifier", "qa_outputs")
_OLD_NORMS = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
_NAMING = prefixed(NAMES, "bert.", _HEADS, _OLD_NORMS)
_DEFAULTS = Defaults(vocab_size=30522, max_position_embeddings=512, pad_token_id=0, type_vocab_size=2)
_NO_ROPE = Rope("none", 10000.0)
_KNOWN = re.compile(
    r"embeddings\.((word|token_type|position)_embeddings\.weight|LayerNorm\.(weight|bias))"
    r"|encoder\.layer\.\d+\.(attention\.self\.(query|key|value)|attention\.output\.(dense|LayerNorm)"
    r"|intermediate\.dense|output\.(dense|LayerNorm))\.(weight|bias)"
    r"|(pooler\.dense|cls\.predictions\.(transform\.(dense|LayerNorm)|decoder)|cls\.seq_relationship|classifier"
    r"|qa_outputs)\.(weight|bias)|cls\.predictions\.bias"
)
_KEYS = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act hidden_dropout_prob "
    "attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_eps "
    "position_embedding_type classifier_dropout pad_token_id num_labels problem_type directionality pooler_fc_size "
    "pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type"
)
"""BertConfig's [transformers 4.57.6 and 5.24], and what Google's own configs of the Chinese models carry along."""
_MATRIX = re.compile(r"encoder\.layer\.(\d+)\.(?:attention\.(?:self|output)|intermediate|output)\.(\w+)\.weight")


def _is_plain(values: Values) -> bool:
    """Whether this is BERT itself: others took its name for code of their own, with other positions."""
    is_foreign = values.get("position_embedding_type") == "alibi" or "jina" in str(values.get("auto_map")).lower()
    return values.get("model_type") == "bert" and not is_foreign


def read_config(values: Values) -> GteConfig:
    """The effective config; raises CheckpointError naming the key whose value no model could be built from."""
    if text(values, "position_embedding_type", "absolute") != "absolute":
        raise wrong("position_embedding_type", values["position_embedding_type"], '"absolute"')
    look_both_ways(values)
    return usual_config(values, _DEFAULTS)._replace(position_embedding_type="absolute", rope=_NO_ROPE)


def parts(config: GteConfig, layout: Layout, head: Head) -> Iterator[Part]:
    """The tensors of a model with `head`; the pooler of a bare one is usual, since nothing here reads it."""
    yield Part(NAMES.words, (V, H), Init.NORMAL)
    yield Part(NAMES.positions, (P, H), Init.NORMAL)
    if config.type_vocab_size > 0:
        yield Part(NAMES.types, (T, H), Init.NORMAL)
    yield from norm("embeddings.LayerNorm")
    for layer in range(config.num_hidden_layers):
        base = f"encoder.layer.{layer}"
        for projection in ("query", "key", "value"):
            yield from linear(f"{base}.attention.self.{projection}", H, H)
        yield from linear(f"{base}.attention.output.dense", H, H)
        yield from norm(f"{base}.attention.output.LayerNorm")
        yield from linear(f"{base}.intermediate.dense", I, H)
        yield from linear(f"{base}.output.dense", H, I)
        yield from norm(f"{base}.output.LayerNorm")
    yield from _head(config, head)


def _head(config: GteConfig, head: Head) -> Iterator[Part]:
    needs: dict[Head, Need] = {Head.NONE: "usual", Head.SEQUENCE_CLASSIFICATION: "must"}
    yield from linear("pooler.dense", H, H, need=needs.get(head, "spare"))
    match head:
        case Head.NONE:
            return
        case Head.MASKED_LM:
            yield from linear("cls.predictions.transform.dense", H, H)
            yield from norm("cls.predictions.transform.LayerNorm")
            yield Part("cls.predictions.bias", (V,), Init.ZEROS)
            yield Part("cls.predictions.decoder.bias", (V,), Init.ZEROS, "spare")
            yield Part(NAMES.decoder, (V, H), Init.NORMAL, "spare" if config.tie_word_embeddings else "must")
            yield Part("cls.seq_relationship.weight", (Dim("1", 2), H), Init.NORMAL, "spare")
            yield Part("cls.seq_relationship.bias", (Dim("1", 2),), Init.ZEROS, "spare")
        case Head.SEQUENCE_CLASSIFICATION | Head.TOKEN_CLASSIFICATION:
            yield from linear("classifier", K, H)
        case Head.QUESTION_ANSWERING:
            yield from linear("qa_outputs", K, H)


def region(canonical: str, head: Head) -> str:
    """The part of the network that a tensor belongs to."""
    rest = "head" if _KNOWN.fullmatch(canonical) else "other"
    return {"embeddings": "embeddings", "encoder": "layers"}.get(canonical.partition(".")[0], rest)


def fed_by_norms(layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(norm, the projections that take what comes out of it) for every norm."""
    attention = tuple(f"attention.self.{name}" for name in ("query", "key", "value"))
    yield "embeddings.LayerNorm", tuple(f"encoder.layer.0.{name}" for name in attention)
    for layer in range(layers):
        base, following = f"encoder.layer.{layer}", f"encoder.layer.{layer + 1}"
        yield f"{base}.attention.output.LayerNorm", (f"{base}.intermediate.dense",)
        yield f"{base}.output.LayerNorm", tuple(f"{following}.{name}" for name in attention)
    heads = ("pooler.dense", "cls.predictions.transform.dense", "classifier")
    yield f"encoder.layer.{layers - 1}.output.LayerNorm", heads


def native_members(values: Values, head: Head, has_code: bool = False) -> dict[str, object]:
    """The members of config.json with the class of this head; raises RefusedError for a decoder."""
    if values.get("is_decoder") is True or values.get("add_cross_attention") is True:
        raise RefusedError("config.json: is_decoder or add_cross_attention is true, a GTE is an encoder")
    return {**values, "architectures": ["Bert" + SUFFIXES[head]]}


def release_config(
    release: Release, dialect: Dialect, head: Head | None = None, **changes: object
) -> dict[str, object]:
    """config.json of the release as transformers 5 writes it, keys in alphabetical order."""
    wanted = release.head if head is None else head
    members: dict[str, object] = {
        "attention_probs_dropout_prob": 0.1,
        "classifier_dropout": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12,
        "model_type": "bert",
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "type_vocab_size": release.type_vocab_size,
        "use_cache": True,
    }
    return released(release, wanted, ["Bert" + SUFFIXES[wanted]], members | changes)


def _release(name: str, sizes: tuple[int, int, int, int], vocab: int, tensors: int, parameters: int) -> Release:
    bare = _NAMING.published(Head.NONE)
    return Release(
        name, *sizes, vocab, 0, 2, _NO_ROPE, "F16", Head.NONE, bare, tensors, parameters, 512, Dialect.NATIVE
    )  # fmt: skip


RELEASES = (
    _release("gte-small", (384, 1536, 12, 12), 30522, 199, 33_360_000),
    _release("gte-base", (768, 3072, 12, 12), 30522, 199, 109_482_240),
    _release("gte-large", (1024, 4096, 24, 16), 30522, 391, 335_141_888),
    _release("gte-small-zh", (512, 2048, 6, 8), 21128, 103, 30_258_688),
    _release("gte-base-zh", (768, 3072, 12, 12), 21128, 199, 102_267_648),
    _release("gte-large-zh", (1024, 4096, 24, 16), 21128, 391, 325_522_432),
)

BERT = Family(
    name="BERT",
    model_types=("bert",),
    names=NAMES,
    naming=_NAMING,
    dialect_of=lambda values: Dialect.NATIVE if _is_plain(values) else None,
    read_config=read_config,
    parts=parts,
    head_of=lambda names, values: head_shown(names, "cls"),
    architecture=lambda head, dialect: "Bert" + SUFFIXES[head],
    is_known=lambda name: _KNOWN.fullmatch(name) is not None,
    region=region,
    releases=RELEASES,
    release_config=release_config,
    members={"native": native_members},
    native=Native(
        stem="Bert",
        stages={
            Head.NONE: (),
            Head.MASKED_LM: ("cls",),
            Head.SEQUENCE_CLASSIFICATION: ("bert.pooler", "dropout", "classifier"),
            Head.TOKEN_CLASSIFICATION: ("dropout", "classifier"),
            Head.QUESTION_ANSWERING: ("qa_outputs",),
        },
        layout=_NAMING.published,
        oldest="5.0",
        options={"add_pooling_layer": False},
    ),
    schemas={Dialect.NATIVE: "config.bert"},
    known_keys=CARRIED.union(f"{_KEYS} {RUNNING}".split()),
    facts=Facts(
        flags=("tie_word_embeddings", "use_cache", "is_decoder", "add_cross_attention"),
        fixed=(("position_embedding_type", "absolute"),),
        pooling="mean",
        least_types=1,
        defaults={
            "attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1, "classifier_dropout": None,
            "use_cache": True, "is_decoder": False, "add_cross_attention": False,
        },
        padded=(NAMES.words,),
        copies={NAMES.decoder: NAMES.words, "cls.predictions.decoder.bias": "cls.predictions.bias"},
    ),
    demands={
        Consumer.VLLM: served_by_vllm("Bert"),
        Consumer.TEI: Demands(
            stated=(
                "architectures", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                "intermediate_size", "hidden_act", "hidden_dropout_prob", "max_position_embeddings", "type_vocab_size",
                "initializer_range", "layer_norm_eps", "pad_token_id",
            )
        ),
    },
    matrix=_MATRIX,
    fed_by_norms=fed_by_norms,
)  # fmt: skip
