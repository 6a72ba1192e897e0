"""GTE620 to GTE626, judged only with `--for vllm`: what vLLM will refuse or silently misread."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.rules.config import SOUND
from gte_surgery.checks.rules.layout import weights_as_a_whole
from gte_surgery.checks.rules.tensors import NAMED, READABLE
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Severity
from gte_surgery.gte.kinds import Consumer, Dialect, Head, Layout
from gte_surgery.gte.wording import listed

_VLLM = f"--for {Consumer.VLLM.value}"


@rule("GTE620", Severity.ERROR, requires=READABLE, only_with=_VLLM)
def class_unknown_to_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM does not know the class in `architectures`.

    It serves the published configs as GteNewModel and GteNewForSequenceClassification, names that no release
    states: start it with the override of the hint. model_type "gte" it serves as GteModel only, without a head;
    convert a reranker with `gte-surgery convert CKPT --to remote` first [vLLM 3340a0da,
    models/bert_with_rope.py, GteNewModel and GteNewForSequenceClassification].
    """
    known = _known_to_vllm(subject)
    if known and not set(subject.config.architectures) & set(known):
        found = listed(subject.config.architectures) or "absent"
        yield Observation(
            subject.at("architectures"), f"{found}, vLLM serves {' and '.join(known)}", _override(subject)
        )


@rule("GTE621", Severity.ERROR, requires=SOUND, only_with=_VLLM)
def activation_unknown_to_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM serves a GTE with gelu only.

    It asserts that hidden_act is "gelu", as in every release, and stops otherwise [vLLM 0144dd5b, models/config.py,
    GteNewModelConfig]; in a ModernBERT it computes gelu whatever the config says [vLLM 8ae7ba4d, models/modernbert.py,
    ModernBertMLP]. A model that was trained with another
    activation needs another server.
    """
    yield from _unlike_the_one(subject, "hidden_act", subject.config.hidden_act)


@rule("GTE622", Severity.ERROR, requires=NAMED, only_with=_VLLM)
def split_for_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM does not find tensors that are stored apart.

    It knows attention.qkv_proj and mlp.up_gate_proj, and stops with a KeyError at q_proj or layers.0.self_attn.
    `gte-surgery convert CKPT --layout a` packs them, `--layout b` where there is a head [vLLM 3340a0da,
    models/bert_with_rope.py, GteNewModel].
    """
    layout = subject.layout
    if layout is not None and layout.apart and subject.family.asked_by(Consumer.VLLM).is_packed:
        told = f"{layout.apart}, vLLM needs qkv_proj and up_gate_proj packed"
        yield Observation(weights_as_a_whole(subject), told, _cure(subject))


@rule("GTE623", Severity.ERROR, requires=SOUND, only_with=_VLLM)
def positions_unstated_for_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM needs `position_embedding_type`, and it must be "rope".

    It reads the key without a default and stops where it is absent or another. A native config may carry it at no
    cost [vLLM 3340a0da, models/bert_with_rope.py, BertWithRopeEmbedding].
    """
    yield from _unlike_the_one(subject, "position_embedding_type", subject.values.get("position_embedding_type"))


@rule("GTE624", Severity.ERROR, requires=READABLE, only_with=_VLLM)
def no_place_in_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM stops at tensors that its model has no place for.

    It looks every stored name up among its parameters, and stops with a KeyError at a masked-LM head, `qa_outputs`, a
    stored buffer or any other addition [vLLM 3340a0da, models/bert_with_rope.py, and 8ae7ba4d, modernbert.py,
    load_weights]; only of a BERT it passes over them. `gte-surgery convert CKPT --drop NAME` leaves them out.
    """
    if not (lacks := subject.family.asked_by(Consumer.VLLM).lacks):
        return
    head = sorted(subject.canonical[name] for name in _of_head(subject) if subject.head in lacks)
    strange = _strange(subject)
    patterns = [*(_of_what_head(subject) if head else ()), *_covering(strange, subject)]
    hint = f"gte-surgery convert CKPT {_drops(patterns)}"
    for names in (head, strange):
        if names:
            yield Observation(subject.at_tensor(names[0]), f"vLLM has no place for it; {len(names)} such in all", hint)


