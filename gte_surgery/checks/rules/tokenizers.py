"""GTE301 to GTE309, GTE313 and GTE318: the tokenizer as it speaks: what it holds, adds and puts around texts.

A tokenizer that is absent is nobody's fault here; what a program cannot do without is for the rules of that program.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checkpoint.sidecars import TOKENIZER_CONFIG, pooling
from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.rules.config import SOUND
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Location, Severity
from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.wording import counted, listed
from gte_surgery.vocabulary.emission import Emitted
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON, WORDS

_CLS = ("cls_token", "cls")
_MOST_ADDED = 1024
"""Tokens that somebody may have added; ids further off are those of another vocabulary."""
_UNUSED_ROLES = ("cls", "sep", "mask", "bos", "eos", "unk")


@rule("GTE301", Severity.ERROR, requires=SOUND)
def vocabulary_beyond_table(subject: Subject) -> Iterator[Observation]:
    """The tokenizer makes ids beyond the table.

    On a CPU such an id is an IndexError; on CUDA it is an assertion that poisons the process. A vocabulary was shrunk
    and the tokenizer of before stayed. Put the new tokenizer in its place; if you feed ids of your own, remove the old
    one: `gte-surgery resize CKPT --vocab N --pad ID --tokenizer remove`. The other way round is normal: releases have
    some rows more than their tokenizers make ids.
    """
    found, rows = subject.tokenizer, subject.config.vocab_size
    if found.rows is not None and found.rows > rows:
        message = f"makes ids up to {found.rows - 1:,}, vocab_size {rows:,} has rows up to {rows - 1:,}"
        hint = f"if no program uses it: {subject.resized(rows)} --tokenizer remove"
        yield Observation(Location(file=found.source), message, hint)


@rule("GTE302", Severity.ERROR, requires=(*SOUND, "GTE301"))
def added_token_beyond_table(subject: Subject) -> Iterator[Observation]:
    """A token that was added to the tokenizer has no row in the table.

    Tokens were added (`add_tokens`, `add_special_tokens`) without resizing the embeddings. The first text that holds
    one is an IndexError, on CUDA a poisoned process. `gte-surgery resize CKPT --vocab N --pad ID` makes the rows. The
    tokens are those of tokenizer.json and of tokenizer_config.json's added_tokens_decoder, or without that of
    added_tokens.json. In use, a token of the vocabulary has its id there, and the others count on from its end,
    whatever the files state; transformers 4 with `use_fast=False` takes the ids that the older files state, and those
    that it alone takes are named so [transformers 5.24 and 4.57.6, tokenization_utils_base.py].
    """
    by_file: dict[str, list[str]] = {}
    rows = most = subject.config.vocab_size
    for each in _beyond(subject, "added"):
        most = max(most, each.id)
        taken = "" if each.own == each.id else f" as stated, {each.own} in use"
        by_file.setdefault(each.file, []).append(f"`{each.token}` {each.id}{taken}")
    for name, tokens in by_file.items():
        message = f"{counted(len(tokens), 'token')} beyond vocab_size {rows:,}: {listed(tokens)}"
        hint = f"{subject.resized(most + 1)} --round-to 64" if most < rows + _MOST_ADDED else ""
        yield Observation(Location(file=name), message, hint)


@rule("GTE303", Severity.WARNING, requires=SOUND)
def tokenizer_pads_otherwise(subject: Subject) -> Iterator[Observation]:
    """The tokenizer pads with another id than the config says.

    The row that is never trained is then an ordinary token's, and what stands at padded places is a row that means
    something. Right masks hide it; code that tells pads by id, and pooling without a mask, do not. Make the two agree:
    `gte-surgery resize CKPT --vocab N --pad ID` moves the config's.
    """
    made = subject.tokenizer.ids.get("pad")
    stated = subject.config.pad_token_id
    if made is not None and stated is not None and made != stated:
        token = subject.tokenizer.tokens.get(made)
        named = f" (`{token}`)" if token else ""
        yield Observation(subject.at("pad_token_id"), f"{stated}, the tokenizer pads with {made}{named}")
        return
    beyond = [*_beyond(subject, "padding")]
    for each in subject.tokenizer.emitted:
        if each.part == "padding" and stated is not None and each.id != stated and each not in beyond:
            message = f"{each.id}, pad_token_id is {stated}"
            yield Observation(Location(file=each.file, pointer=each.pointer), message)


@rule("GTE304", Severity.NOTE, requires=SOUND)
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


@rule("GTE305", Severity.WARNING, requires=SOUND)
def special_id_beyond_table(subject: Subject) -> Iterator[Observation]:
    """The config names a special id beyond the vocabulary.

    The model never reads it, so nothing fails before a program takes it from here and looks it up: then it is an
    IndexError, on CUDA a poisoned process. It was left behind when the vocabulary shrank; correct or remove it.
    """
    rows = subject.config.vocab_size
    for role in _UNUSED_ROLES:
        stated = subject.values.get(f"{role}_token_id")
        if type(stated) is int and not 0 <= stated < rows:
            yield Observation(subject.at(f"{role}_token_id"), f"{stated}, must be from 0 to {rows - 1}")


@rule("GTE318", Severity.ERROR, requires=("GTE300",))
def class_of_another_kind(subject: Subject) -> Iterator[Observation]:
    """The tokenizer's class makes another tokenizer than these files hold.

    transformers 5 makes a BERT's or an XLM-R's tokenizer anew of the vocabulary, whatever model tokenizer.json has: of
    another kind of vocabulary it stops with a TypeError, or cuts texts otherwise without a word, or knows its five
    special tokens and nothing else. Where tokenizer_config.json names no class, model_type decides: "bert" has BERT's
    and "gte" XLM-R's. Name the right one: "PreTrainedTokenizerFast" takes tokenizer.json as it is [transformers 5.24,
    models/auto/tokenization_auto.py and tokenization_utils_tokenizers.py; 4.57.6 takes the file as it is].
    """
    found, settings = subject.tokenizer, subject.settings(TOKENIZER_CONFIG)
    is_unread = subject.checkpoint.has(TOKENIZER_CONFIG) and not isinstance(settings.value, dict)
    if is_unread or found.made_by.fits(found.kind):
        return
    is_stated = settings.members.get("tokenizer_class")
    place = settings.location("/tokenizer_class") if is_stated else subject.at("model_type")
    message = f"{shown(subject.values.get('model_type'))}: without a class named, transformers takes "
    hint = '"tokenizer_class": "PreTrainedTokenizerFast" and the special tokens' if found.whole else ""
    if found.kind == WORDS and subject.values.get("model_type") != "modernbert":
        hint = '"tokenizer_class": "BertTokenizer"'
    told = f"{'' if is_stated else message}{found.made_by.name}, which is not made of {found.kind}"
    yield Observation(place, told, f"write {hint} into {TOKENIZER_CONFIG}" if hint else "")


@rule("GTE306", Severity.ERROR, requires=("GTE300",))
def pads_on_the_left(subject: Subject) -> Iterator[Observation]:
    """The tokenizer pads on the left.

    A GTE's sentence vector is the one at position 0. With left padding a pad stands there in every text shorter than
    the longest of its batch: those vectors are noise, without an error. Set "padding_side" to "right".
    """
    if subject.tokenizer.side != "left" or not _takes_first(subject):
        return
    settings, place = subject.settings(TOKENIZER_CONFIG), Location(file=TOKENIZER_JSON, pointer="/padding/direction")
    if "padding_side" in settings.members:
        place = settings.location("/padding_side")
    yield Observation(place, 'left, must be "right" for a vector at position 0')


@rule("GTE307", Severity.ERROR, requires=(*SOUND, "GTE301"))
def emitted_beyond_table(subject: Subject) -> Iterator[Observation]:
    """The tokenizer puts an id around texts that has no row in the table.

    The ids of a post-processor and of the padding stand in tokenizer.json as numbers and are used as they are, whatever
    the vocabulary says. Every text is then an IndexError, on CUDA a poisoned process, in programs that take the file as
    it is (tokenizers, text-embeddings-inference, transformers with PreTrainedTokenizerFast). Only the vocabulary was
    rewritten; write the token's new id there.
    """
    rows = subject.config.vocab_size
    for each in _beyond(subject, "template", "padding"):
        message = f"`{each.token}` is {each.id}, must be below vocab_size {rows:,}"
        yield Observation(Location(file=each.file, pointer=each.pointer), message)


@rule("GTE308", Severity.WARNING, requires=SOUND)
def nothing_before_texts(subject: Subject) -> Iterator[Observation]:
    """The tokenizer puts no CLS before a text.

    A GTE's sentence vector is the one at position 0. Without a CLS token there, it is that of the text's first word,
    which was never trained to stand for the whole. tokenizer.json has no post-processor that adds one; transformers'
    XLMRobertaTokenizer and BertTokenizer make their own, programs that take the file as it is (tokenizers,
    text-embeddings-inference, PreTrainedTokenizerFast) do not. Take the file again from where the checkpoint comes
    from.
    """
    frame = subject.tokenizer.frame
    if frame is not None and not frame.before and _takes_first(subject):
        place = Location(file=TOKENIZER_JSON, pointer="/post_processor")
        yield Observation(place, "puts nothing before a text, the sentence vector is the one at position 0")


@rule("GTE309", Severity.ERROR, requires=SOUND)
def types_beyond_table(subject: Subject) -> Iterator[Observation]:
    """The tokenizer gives token types that the type table has no row for.

    The second text of a pair gets type 1, and transformers' own GteModel looks it up: an IndexError, on CUDA a poisoned
    process. The published remote code forces every type to 0 where there is one row. Feed no token_type_ids, have
    tokenizer_config.json say `"model_input_names": ["input_ids", "attention_mask"]`, or make a second row:
    `gte-surgery resize CKPT --vocab N --pad ID --type-vocab 2`.
    """
    frame, config = subject.tokenizer.frame, subject.config
    held = config.type_vocab_size
    if frame is None or held < 1 or subject.dialect is not Dialect.NATIVE or not subject.tokenizer.has_types:
        return
    for what, highest in (("a text", frame.single_type), ("the second text of a pair", frame.pair_type)):
        if highest >= held:
            place = Location(file=TOKENIZER_JSON, pointer="/post_processor")
            hint = f"{subject.resized(config.vocab_size)} --type-vocab {highest + 1}"
            yield Observation(place, f"{what} gets type {highest}, must be below type_vocab_size {held}", hint)
            return


@rule("GTE313", Severity.WARNING, requires=(*SOUND, "GTE307"))
def emitted_is_another(subject: Subject) -> Iterator[Observation]:
    """The tokenizer puts the id of another token around texts than it says.

    A post-processor names its tokens and states their ids, and only the ids are used. Where the two disagree, the
    vocabulary was rewritten and the post-processor was not: every text begins or ends with a row that means something
    else, without an error. Write the token's id there.
    """
    for each in subject.tokenizer.emitted:
        if each.part != "added" and each.own is not None and each.own != each.id:
            place = Location(file=each.file, pointer=each.pointer)
            yield Observation(place, f"{each.id}, `{each.token}` is {each.own} in the vocabulary")


def _beyond(subject: Subject, *parts: str) -> Iterator[Emitted]:
    """What the tokenizer emits beyond the table."""
    rows = subject.config.vocab_size
    yield from (each for each in subject.tokenizer.emitted if each.part in parts and each.id >= rows)


def _takes_first(subject: Subject) -> bool:
    """Whether the sentence vector is that of position 0, as far as the files say."""
    pooled = pooling(subject.checkpoint)
    return pooled is None or pooled.mode in _CLS
