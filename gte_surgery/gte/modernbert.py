"""ModernBERT as a family: gte-modernbert-base and gte-reranker-modernbert-base.

Rotary positions of two kinds, full attention every so many layers and a sliding window in the others; norms before
what they feed, biases nowhere unless the config asks. Names, classes and initialisation are those of transformers
(models/modernbert, 5.24), which writes `layer_types` and nested `rope_parameters`; 4.x wrote `global_rope_theta`,
`local_rope_theta` and `global_attn_every_n_layers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gte_surgery.errors import RefusedError
from gte_surgery.gte.alternating import (
    FULL,
    MEMBERS_OF_5,
    SLIDING,
    THETAS,
    layer_types,
    older,
    read_rope,
    ropes_of_both,
    thetas,
    written,
)
from gte_surgery.gte.consumers import Demands, served_by_vllm
from gte_surgery.gte.family import Facts, Family, Names, Native, Release, Ropes, prefixed, released
from gte_surgery.gte.fields import (
    CARRIED,
    RUNNING,
    Defaults,
    GteConfig,
    Values,
    integer,
    look_both_ways,
    number,
    same_head_size,
    usual_config,
    wrong,
)
from gte_surgery.gte.kinds import SUFFIXES, Consumer, Dialect, Head, Layout
from gte_surgery.gte.rope import Rope
from gte_surgery.gte.tensors import Dim, H, I, Init, K, Need, Part, V, linear, norm

NAMES = Names(words="embeddings.tok_embeddings.weight", decoder="decoder.weight", biases=("decoder.bias",))
_HEADS = ("head", "decoder", "classifier")
_CLASSIFYING = (Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING)
_CLASSIFIER = ("head", "drop", "classifier")
_NAMING = prefixed(NAMES, "model.", _HEADS)
_SPELLED = {"hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps"}
_DEFAULTS = Defaults(
    vocab_size=50368, max_position_embeddings=8192, pad_token_id=50283, num_hidden_layers=22, intermediate_size=1152,
    type_vocab_size=0, layer_norm_eps=1e-5,
)  # fmt: skip
_KNOWN = re.compile(
    r"embeddings\.(tok_embeddings\.weight|norm\.(weight|bias))|final_norm\.(weight|bias)"
    r"|layers\.\d+\.(attn\.(Wqkv|Wo)|attn_norm|mlp\.(Wi|Wo)|mlp_norm)\.(weight|bias)"
    r"|(head\.(dense|norm)|decoder|classifier)\.(weight|bias)"
)
_KEYS = (
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads hidden_activation norm_eps "
    "max_position_embeddings initializer_range initializer_cutoff_factor pad_token_id layer_types local_attention "
    "global_attn_every_n_layers global_rope_theta local_rope_theta rope_scaling attention_dropout embedding_dropout "
    "sliding_window mlp_dropout classifier_pooling classifier_dropout classifier_activation deterministic_flash_attn "
    "sparse_prediction sparse_pred_ignore_index reference_compile repad_logits_with_grad num_labels problem_type "
    "layer_norm_eps position_embedding_type"
)
"""ModernBertConfig's [transformers 4.57.6 and 5.24]; the last two lie in the published configs, read by none."""


def read_config(values: Values) -> GteConfig:
    """The effective config; raises CheckpointError naming the key whose value no model could be built from."""
    typeless = {key: value for key, value in values.items() if key != "type_vocab_size"}
    usual = usual_config(typeless, _DEFAULTS, _SPELLED)
    look_both_ways(values)
    if values.get("head_dim") is not None:
        same_head_size(values, usual.head_size)
    return usual._replace(
        rope=read_rope(values, FULL),
        local_rope=read_rope(values, SLIDING),
        layer_types=layer_types(values, usual.num_hidden_layers),
        window=_window(values),
        biased=tuple(name for name in _BIASES if values.get(f"{name}_bias", name == "decoder")),
        draw_cut=_cut(values),
    )


_BIASES = ("attention", "mlp", "norm", "decoder", "classifier")


