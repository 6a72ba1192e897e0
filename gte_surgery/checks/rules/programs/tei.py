"""GTE630 to GTE639 and GTE650, judged only with `--for tei`: what text-embeddings-inference will refuse or misread."""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checkpoint.sidecars import MODE_KEYS, POOLING_CONFIG, SENTENCE_CONFIG, spelled_as_before
from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.rules.config import SOUND
from gte_surgery.checks.rules.layout import weights_as_a_whole
from gte_surgery.checks.rules.programs.transformers import passed_over
from gte_surgery.checks.rules.tensors import NAMED, READABLE
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Location, Severity
from gte_surgery.gte.kinds import Consumer, Dialect, Head
from gte_surgery.gte.rope import describe, turns_alike
from gte_surgery.gte.wording import listed
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON, made_whole

_TEI = f"--for {Consumer.TEI.value}"
_TEI_POOLING = ("pooling_mode_cls_token", "pooling_mode_mean_tokens")
_COPY = "gte-surgery convert CKPT --to remote --out DIR"
_CURE = f"gte-surgery check CKPT {_TEI} --fix"


@rule("GTE630", Severity.ERROR, requires=SOUND, only_with=_TEI)
def key_absent_for_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference needs a key that is absent.

    It has no defaults for the sizes, the norm and the kind of positions, and stops where one is missing or null
    [text-embeddings-inference 265deb2a, backends/candle/src/models/gte.rs, GTEConfig; router/src/lib.rs, ModelConfig].
    A native config may carry layer_norm_type and position_embedding_type at no cost.
    """
    for key in subject.family.asked_by(Consumer.TEI).stated:
        if subject.values.get(key) is None:
            effective = _stored_size(subject, key) or _effective(subject, key)
            if key == "architectures" and subject.dialect is not None:
                effective = [subject.family.architecture(subject.head, subject.dialect)]
            hint = f'write "{key}": {shown(effective)}' if effective not in (None, ()) else ""
            found = "null" if key in subject.values else "absent"
            yield Observation(subject.at(key), f"{found}, text-embeddings-inference needs it", hint)


@rule("GTE631", Severity.ERROR, requires=READABLE, only_with=_TEI)
def labels_absent_for_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference needs the labels of a classifier.

    A reranker or classifier must have both id2label and label2id, even for a single label
    [text-embeddings-inference a28ad28f, router/src/lib.rs, run].
    """
    if subject.head in (Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION) and not _is_embedder(subject):
        for key in ("id2label", "label2id"):
            if not isinstance(subject.values.get(key), dict):
                yield Observation(subject.at(key), "absent, text-embeddings-inference needs it for a classifier")


@rule("GTE632", Severity.ERROR, requires=READABLE, only_with=_TEI)
def pooling_absent_for_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference does not know how to pool.

    An embedder needs 1_Pooling/config.json, or `--pooling cls` on its command line [text-embeddings-inference
    a28ad28f, router/src/lib.rs, get_backend_model_type].
    """
    if _is_embedder(subject) and not subject.checkpoint.has(POOLING_CONFIG):
        yield Observation(Location(file=POOLING_CONFIG), "absent, text-embeddings-inference needs it for an embedder")


@rule("GTE633", Severity.ERROR, requires=(*SOUND, "GTE111", "GTE120", "GTE121", "GTE122", "GTE124"), only_with=_TEI)
def rope_misread_by_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference turns tokens by other angles than the model was trained with.

    It takes any rope_scaling for plain ntk and passes over the factor in `rope_parameters`: a native ntk config
    loads without an error and is off by 6.7 % (factor 8) or 2.2 % (factor 2). No single config serves transformers
    5 and this program; keep a copy in the remote dialect for it: `gte-surgery convert CKPT --to remote --out DIR`.
    Of a ModernBERT it reads the old keys alone, not `rope_parameters` nor `layer_types`: write both alike
    [text-embeddings-inference 265deb2a, backends/candle/src/models/gte.rs, GTEModel::load].
    """
    yield from passed_over(subject, Consumer.TEI)
    config, reads = subject.config, subject.family.asked_by(Consumer.TEI).rope
    if config.rope.kind == "none" or reads is None:
        return
    applied = reads(subject.values)
    if not turns_alike(config.rope, applied, config.head_size, config.max_position_embeddings):
        key = next((key for key in ("rope_scaling", "rope_parameters") if subject.values.get(key)), "rope_theta")
        message = f"{describe(config.rope)}, text-embeddings-inference applies {describe(applied)}"
        yield Observation(subject.at(key), message, _COPY if subject.dialect is Dialect.NATIVE else "")


