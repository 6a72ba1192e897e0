"""GTE640 to GTE646: what sentence-transformers will refuse or silently misread."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.listing import is_unsafe
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.checkpoint.sidecars import (
    MODE_KEYS,
    MODULES,
    POOLING_CONFIG,
    SAVE_CONFIG,
    SENTENCE_CONFIG,
    TOKENIZER_CONFIG,
    WIDTH_KEYS,
    kind_of_save,
    members_of,
    modules,
    name_in,
    width_key,
)
from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Location, Severity
from gte_surgery.gte.kinds import Consumer, Dialect, Head
from gte_surgery.gte.wording import listed
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON, VOCABULARIES
from gte_surgery.vocabulary.tokenizer import ALIKE

_SENTENCES = f"--for {Consumer.SENTENCE_TRANSFORMERS.value}"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TAKE_VECTORS = ("Pooling", "SpladePooling", "Normalize", "Dense")
"""Kinds of modules that cannot be the first."""
_TASKS = {"CrossEncoder": "sequence-classification", "SparseEncoder": "fill-mask"}
"""`transformer_task` of the saves that have another than "feature-extraction"."""
_OF_TRANSFORMER = {
    "transformer_task", "model_kwargs", "processor_kwargs", "config_kwargs", "processing_kwargs", "backend",
    "modality_config", "module_output_name", "unpad_inputs", "query_length", "document_length", "query_expansion",
    "max_seq_length", "do_lower_case", "tokenizer_name_or_path", "model_args", "tokenizer_args", "config_args",
    "cache_dir",
}  # fmt: skip
"""What sentence-transformers makes a Transformer of; it stops at anything else."""
_OF_POOLING = {*WIDTH_KEYS, *MODE_KEYS.values(), "pooling_mode", "include_prompt"}
_PROMPTS = ("query", "document")
"""Prompts that there are always, empty where none is stated."""
_FILES = {
    "Pooling": (("config.json",),),
    "SpladePooling": (("config.json",),),
    "Dense": (("config.json",), _WEIGHTS),
}
"""Of each kind of module the files that must be in its folder, one of each set."""


@rule("GTE640", Severity.ERROR, requires=("GTE001",), only_with=_SENTENCES)
def no_modules(subject: Subject) -> Iterator[Observation]:
    """sentence-transformers finds no modules.json.

    It then puts mean pooling on top of the model, with no more than a line in the log, and a GTE pooled so gives
    ruined vectors. Copy modules.json and the folder 1_Pooling from the release. Where the directory above has
    modules.json, and the model in this folder, judge that one [sentence-transformers 6.2,
    sentence_transformer/model.py, _load_default_modules].
    """
    is_embedder = subject.head is not Head.SEQUENCE_CLASSIFICATION and subject.family.facts.pooling != "mean"
    checkpoint = subject.checkpoint
    if is_embedder and not checkpoint.has(name_in(checkpoint, MODULES)):
        above = checkpoint.path.parent
        is_nested = checkpoint.snapshot is None and os.path.isfile(above / MODULES)
        hint = pasteable("check", above, "--for", Consumer.SENTENCE_TRANSFORMERS.value) if is_nested else ""
        yield Observation(Location(file=MODULES), "absent, sentence-transformers would pool by mean", hint)


@rule("GTE641", Severity.ERROR, requires=("GTE640",), only_with=_SENTENCES)
def module_not_here(subject: Subject) -> Iterator[Observation]:
    """modules.json does not lead to a transformer and a pooling.

    It must list a Transformer, whose folder is this directory, and a pooling, whose folder holds a config.json;
    what a CrossEncoder saves has the Transformer alone. Of a dense layer config.json and weights must be there.
    What is not listed is not done; a folder that is listed and not here stops the program, or is looked for on the
    hub. Each needs a name, a path and a class of sentence-transformers, or of code that lies here; the first must take
    texts [sentence-transformers 6.2, base/model.py, _load_config_modules].
    """
    document, checkpoint = subject.sidecar(MODULES), subject.checkpoint
    if document is None or not isinstance(document.value, list):
        return
    entries = modules(document)
    yield from _unusable(document, document.value, subject)
    if entries and entries[0].is_own and entries[0].kind in _TAKE_VECTORS:
        yield Observation(document.location("/0/type"), f"{entries[0].kind}, must be what takes texts, a Transformer")
    for entry in entries:
        place = document.location(f"/{entry.number}/path")
        if entry.folder and is_unsafe(entry.folder):
            yield Observation(place, f"{shown(entry.folder)}, must be a folder of this directory")
        elif entry.kind.endswith("Transformer") and entry.folder != (checkpoint.path.name if checkpoint.around else ""):
            yield Observation(place, f"{shown(entry.folder)}, but the model judged here lies in another folder")
        for needed in _FILES.get(entry.kind, ()) if entry.is_own and not is_unsafe(entry.folder) else ():
            files = [f"{entry.folder}/{each}" for each in needed]
            if not any(checkpoint.has(name_in(checkpoint, file)) for file in files):
                yield Observation(place, f"{shown(entry.folder)}, but {files[0]} is absent")
    wanted = ("Transformer",) if kind_of_save(checkpoint) == "CrossEncoder" else ("Transformer", "Pooling")
    lacking = [kind for kind in wanted if not any(entry.kind.endswith(kind) for entry in entries)]
    if lacking:
        yield Observation(document.location(""), f"lists no {listed(lacking)}")


def _unusable(document: Document, listed_modules: list[object], subject: Subject) -> Iterator[Observation]:
    """The entries of a modules.json of which no module is made, whatever lies in their folders."""
    for number, entry in enumerate(listed_modules):
        members = entry if isinstance(entry, dict) else {}
        if absent := [key for key in ("name", "path", "type") if not isinstance(members.get(key), str)]:
            yield Observation(document.location(f"/{number}"), f"has no {listed(absent)}")
            continue
        origin = members["type"].rpartition(".")[0]
        is_here = subject.checkpoint.has(name_in(subject.checkpoint, f"{origin.replace('.', '/')}.py"))
        is_trusted = is_here or "--" in origin or subject.dialect is Dialect.REMOTE  # its code must be trusted anyway
        if not is_trusted and not f"{origin}.".startswith("sentence_transformers."):
            place = document.location(f"/{number}/type")
            yield Observation(
                place, f"{shown(members['type'])}, of neither sentence-transformers nor code that lies here"
            )


@rule("GTE642", Severity.WARNING, requires=("GTE001",), only_with=_SENTENCES)
def no_sequence_length(subject: Subject) -> Iterator[Observation]:
    """sentence-transformers is not told how long texts may be.

    Without max_seq_length in sentence_bert_config.json versions before 5.4 take what the tokenizer says, which may
    be far more than the model's positions, or far less. State it: 8192 for the releases, 512 for those of 2023.
    Newer versions write transformer_task there and take the smaller of the tokenizer's length and the model's
    positions [sentence-transformers 6.2, base/modules/transformer.py, Transformer].
    """
    settings = subject.settings(SENTENCE_CONFIG)
    is_stated = "transformer_task" in settings.members or settings.members.get("max_seq_length") is not None
    if is_stated or subject.head is Head.SEQUENCE_CLASSIFICATION:
        return
    if SENTENCE_CONFIG not in subject.sidecars:
        yield Observation(Location(file=SENTENCE_CONFIG), "absent, must state max_seq_length")
    elif settings.text:
        yield Observation(settings.location("/max_seq_length"), "absent, must be the most tokens of a text")


@rule("GTE643", Severity.ERROR, requires=("GTE001",), only_with=_SENTENCES)
def no_tokenizer(subject: Subject) -> Iterator[Observation]:
    """sentence-transformers finds no tokenizer.

    It tokenizes texts itself and does not load without tokenizer.json, vocab.txt or a sentencepiece model. Copy the
    tokenizer's files here [sentence-transformers 6.2, base/modules/transformer.py, Transformer].
    """
    if not any(subject.checkpoint.has(name) for name in VOCABULARIES):
        yield Observation(Location(file=TOKENIZER_JSON), f"absent, needed is one of {', '.join(VOCABULARIES)}")


@rule("GTE646", Severity.ERROR, requires=("GTE300", "GTE318", "GTE643"), only_with=_SENTENCES)
def no_pad_token(subject: Subject) -> Iterator[Observation]:
    """sentence-transformers has no token to pad with.

    It pads every batch, even of one text, and stops with a ValueError where the tokenizer has no pad token. What
    tokenizer.json calls its tokens tells nobody which one pads: tokenizer_config.json must, or the "padding" of
    tokenizer.json; a BERT's and an XLM-R's class know their own [sentence-transformers 6.2,
    base/modules/transformer.py, Transformer; transformers 5.24, tokenization_utils_base.py, pad].
    """
    yield from unpadded(subject)


def unpadded(subject: Subject) -> Iterator[Observation]:
    """A tokenizer whose pad token no file names, nor its class; of a class that is not known nothing is said."""
    found = subject.tokenizer
    if found.source and found.made_by.name and "pad" not in found.named:
        held = {*found.tokens.values(), *(found.whole.pieces.ids if found.whole else ())}
        word = next((word for word in ALIKE["pad"] if word in held), "")
        hint = f'write "pad_token": {shown(word)} into {TOKENIZER_CONFIG}' if word else ""
        yield Observation(
            Location(file=TOKENIZER_CONFIG, pointer="/pad_token"), "absent, nothing names a pad token", hint
        )


@rule("GTE644", Severity.ERROR, requires=("GTE300", "GTE641"), only_with=_SENTENCES)
def pooling_unstated(subject: Subject) -> Iterator[Observation]:
    """The pooling of sentence-transformers is told too little.

    1_Pooling/config.json must state embedding_dimension (before 5.4 word_embedding_dimension), or the program
    stops, as it does at a pooling_mode that it does not know; without a pooling mode it takes the mean, which is
    right for the GTE of 2023 alone. Set the first to hidden_size, and pooling_mode to "cls" (before 5.4
    pooling_mode_cls_token to true) [sentence-transformers 6.2, sentence_transformer/modules/pooling.py, Pooling].
    """
    settings = subject.settings(POOLING_CONFIG)
    if not isinstance(settings.value, dict):
        return
    hidden = subject.config.hidden_size if subject.config_error is None else "hidden_size"
    if width_key(settings.value) not in settings.value:
        yield Observation(settings.location("/word_embedding_dimension"), f"absent, must be {hidden}")
    is_stated = any(key.startswith("pooling_mode") for key in settings.value)
    if not is_stated and subject.family.facts.pooling != "mean":
        yield Observation(settings.location("/pooling_mode_cls_token"), "absent, must be true")
    named = settings.value.get("pooling_mode", [])
    for word in named if isinstance(named, list) else [named]:
        if word not in MODE_KEYS:
            known = f"sentence-transformers knows {listed(list(MODE_KEYS))}"
            yield Observation(settings.location("/pooling_mode"), f"{shown(word)}, {known}")


@rule("GTE645", Severity.ERROR, requires=("GTE300", "GTE641"), only_with=_SENTENCES)
def settings_not_taken(subject: Subject) -> Iterator[Observation]:
    """sentence-transformers cannot make a module of its settings.

    It hands the members of sentence_bert_config.json and of 1_Pooling/config.json to the module and stops with a
    TypeError at one that the module does not take; a max_seq_length that is no number, another transformer_task than
    the save's, and a default_prompt_name without its prompt stop it later; so does a SpladePooling whose
    activation_function is not one of its two. Take the member out, or correct it
    [sentence-transformers 6.2, base/modules/transformer.py, Transformer; base/model.py].
    """
    task = _TASKS.get(kind_of_save(subject.checkpoint), "feature-extraction")
    for name, taken in ((SENTENCE_CONFIG, _OF_TRANSFORMER), (POOLING_CONFIG, _OF_POOLING)):
        yield from _not_taken(subject.settings(name), taken, task)
    for entry in modules(subject.sidecar(MODULES)):
        name = name_in(subject.checkpoint, entry.config)
        splade = members_of(subject.checkpoint, name) if entry.kind == "SpladePooling" and entry.is_own else {}
        if (word := splade.get("activation_function", "relu")) not in ("relu", "log1p_relu"):
            place = Location(file=name, pointer="/activation_function")
            yield Observation(place, f'{shown(word)}, must be "relu" or "log1p_relu"')
    save = members_of(subject.checkpoint, SAVE_CONFIG)
    prompt, prompts = save.get("default_prompt_name"), save.get("prompts")
    if prompt is not None and prompt not in (*_PROMPTS, *(prompts if isinstance(prompts, dict) else ())):
        place = Location(file=name_in(subject.checkpoint, SAVE_CONFIG))
        yield Observation(place, f"/default_prompt_name: {shown(prompt)}, there is no prompt of this name")


def _not_taken(settings: Document, taken: set[str], task: str) -> Iterator[Observation]:
    for key, value in settings.members.items():
        place = settings.location(f"/{key}")
        if key not in taken:
            yield Observation(place, f"{shown(value)}, which the module does not take")
        elif key == "max_seq_length" and value is not None and type(value) is not int:
            yield Observation(place, f"{shown(value)}, must be an integer")
        elif key == "transformer_task" and value != task:
            yield Observation(place, f"{shown(value)}, must be {shown(task)}")
