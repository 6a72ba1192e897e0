"""GTE620 to GTE639: what vLLM and text-embeddings-inference (TEI) will refuse or silently misread.

Judged only with `--for vllm` and `--for tei`; what every program minds, other rules say.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checkpoint.sidecars import POOLING_CONFIG
from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.rules.tensors import READABLE
from gte_surgery.checks.subject import Subject
from gte_surgery.checks.wording import listed, shown
from gte_surgery.findings import Location, Severity
from gte_surgery.gte.config import Dialect
from gte_surgery.gte.consumers import Consumer
from gte_surgery.gte.new_impl.heads import Head
from gte_surgery.gte.new_impl.names import Layout
from gte_surgery.gte.new_impl.rope import REMOTE_THETA, Rope, angle_gap, describe

_SOUND = ("GTE001", "GTE002", "GTE003", "GTE101", "GTE102", "GTE105")
_NAMED = (*READABLE, "GTE210", "GTE211", "GTE213")
_VLLM = f"--for {Consumer.VLLM.value}"
_TEI = f"--for {Consumer.TEI.value}"
_VLLM_REMOTE = ("GteNewModel", "GteNewForSequenceClassification")
_VLLM_SNOWFLAKE = "GteModel"
_TEI_KEYS = (
    "architectures", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "max_position_embeddings", "type_vocab_size", "layer_norm_type", "layer_norm_eps",
    "position_embedding_type",
)  # fmt: skip
_TOLERANCE = 0.01
"""Radians at the last position: below this, two ropes count as the same."""


@rule("GTE620", Severity.ERROR, requires=READABLE, only_with=_VLLM)
def class_unknown_to_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM does not know the class in `architectures`.

    It serves the published configs as GteNewModel and GteNewForSequenceClassification, names that no release states:
    start it with the override of the hint. model_type "gte" it serves as GteModel only, without a head; convert a
    reranker with `gte-surgery convert CKPT --to remote` first.
    """
    if subject.config is None:
        return
    is_remote = subject.dialect is Dialect.REMOTE
    known = _VLLM_REMOTE if is_remote else (_VLLM_SNOWFLAKE,)
    if not set(subject.config.architectures) & set(known):
        found = listed(subject.config.architectures) or "absent"
        yield Observation(
            subject.at("architectures"), f"{found}, vLLM serves {' and '.join(known)}", _override(subject)
        )


@rule("GTE621", Severity.ERROR, requires=_SOUND, only_with=_VLLM)
def activation_unknown_to_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM serves a GTE with gelu only.

    It asserts that hidden_act is "gelu", as in every release, and stops otherwise. A model that was trained with
    another activation needs another server.
    """
    if subject.config is not None and subject.config.hidden_act != "gelu":
        yield Observation(subject.at("hidden_act"), f'{shown(subject.config.hidden_act)}, must be "gelu" for vLLM')


@rule("GTE622", Severity.ERROR, requires=_NAMED, only_with=_VLLM)
def split_for_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM does not find tensors that are stored apart.

    It knows attention.qkv_proj and mlp.up_gate_proj, and stops with a KeyError at q_proj or layers.0.self_attn.
    `gte-surgery convert CKPT --to native` packs them; add `--layout a` for the published names.
    """
    found = _split(subject.layout) if subject.layout is not None else ""
    if found:
        yield Observation(_weights(subject), f"{found}, vLLM needs qkv_proj and up_gate_proj packed")


@rule("GTE623", Severity.ERROR, requires=_SOUND, only_with=_VLLM)
def positions_unstated_for_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM needs `position_embedding_type`, and it must be "rope".

    It reads the key without a default and stops where it is absent or another. A native config may carry it at no cost.
    """
    found = subject.values.get("position_embedding_type")
    if found != "rope":
        said = shown(found) if "position_embedding_type" in subject.values else "absent"
        yield Observation(subject.at("position_embedding_type"), f'{said}, must be "rope" for vLLM')


@rule("GTE624", Severity.ERROR, requires=READABLE, only_with=_VLLM)
def masked_lm_head_for_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM stops at the tensors of a masked-LM head.

    It has no place for `lm_head` in a GTE and stops with a KeyError at the first. Serve a checkpoint without the head.
    """
    head = sorted(name for canonical, name in subject.canonical.items() if canonical.startswith("lm_head."))
    if head:
        yield Observation(subject.at_tensor(head[0]), f"vLLM has no place for it; in all {len(head)} of the head")


