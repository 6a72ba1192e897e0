"""GTE300 to GTE399: the files beside the weights, against the config: tokenizer, pooling, sequence length.

A file that is absent is nobody's fault here; what a program cannot do without is for the rules of that program.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.sidecars import (
    MODULES,
    POOLING_CONFIG,
    SENTENCE_CONFIG,
    TOKENIZER_CONFIG,
    VOCABULARY,
    pooling,
)
from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.subject import Subject
from gte_surgery.checks.wording import counted, listed, shown
from gte_surgery.errors import JsonError
from gte_surgery.findings import Location, Severity
from gte_surgery.vocabulary.tokenizer import TOKENIZER_JSON

_SOUND = ("GTE001", "GTE002", "GTE003", "GTE101", "GTE102", "GTE105")
_CLS = "cls_token"
_UNUSED_ROLES = ("cls", "sep", "mask", "bos", "eos", "unk")


@rule("GTE300", Severity.WARNING)
def unreadable(subject: Subject) -> Iterator[Observation]:
    """A file beside the weights cannot be read.

    The files tokenizer_config.json, special_tokens_map.json, modules.json, sentence_bert_config.json and
    1_Pooling/config.json must be strict JSON, modules.json a list and the others objects; tokenizer.json or vocab.txt
    must hold a vocabulary. A program that needs the file stops, or goes on with defaults. Take it again from where the
    checkpoint comes from.
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
    tokenizers = [name for name in (TOKENIZER_JSON, VOCABULARY) if subject.checkpoint.has(name)]
    if tokenizers and subject.vocabulary is None:
        yield Observation(Location(file=tokenizers[0]), "no vocabulary can be read from it")


@rule("GTE301", Severity.ERROR, requires=_SOUND)
def vocabulary_beyond_table(subject: Subject) -> Iterator[Observation]:
    """The tokenizer makes ids beyond the table.

    On a CPU such an id is an IndexError; on CUDA it is an assertion that poisons the process. A vocabulary was shrunk
    and the tokenizer of before stayed. Put the new tokenizer in its place; if you feed ids of your own, remove the old
    one: `gte-surgery resize CKPT --vocab N --pad ID --tokenizer remove`. The other way round is normal: releases have
    some rows more than their tokenizers make ids.
    """
    if subject.config is None or subject.vocabulary is None:
        return
    rows, ids = subject.config.vocab_size, subject.vocabulary.rows
    if ids > rows:
        name = TOKENIZER_JSON if subject.checkpoint.has(TOKENIZER_JSON) else VOCABULARY
        message = f"makes ids up to {ids - 1:,}, vocab_size {rows:,} has rows up to {rows - 1:,}"
        yield Observation(Location(file=name), message, "if no program uses it: resize with --tokenizer remove")


@rule("GTE302", Severity.ERROR, requires=(*_SOUND, "GTE301"))
def added_token_beyond_table(subject: Subject) -> Iterator[Observation]:
    """A token that was added to the tokenizer has no row in the table.

    Tokens were added (`add_tokens`, `add_special_tokens`) without resizing the embeddings. The first text that holds
    one is an IndexError, on CUDA a poisoned process. `gte-surgery resize CKPT --vocab N --pad ID` makes the rows.
    """
    if subject.config is None:
        return
    rows = subject.config.vocab_size
    tokens = (subject.vocabulary.added if subject.vocabulary else {}) or subject.tokenizer.tokens
    beyond = [f"`{token}` {number}" for number, token in sorted(tokens.items()) if number >= rows]
    if beyond:
        name = next((name for name in (TOKENIZER_JSON, TOKENIZER_CONFIG) if subject.checkpoint.has(name)), "")
        message = f"{counted(len(beyond), 'token')} beyond vocab_size {rows:,}: {listed(beyond)}"
        yield Observation(Location(file=name), message)