@rule("GTE634", Severity.ERROR, requires=NAMED, only_with=_TEI)
def names_unknown_to_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference does not find the tensors.

    It looks for packed tensors under the published names, with or without `new.` before them. `gte-surgery convert
    CKPT --to remote` gives them those [text-embeddings-inference 265deb2a, backends/candle/src/models/gte.rs,
    GTEModel::load].
    """
    layout, asked = subject.layout, subject.family.asked_by(Consumer.TEI)
    if layout is None or not asked.letters:
        return
    if layout.letter not in asked.letters or (asked.is_packed and layout.apart):
        found = layout.apart or f"names begin with `{layout.prefix}`"
        message = f"{found}, text-embeddings-inference needs {asked.looked_for}"
        yield Observation(weights_as_a_whole(subject), message, _COPY)


@rule("GTE635", Severity.ERROR, requires=(*SOUND, "GTE103"), only_with=_TEI)
def beyond_tei(subject: Subject) -> Iterator[Observation]:
    """The config asks for what text-embeddings-inference refuses.

    It runs rotary positions only, and neither logn_attention_scale nor logn_attention_clip1, although those do
    nothing in the published code [text-embeddings-inference 265deb2a, backends/candle/src/models/gte.rs,
    GTEModel::load].
    """
    asked = subject.family.asked_by(Consumer.TEI)
    for key, only in asked.only.items():
        found = getattr(subject.config, key)
        if found != only:
            yield Observation(subject.at(key), f"{shown(found)}, must be {shown(only)}")
    for flag in asked.unset:
        if subject.values.get(flag):
            yield Observation(subject.at(flag), f"{shown(subject.values[flag])}, must be false")


@rule("GTE636", Severity.ERROR, requires=("GTE001",), only_with=_TEI)
def tokenizer_absent_for_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference finds no tokenizer.json.

    It reads no other tokenizer and stops: "only supports fast tokenizers" [text-embeddings-inference a28ad28f,
    router/src/lib.rs, run]. Save the tokenizer with transformers, which writes the file.
    """
    if not subject.checkpoint.has(TOKENIZER_JSON):
        message = "absent, text-embeddings-inference reads no other tokenizer"
        yield Observation(Location(file=TOKENIZER_JSON), message, made_whole(subject.checkpoint))


@rule("GTE637", Severity.ERROR, requires=SOUND, only_with=_TEI)
def activation_unknown_to_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference does not have this activation.

    It has gelu, relu, and silu or swiglu, and stops at any other word in config.json
    [text-embeddings-inference 265deb2a, backends/candle/src/layers/linear.rs, HiddenAct].
    """
    known = subject.family.asked_by(Consumer.TEI).activations
    if known and subject.config.hidden_act not in known:
        wanted = f"text-embeddings-inference has {listed(known)}"
        key = subject.family.facts.spelled.get("hidden_act", "hidden_act")
        yield Observation(subject.at(key), f"{shown(subject.config.hidden_act)}, {wanted}")


@rule("GTE638", Severity.ERROR, requires=READABLE, only_with=_TEI)
def pooling_unreadable_for_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference cannot parse this pooling.

    It reads the old settings only: pooling_mode_cls_token and pooling_mode_mean_tokens, both true or false
    [text-embeddings-inference a28ad28f, router/src/lib.rs, PoolConfig]. sentence-transformers from 5.4 on writes
    pooling_mode, a word, and takes both: `gte-surgery check CKPT --for tei --fix` writes the old spelling, which
    everything reads; or start it with `--pooling cls`.
    """
    settings = subject.settings(POOLING_CONFIG)
    lacking = [key for key in _TEI_POOLING if not isinstance(settings.members.get(key), bool)]
    if lacking and isinstance(settings.value, dict) and _is_embedder(subject):
        message = f"{listed(lacking)} absent, text-embeddings-inference needs both"
        on = MODE_KEYS[subject.family.facts.pooling]
        by = ", ".join(f'"{key}": {str(key == on).lower()}' for key in _TEI_POOLING)
        is_curable = spelled_as_before(settings.members) is not None and not subject.checkpoint.around
        hint = _CURE if is_curable else f"write {by} in place of the new keys"
        yield Observation(settings.location(""), message, hint)