@rule("GTE625", Severity.ERROR, requires=(*_NAMED, "GTE622"), only_with=_VLLM)
def prefix_for_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM does not take this prefix off the tensor names.

    For the published configs it strips `new.`; for model_type "gte" (Snowflake's, and the native dialect) it strips
    nothing and stops with a KeyError. `gte-surgery convert CKPT --layout a` takes the prefix off.
    """
    layout = subject.layout
    allowed = ("", "new.") if subject.dialect is Dialect.REMOTE else ("",)
    if layout is not None and layout.prefix not in allowed:
        message = f"names begin with `{layout.prefix}`, vLLM needs none for model_type {subject.values['model_type']}"
        yield Observation(_weights(subject), message, "gte-surgery convert CKPT --layout a")


@rule("GTE630", Severity.ERROR, requires=_SOUND, only_with=_TEI)
def key_absent_for_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference needs a key that is absent.

    It has no defaults for the sizes, the norm and the kind of positions, and stops where one is missing. A native
    config may carry layer_norm_type and position_embedding_type at no cost.
    """
    for key in _TEI_KEYS:
        if key not in subject.values:
            effective = getattr(subject.config, key, None)
            hint = f'write "{key}": {shown(effective)}' if effective not in (None, ()) else ""
            yield Observation(subject.at(key), "absent, text-embeddings-inference needs it", hint)


@rule("GTE631", Severity.ERROR, requires=READABLE, only_with=_TEI)
def labels_absent_for_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference needs the labels of a classifier.

    A reranker or classifier must have both id2label and label2id, even for a single label.
    """
    if subject.head in (Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION) and not _is_embedder(subject):
        for key in ("id2label", "label2id"):
            if not isinstance(subject.values.get(key), dict):
                yield Observation(subject.at(key), "absent, text-embeddings-inference needs it for a classifier")


@rule("GTE632", Severity.ERROR, requires=READABLE, only_with=_TEI)
def pooling_absent_for_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference does not know how to pool.

    An embedder needs 1_Pooling/config.json, or `--pooling cls` on its command line.
    """
    if _is_embedder(subject) and not subject.checkpoint.has(POOLING_CONFIG):
        yield Observation(Location(file=POOLING_CONFIG), "absent, text-embeddings-inference needs it for an embedder")


@rule("GTE633", Severity.ERROR, requires=(*_SOUND, "GTE111", "GTE120", "GTE121", "GTE122", "GTE124"), only_with=_TEI)
def rope_misread_by_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference turns tokens by other angles than the model was trained with.

    It takes any rope_scaling for plain ntk and passes over the factor in `rope_parameters`: a native ntk config loads
    without an error and is off by 6.7 % (factor 8) or 2.2 % (factor 2). No single config serves transformers 5 and
    this program; keep a copy in the remote dialect for it: `gte-surgery convert CKPT --to remote --out DIR`.
    """
    config = subject.config
    if config is None or config.rope.kind == "none":
        return
    applied, positions = _rope_of_tei(subject), config.max_position_embeddings
    is_known = config.rope.kind != "unsupported"
    if not is_known or angle_gap(config.rope, applied, config.head_size, positions - 1) > _TOLERANCE:
        key = next((key for key in ("rope_scaling", "rope_parameters") if subject.values.get(key)), "rope_theta")
        message = f"{describe(config.rope)}, text-embeddings-inference applies {describe(applied)}"
        hint = "gte-surgery convert CKPT --to remote --out DIR" if subject.dialect is Dialect.NATIVE else ""
        yield Observation(subject.at(key), message, hint)


@rule("GTE634", Severity.ERROR, requires=_NAMED, only_with=_TEI)
def names_unknown_to_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference does not find the tensors.

    It looks for packed tensors under the published names, with or without `new.` before them. `gte-surgery convert
    CKPT --to remote` gives them those.
    """
    layout = subject.layout
    if layout is not None and (layout.letter not in ("a", "b") or _split(layout)):
        found = _split(layout) or f"names begin with `{layout.prefix}`"
        wanted = "text-embeddings-inference needs encoder.layer.0.attention.qkv_proj, with or without `new.`"
        yield Observation(_weights(subject), f"{found}, {wanted}")


@rule("GTE635", Severity.ERROR, requires=(*_SOUND, "GTE103"), only_with=_TEI)
def beyond_tei(subject: Subject) -> Iterator[Observation]:
    """The config asks for what text-embeddings-inference refuses.

    It runs rotary positions only, and neither logn_attention_scale nor logn_attention_clip1, although those do nothing
    in the published code.
    """
    if subject.config is not None and subject.config.position_embedding_type != "rope":
        found = shown(subject.config.position_embedding_type)
        yield Observation(subject.at("position_embedding_type"), f'{found}, must be "rope"')
    for flag in ("logn_attention_scale", "logn_attention_clip1"):
        if subject.values.get(flag):
            yield Observation(subject.at(flag), f"{shown(subject.values[flag])}, must be false")


def _split(layout: Layout) -> str:
    """How projections that servers want packed are stored instead; "" when they are packed."""
    if layout.is_renamed:
        return "transformers' own names"
    return "projections stored apart" if layout.has_split_qkv or layout.has_split_mlp else ""


def _override(subject: Subject) -> str:
    if subject.dialect is not Dialect.REMOTE:
        return "gte-surgery convert CKPT --to remote"
    name = _VLLM_REMOTE[subject.head is Head.SEQUENCE_CLASSIFICATION]
    return f"""start it with --hf-overrides '{{"architectures": ["{name}"]}}'"""


def _is_embedder(subject: Subject) -> bool:
    """Whether the program would make vectors: by the first class that `architectures` names."""
    named = subject.config.architectures[:1] if subject.config else ()
    return named[0].endswith("Model") if named else subject.head is Head.NONE


def _rope_of_tei(subject: Subject) -> Rope:
    """The rope that text-embeddings-inference makes of a config [backends/candle/src/models/gte.rs]."""
    parameters = subject.values.get("rope_parameters")
    nested = parameters.get("rope_theta") if isinstance(parameters, dict) else None
    theta = _number(subject.values.get("rope_theta", nested)) or REMOTE_THETA
    scaling = subject.values.get("rope_scaling")
    factor = _number(scaling.get("factor")) if isinstance(scaling, dict) else None
    return Rope("default", theta) if factor is None else Rope("ntk", theta, factor)


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e30
    return float(value) if is_number and isinstance(value, (int, float)) else None


def _weights(subject: Subject) -> Location:
    """The weights as a whole: the one file that holds them, or no file in particular."""
    shards = subject.checkpoint.shards
    return Location(file=shards[0].file.name if len(shards) == 1 else "")