@rule("GTE303", Severity.WARNING, requires=_SOUND)
def tokenizer_pads_otherwise(subject: Subject) -> Iterator[Observation]:
    """The tokenizer pads with another id than the config says.

    The row that is never trained is then an ordinary token's, and what stands at padded places is a row that means
    something. Right masks hide it; code that tells pads by id, and pooling without a mask, do not. Make the two agree:
    `gte-surgery resize CKPT --vocab N --pad ID` moves the config's.
    """
    made = subject.tokenizer.ids.get("pad")
    stated = subject.config.pad_token_id if subject.config else None
    if made is not None and stated is not None and made != stated:
        token = subject.tokenizer.tokens.get(made)
        named = f" (`{token}`)" if token else ""
        yield Observation(subject.at("pad_token_id"), f"{stated}, the tokenizer pads with {made}{named}")


@rule("GTE304", Severity.NOTE, requires=_SOUND)
def special_ids_disagree(subject: Subject) -> Iterator[Observation]:
    """The config names another special id than the tokenizer.

    The model never reads cls, sep, mask, bos, eos or unk ids. Programs do that take mask_token_id or the others from
    the config, a masked-LM collator of your own for instance, and then mask with an ordinary token.
    """
    for role in _UNUSED_ROLES:
        key = f"{role}_token_id"
        stated, made = subject.values.get(key), subject.tokenizer.ids.get(role)
        if stated is not None and made is not None and stated != made:
            yield Observation(subject.at(key), f"{shown(stated)}, the tokenizer has {made}")


@rule("GTE305", Severity.WARNING, requires=_SOUND)
def special_id_beyond_table(subject: Subject) -> Iterator[Observation]:
    """The config names a special id beyond the vocabulary.

    The model never reads it, so nothing fails before a program takes it from here and looks it up: then it is an
    IndexError, on CUDA a poisoned process. It was left behind when the vocabulary shrank; correct or remove it.
    """
    rows = subject.config.vocab_size if subject.config else 0
    for role in _UNUSED_ROLES:
        stated = subject.values.get(f"{role}_token_id")
        if type(stated) is int and not 0 <= stated < rows:
            yield Observation(subject.at(f"{role}_token_id"), f"{stated}, must be from 0 to {rows - 1}")


@rule("GTE306", Severity.ERROR, requires=("GTE300",))
def pads_on_the_left(subject: Subject) -> Iterator[Observation]:
    """The tokenizer pads on the left.

    A GTE's sentence vector is the one at position 0. With left padding a pad stands there in every text shorter than
    the longest of its batch: those vectors are noise, without an error. Set "padding_side" to "right".
    """
    settings = subject.sidecar(TOKENIZER_CONFIG)
    side = settings.value.get("padding_side") if settings and isinstance(settings.value, dict) else None
    pooled = pooling(subject.checkpoint)
    if settings is not None and side == "left" and (pooled is None or pooled.mode == _CLS):
        yield Observation(settings.location("/padding_side"), 'left, must be "right" for a vector at position 0')


@rule("GTE310", Severity.WARNING)
def not_pooled_by_cls(subject: Subject) -> Iterator[Observation]:
    """The sentence vector is not the one at the CLS position.

    All releases are trained with CLS pooling; a mean over such a model's tokens ruins it without an error. Fine-tunes
    that were trained with another pooling are right to say so, then ignore this rule. Otherwise set
    `pooling_mode_cls_token` to true and the other modes to false.
    """
    settings, found = subject.sidecar(POOLING_CONFIG), pooling(subject.checkpoint)
    if settings is not None and found is not None and found.mode not in (_CLS, "cls"):
        yield Observation(settings.location(""), f"pools by {found.mode or 'no mode at all'}, the releases by {_CLS}")


@rule("GTE311", Severity.ERROR, requires=_SOUND)
def pooling_width_differs(subject: Subject) -> Iterator[Observation]:
    """The pooling expects vectors of another width than the model makes.

    sentence-transformers reports the wrong embedding size, and an index or a dense layer made for it does not fit. The
    file comes from another model. Set `word_embedding_dimension` to hidden_size.
    """
    settings, found = subject.sidecar(POOLING_CONFIG), pooling(subject.checkpoint)
    hidden = subject.config.hidden_size if subject.config else None
    if settings is not None and found is not None and found.width is not None and found.width != hidden:
        place = settings.location("/word_embedding_dimension")
        yield Observation(place, f"{found.width}, hidden_size is {hidden}")


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