@rule("GTE639", Severity.ERROR, requires=("GTE001",), only_with=_TEI)
def length_unstated_for_tei(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference stops at a sentence_bert_config.json without max_seq_length.

    Where the file is there, it must state the length; without the file max_position_embeddings is taken
    [text-embeddings-inference a28ad28f, router/src/lib.rs, STConfig]. sentence-transformers from 5.4 on leaves the key
    out, and takes it where it is written: `gte-surgery check CKPT --for tei --fix` writes it.
    """
    settings = subject.settings(SENTENCE_CONFIG)
    if isinstance(settings.value, dict) and type(settings.value.get("max_seq_length")) is not int:
        message = "absent, text-embeddings-inference needs it in this file"
        yield Observation(settings.location("/max_seq_length"), message, _CURE)


@rule("GTE650", Severity.ERROR, requires=READABLE, only_with=_TEI)
def embedder_served_as_classifier(subject: Subject) -> Iterator[Observation]:
    """text-embeddings-inference serves this embedder as a classifier.

    It takes the first class in `architectures` that ends in Classification, wherever it stands (of
    NewForTokenClassification only with id2label and label2id), and then answers with the scores of that head instead of
    vectors; with one label as a reranker [text-embeddings-inference a28ad28f,
    router/src/lib.rs, get_backend_model_type]. Name the encoder's class alone in a copy for it.
    """
    named = subject.config.architectures
    has_labels = {"id2label", "label2id"} <= subject.values.keys()
    heads = [name for name in named if name.endswith("Classification")]
    heads = [name for name in heads if has_labels or name != "NewForTokenClassification"]
    if heads and _is_embedder(subject) and subject.dialect is not None and Consumer.TEI in subject.family.demands:
        wanted = subject.family.architecture(Head.NONE, subject.dialect)
        message = f"{listed(named)}: served as {heads[0]}, must be {wanted} alone for vectors"
        yield Observation(subject.at("architectures"), message, f'write "architectures": ["{wanted}"]')


def _effective(subject: Subject, key: str) -> object:
    """What a member that is absent amounts to, None where that is not known."""
    fields = {member: field for field, member in subject.family.facts.spelled.items()}
    ids = {f"{role}_token_id": number for role, number in subject.tokenizer.ids.items() if role != "pad"}
    told: dict[str, object] = {**ids, **subject.family.asked_by(Consumer.TEI).effective(subject.config)}
    return told.get(key, getattr(subject.config, fields.get(key, key), subject.family.facts.defaults.get(key)))


def _stored_size(subject: Subject, key: str) -> int | None:
    """A size that the word table shows."""
    words = subject.stored(subject.names.words)
    places = {"vocab_size": 0, "hidden_size": 1}
    return words.shape[places[key]] if key in places and words is not None and len(words.shape) == 2 else None


def _is_embedder(subject: Subject) -> bool:
    """Whether the program would make vectors: by the first class that `architectures` names."""
    named = subject.config.architectures
    return named[0].endswith("Model") if named else subject.head is Head.NONE