def _window(values: Values) -> int:
    """Tokens of a sliding window. transformers 5 lets `sliding_window`, the half of it, overrule `local_attention`,
    which all else reads [5.24, models/modernbert/configuration_modernbert.py, ModernBertConfig.sliding_window]."""
    window = integer(values, "local_attention", 128, least=0)
    if values.get("sliding_window", window // 2) != window // 2:
        raise wrong("sliding_window", values["sliding_window"], f"absent, or half of local_attention, {window // 2}")
    return window


def _cut(values: Values) -> float:
    """Standard deviations at which fresh weights are cut off; null means 3."""
    key = "initializer_cutoff_factor"
    cut = 3.0 if values.get(key, 2.0) is None else number(values, key, 2.0)
    if cut < 0.1:
        raise wrong(key, values.get(key), "at least 0.1")
    return cut


def parts(config: GteConfig, layout: Layout, head: Head) -> Iterator[Part]:
    """The tensors of a model with `head`; the first layer has no norm before its attention."""
    out, cut = config.initializer_range / (2.0 * config.num_hidden_layers) ** 0.5, config.draw_cut
    has_norm, has_attention, has_mlp = (name in config.biased for name in ("norm", "attention", "mlp"))
    yield Part(NAMES.words, (V, H), Init.NORMAL, cut=cut)
    yield from norm("embeddings.norm", has_norm)
    for layer in range(config.num_hidden_layers):
        base = f"layers.{layer}"
        if layer:
            yield from norm(f"{base}.attn_norm", has_norm)
        yield from linear(f"{base}.attn.Wqkv", Dim("H", 3), H, has_attention, cut=cut)
        yield from linear(f"{base}.attn.Wo", H, H, has_attention, std=out, cut=cut)
        yield from norm(f"{base}.mlp_norm", has_norm)
        yield from linear(f"{base}.mlp.Wi", Dim("I", 2), H, has_mlp, cut=cut)
        yield from linear(f"{base}.mlp.Wo", H, I, has_mlp, std=out, cut=cut)
    yield from norm("final_norm", has_norm)
    if head is not Head.NONE:
        yield from linear("head.dense", H, H, "classifier" in config.biased, std=out, cut=cut)
        yield from norm("head.norm", has_norm)
    if head is Head.MASKED_LM:
        if "decoder" in config.biased:
            yield Part("decoder.bias", (V,), Init.ZEROS)
        need: Need = "spare" if config.tie_word_embeddings else "must"
        yield Part(NAMES.decoder, (V, H), Init.NORMAL, need, out, cut)
    elif head is not Head.NONE:
        yield from linear("classifier", K, H, std=config.hidden_size**-0.5, cut=cut)


def head_of(names: Iterable[str], values: Values) -> Head:
    """The head that canonical names show; which kind of classifier it is, only `architectures` says."""
    found = {name.partition(".")[0] for name in names}
    if "classifier" in found:
        stated = str(values.get("architectures"))
        for head in (Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING):
            if SUFFIXES[head] in stated:
                return head
        return Head.SEQUENCE_CLASSIFICATION
    return Head.MASKED_LM if "decoder" in found or "head" in found else Head.NONE


def region(canonical: str, head: Head) -> str:
    """The part of the network that a tensor belongs to."""
    if not _KNOWN.fullmatch(canonical):
        return "other"
    first = canonical.partition(".")[0]
    return {"embeddings": "embeddings", "layers": "layers", "final_norm": "layers"}.get(first, "head")


def fed_by_norms(layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(norm, the projections that take what comes out of it) for every norm."""
    yield "embeddings.norm", ("layers.0.attn.Wqkv",)
    for layer in range(layers):
        yield f"layers.{layer}.attn_norm", (f"layers.{layer}.attn.Wqkv",)
        yield f"layers.{layer}.mlp_norm", (f"layers.{layer}.mlp.Wi",)
    yield "final_norm", ("head.dense",)
    yield "head.norm", ("classifier",)


def native_members(values: Values, head: Head, has_code: bool = False) -> dict[str, object]:
    """The members as transformers 5 understands them: rope and layer types written out, 4.x's keys gone."""
    config = read_config(values)
    for rope in (config.rope, config.local_rope):
        if rope is not None and rope.kind == "unsupported":
            found = rope.refusal or rope.rope_type
            raise RefusedError(f"config.json: rope: {found}, no GTE of this family was trained with it")
    ropes = {kind: written(rope) for kind, rope in ((FULL, config.rope), (SLIDING, config.local_rope)) if rope}
    old = ("global_rope_theta", "local_rope_theta", "rope_scaling", "reference_compile")
    members = {key: value for key, value in values.items() if key not in old}
    members |= {"architectures": ["ModernBert" + SUFFIXES[head]], "layer_types": list(config.layer_types)}
    return members | {"rope_parameters": ropes}


def release_config(
    release: Release, dialect: Dialect, head: Head | None = None, **changes: object
) -> dict[str, object]:
    """config.json of the release as transformers 5 writes it, keys in alphabetical order."""
    wanted = release.head if head is None else head
    members: dict[str, object] = {
        "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 50281, "classifier_activation": "gelu",
        "classifier_bias": False, "classifier_dropout": 0.0, "classifier_pooling": "mean", "cls_token_id": 50281,
        "decoder_bias": True, "deterministic_flash_attn": False,
        "embedding_dropout": 0.0, "eos_token_id": 50282, "global_attn_every_n_layers": 3, "hidden_activation": "gelu",
        "initializer_cutoff_factor": 2.0, "local_attention": 128, "mlp_bias": False, "mlp_dropout": 0.0,
        "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-05, "sep_token_id": 50282,
        "tie_word_embeddings": True,
        **{key: value for key, value in changes.items() if key != "type_vocab_size"},
    }  # fmt: skip
    special = ("bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id")
    members = released(release, wanted, ["ModernBert" + SUFFIXES[wanted]], members)
    rows = members["vocab_size"]
    members = {k: None if k in special and isinstance(rows, int) and rows <= 50282 else v for k, v in members.items()}
    layers = integer(members, "num_hidden_layers", 22, least=1)
    members |= {
        "layer_types": list(layer_types(members, layers)),
        "rope_parameters": {kind: written(Rope("default", usual)) for kind, (_, usual) in THETAS.items()},
    }
    return dict(sorted(members.items()))


def _release(name: str, head: Head, tensors: int, parameters: int) -> Release:
    return Release(
        name, 768, 1152, 22, 12, 50368, 50283, 0, Rope("default", 160000.0), "F16", head, _NAMING.published(head),
        tensors, parameters, 8192, Dialect.NATIVE, Rope("default", 10000.0),
    )  # fmt: skip


RELEASES = (
    _release("gte-modernbert-base", Head.NONE, 134, 149_014_272),
    _release("gte-reranker-modernbert-base", Head.SEQUENCE_CLASSIFICATION, 138, 149_605_633),
)

_TEI = Demands(
    stated=(
        "architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "hidden_activation", "max_position_embeddings", "initializer_range", "initializer_cutoff_factor", "norm_eps",
        "norm_bias", "pad_token_id", "eos_token_id", "bos_token_id", "cls_token_id", "sep_token_id",
        "global_rope_theta", "attention_bias", "attention_dropout", "global_attn_every_n_layers", "local_attention",
        "local_rope_theta", "classifier_activation",
    ),
    unset=("norm_bias", "classifier_bias"),
    activations=("gelu", "relu", "silu", "swiglu"),
    reads=lambda values: {key: value for key, value in values.items() if key not in (*MEMBERS_OF_5, "rope_scaling")},
    effective=thetas,
)  # fmt: skip
"""[text-embeddings-inference 04f5d63e, backends/candle/src/models/modernbert.rs, ModernBertConfig; its norms and its
head have no bias]"""
MODERNBERT = Family(
    name="ModernBERT",
    model_types=("modernbert",),
    names=NAMES,
    naming=_NAMING,
    dialect_of=lambda values: Dialect.NATIVE if values.get("model_type") == "modernbert" else None,
    read_config=read_config,
    parts=parts,
    head_of=head_of,
    architecture=lambda head, dialect: "ModernBert" + SUFFIXES[head],
    is_known=lambda name: _KNOWN.fullmatch(name) is not None,
    region=region,
    releases=RELEASES,
    release_config=release_config,
    members={"native": native_members},
    native=Native(
        stem="ModernBert",
        stages={Head.NONE: (), Head.MASKED_LM: ("head", "decoder")} | dict.fromkeys(_CLASSIFYING, _CLASSIFIER),
        layout=_NAMING.published,
        oldest="5.0",
    ),
    schemas={Dialect.NATIVE: "config.modernbert"},
    known_keys=CARRIED.union(_KEYS.split(), RUNNING.split(), (f"{name}_bias" for name in _BIASES)),
    facts=Facts(
        flags=("tie_word_embeddings", "deterministic_flash_attn", "sparse_prediction", *(f"{n}_bias" for n in _BIASES)),
        default_pad=_DEFAULTS.pad_token_id,
        row_multiple=64,
        has_types=False,
        padded=(NAMES.words,),
        spelled=_SPELLED | {"window": "local_attention"},
        spellings=(
            "layer_types", "global_attn_every_n_layers", "global_rope_theta", "local_rope_theta", "reference_compile",
            *(f"{name}_bias" for name in _BIASES),
        ),
        defaults={
            **dict.fromkeys(("attention_dropout", "mlp_dropout", "embedding_dropout", "classifier_dropout"), 0.0),
            "classifier_pooling": "cls", "classifier_activation": "gelu", "initializer_cutoff_factor": 2.0,
            "sparse_pred_ignore_index": -100,
        },
        copies={NAMES.decoder: NAMES.words},
    ),
    ropes=Ropes(of_both=ropes_of_both),
    demands={
        Consumer.VLLM: served_by_vllm("ModernBert")._replace(
            only={"hidden_act": "gelu"}, lacks=(Head.MASKED_LM, Head.QUESTION_ANSWERING)
        ),
        Consumer.TEI: _TEI,
        Consumer.TRANSFORMERS_4: Demands(reads=older, effective=thetas),
    },
    matrix=re.compile(r"layers\.(\d+)\.(?:attn|mlp)\.(\w+)\.weight"),
    fed_by_norms=fed_by_norms,
)  # fmt: skip