@rule("GTE625", Severity.ERROR, requires=(*NAMED, "GTE622"), only_with=_VLLM)
def prefix_for_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM does not take this prefix off the tensor names.

    For the published configs it strips `new.`; for model_type "gte" (Snowflake's, and the native dialect) it strips
    nothing and stops with a KeyError. Of a BERT or ModernBERT each class knows one prefix: none without a head, `bert.`
    or `model.` with one [vLLM d5b39374, models/bert.py; 8ae7ba4d, models/modernbert.py].
    `gte-surgery convert CKPT --layout a` takes the prefix off.
    """
    layout, dialect, asked = subject.layout, subject.dialect, subject.family.demands.get(Consumer.VLLM)
    if layout is None or dialect is None or asked is None:
        return
    allowed = asked.prefixes.get(dialect, [each.prefix for each in _served_layouts(subject).values()])
    if layout.prefix not in allowed:
        message = f"names begin with `{layout.prefix}`" if layout.prefix else "names have no prefix"
        needed = f"vLLM needs {listed([f'`{each}`' for each in allowed if each]) or 'none'} for model_type"
        told = f"{message}, {needed} {subject.values['model_type']}"
        yield Observation(weights_as_a_whole(subject), told, _cure(subject))


@rule("GTE626", Severity.ERROR, requires=SOUND, only_with=_VLLM)
def norm_unknown_to_vllm(subject: Subject) -> Iterator[Observation]:
    """vLLM serves a GTE with LayerNorm only.

    Its layers have nn.LayerNorm whatever layer_norm_type says, and stop at the biases that an RMS norm has not, or use
    what they were initialised with [vLLM 3340a0da, models/bert_with_rope.py, BertWithRopeBlock].
    """
    yield from _unlike_the_one(subject, "layer_norm_type", subject.config.layer_norm_type)


def _unlike_the_one(subject: Subject, field: str, found: object) -> Iterator[Observation]:
    """Where vLLM takes one value of a field alone, and another is found, or none."""
    only, key = subject.family.asked_by(Consumer.VLLM).only, subject.family.facts.spelled.get(field, field)
    if field in only and found != only[field]:
        told = "absent" if found is None and key not in subject.values else shown(found)
        yield Observation(subject.at(key), f"{told}, must be {shown(only[field])} for vLLM")


def _served_layouts(subject: Subject) -> Mapping[str, Layout]:
    """The layouts of the head where vLLM has a class for it, else those without one."""
    named = subject.family.architecture(subject.head, subject.dialect) if subject.dialect is not None else ""
    return subject.family.naming.layouts(subject.head if named in _known_to_vllm(subject) else Head.NONE)


def _cure(subject: Subject) -> str:
    """The command that gives the tensors names that vLLM knows, and takes a head off which is not wanted."""
    wanted, is_bare = _served_layouts(subject), subject.head is Head.NONE
    if not is_bare and subject.dialect in subject.family.asked_by(Consumer.VLLM).prefixes:
        return "gte-surgery convert CKPT --to remote"
    patterns = [*_of_what_head(subject), *_covering(_strange(subject), subject)]
    dropped = "" if is_bare or all(layout.prefix for layout in wanted.values()) else f"{_drops(patterns)} "
    return f"gte-surgery convert CKPT {dropped}--layout {next(iter(wanted))}"


def _drops(patterns: Iterable[str]) -> str:
    return " ".join(f"--drop '{pattern}'" for pattern in patterns)


def _of_what_head(subject: Subject) -> list[str]:
    """Patterns of the head's names."""
    return [f"{word}.*" for word in sorted({name.partition(".")[0] for name in _of_head(subject)})]


def _strange(subject: Subject) -> list[str]:
    """Stored names that the config does not ask for."""
    return sorted(subject.checkpoint.tensors.keys() - {spec.name for spec in subject.allowed})


def _covering(names: Iterable[str], subject: Subject) -> Iterable[str]:
    """Patterns of these names alone: one for a layer of which there are no others."""
    others = [name for name in subject.checkpoint.tensors if name not in {*names}]
    layers = {name: (re.match(r".*?\.[0-9]+\.", name) or [name])[0] for name in names}
    lone = {layer for layer in layers.values() if not any(name.startswith(layer) for name in others)}
    return dict.fromkeys(f"{layer}*" if layer in lone and layer != name else name for name, layer in layers.items())


def _of_head(subject: Subject) -> list[str]:
    """The canonical names of the head's tensors."""
    return [name for name in subject.canonical if subject.family.region(name, subject.head) == "head"]


def _known_to_vllm(subject: Subject) -> tuple[str, ...]:
    return (
        subject.family.asked_by(Consumer.VLLM).classes.get(subject.dialect, ()) if subject.dialect is not None else ()
    )


def _override(subject: Subject) -> str:
    if subject.dialect is not Dialect.REMOTE and "remote" in subject.family.members:
        return "gte-surgery convert CKPT --to remote"
    bare, *others = _known_to_vllm(subject)
    name = others[0] if others and subject.head is Head.SEQUENCE_CLASSIFICATION else bare
    return f"""start it with --hf-overrides '{{"architectures": ["{name}"]}}'"""
