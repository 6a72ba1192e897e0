"""GTE300 and GTE310 to GTE312: the small files beside the weights, against the config: pooling, sequence length.

A file that is absent is nobody's fault here; what a program cannot do without is for the rules of that program.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.sidecars import (
    MODULES,
    POOLING_CONFIG,
    SENTENCE_CONFIG,
    pooling,
    width_key,
)
from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.subject import Subject
from gte_surgery.checks.wording import shown
from gte_surgery.errors import JsonError
from gte_surgery.findings import Location, Severity

_SOUND = ("GTE001", "GTE002", "GTE003", "GTE101", "GTE102", "GTE105")
_CLS = "cls_token"


@rule("GTE300", Severity.WARNING)
def unreadable(subject: Subject) -> Iterator[Observation]:
    """A file beside the weights cannot be read.

    The files tokenizer_config.json, special_tokens_map.json, added_tokens.json, modules.json, sentence_bert_config.json
    and 1_Pooling/config.json must be strict JSON, modules.json a list and the others objects; tokenizer.json, or where
    there is none vocab.txt, vocab.json or a SentencePiece model, must hold a vocabulary. A program that needs the file
    stops, or goes on with defaults. Take it again from where the checkpoint comes from.
    """
    for name, found in subject.sidecars.items():
        wanted: type = list if name == MODULES else dict
        if isinstance(found, JsonError):
            yield Observation(Location(file=name, line=found.line, column=found.column), found.reason, found.hint)
        elif not isinstance(found, Document):
            yield Observation(Location(file=name), found.message.removeprefix(f"{name}: "), found.hint)
        elif not isinstance(found.value, wanted):
            problem = f"{shown(found.value)}, must be {'a list' if wanted is list else 'an object'}"
            yield Observation(found.location(""), problem)
    for name, reason in subject.tokenizer.trouble.items():
        yield Observation(Location(file=name), f"no vocabulary can be read from it: {reason}")


@rule("GTE310", Severity.WARNING)
def not_pooled_by_cls(subject: Subject) -> Iterator[Observation]:
    """The sentence vector is not made as the releases make it.

    The GTE of 2024 and those on ModernBERT are trained with CLS pooling, the first generation, BERT, with the mean;
    the other way round ruins a model without an error. Fine-tunes that were trained with another pooling are right to
    say so, then ignore this rule. Otherwise switch on `pooling_mode_cls_token` or `pooling_mode_mean_tokens`, and the
    other modes off.
    """
    settings, found = subject.sidecar(POOLING_CONFIG), pooling(subject.checkpoint)
    by = subject.family.facts.pooling
    wanted = {"cls": (_CLS, "cls"), "mean": ("mean_tokens", "mean")}[by]
    if settings is not None and found is not None and found.mode not in wanted:
        told = f"pools by {found.mode or 'no mode at all'}, the releases by {wanted[0]}"
        yield Observation(settings.location(""), told)


@rule("GTE311", Severity.ERROR, requires=_SOUND)
def pooling_width_differs(subject: Subject) -> Iterator[Observation]:
    """The pooling expects vectors of another width than the model makes.

    sentence-transformers reports the wrong embedding size, and an index or a dense layer made for it does not fit. The
    file comes from another model. Set `embedding_dimension`, or in older files `word_embedding_dimension`, to
    hidden_size.
    """
    settings, found = subject.sidecar(POOLING_CONFIG), pooling(subject.checkpoint)
    hidden = subject.config.hidden_size if subject.config else None
    if settings is not None and found is not None and found.width is not None and found.width != hidden:
        members = settings.value if isinstance(settings.value, dict) else {}
        yield Observation(settings.location(f"/{width_key(members)}"), f"{found.width}, hidden_size is {hidden}")


@rule("GTE312", Severity.WARNING, requires=_SOUND)
def sequence_beyond_positions(subject: Subject) -> Iterator[Observation]:
    """max_seq_length exceeds max_position_embeddings.

    Texts between the two are not cut, and the model meets positions that it was never trained on; with absolute
    positions it stops with an IndexError. Lower max_seq_length.
    """
    settings = subject.sidecar(SENTENCE_CONFIG)
    length = settings.value.get("max_seq_length") if settings and isinstance(settings.value, dict) else None
    positions = subject.config.max_position_embeddings if subject.config else 0
    if settings is not None and type(length) is int and length > positions:
        place = settings.location("/max_seq_length")
        yield Observation(place, f"{length}, must be at most max_position_embeddings {positions}")
