"""GTE300, GTE310 to 312, 314, 315, 317, 319: what lies beside the weights, against the config and the table:
pooling and the layers behind it, sequence length, adapters.

A file that is absent is nobody's fault here; what a program cannot do without is for the rules of that program.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checkpoint.adapters import adapters_of, word_rows
from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.shards import read_shards
from gte_surgery.checkpoint.sidecars import (
    MODE_KEYS,
    MODULES,
    POOLING_CONFIG,
    SENTENCE_CONFIG,
    WIDTH_KEYS,
    Module,
    modules,
    name_in,
    pooling,
    read_sidecar,
)
from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.rules.config import SOUND
from gte_surgery.checks.subject import Subject
from gte_surgery.errors import CheckpointError, JsonError
from gte_surgery.findings import Location, Severity

_CLS = "cls_token"
_OLD_ACTIVATION = "sbert_ce_default_activation_function"
_WORDS = (
    "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish PReLU RReLU ReLU "
    "ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink Softsign Tanh Tanhshrink"
)
_ACTIVATIONS = {
    **dict.fromkeys(("torch.nn", "torch.nn.modules"), f"{_WORDS} Identity".split()),
    "torch.nn.modules.activation": _WORDS.split(),
    "torch.nn.modules.linear": ["Identity"],
}
"""Those that are made without arguments [torch 2.13, nn/modules/activation.py]."""


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
    say so, then ignore this rule. Otherwise set `pooling_mode` to "cls" or "mean", or in older files switch on
    `pooling_mode_cls_token` or `pooling_mode_mean_tokens`, and the other modes off. Where a file has both spellings
    they must agree: sentence-transformers goes by the word, servers by the booleans.
    """
    settings, found = subject.settings(POOLING_CONFIG), pooling(subject.checkpoint)
    by = subject.family.facts.pooling
    wanted = {"cls": (_CLS, "cls"), "mean": ("mean_tokens", "mean")}[by]
    is_known = subject.dialect is not None  # else it is not told which releases are meant
    if is_known and found is not None and found.mode not in wanted:
        told = f"pools by {found.mode or 'no mode at all'}, the releases by {wanted[0]}"
        yield Observation(settings.location(""), told)
    mode = settings.members.get("pooling_mode")
    key = MODE_KEYS.get(str(mode), "")
    if (stated := settings.members.get(key, True)) is not True:
        yield Observation(settings.location(f"/{key}"), f'{shown(stated)}, beside "pooling_mode": "{mode}"')


@rule("GTE311", Severity.ERROR, requires=SOUND)
def pooling_width_differs(subject: Subject) -> Iterator[Observation]:
    """The pooling expects vectors of another width than the model makes.

    sentence-transformers reports the wrong embedding size, and an index or a dense layer made for it does not fit. The
    file comes from another model. Set `embedding_dimension`, or in older files `word_embedding_dimension`, to
    hidden_size.
    """
    settings, hidden = subject.settings(POOLING_CONFIG), subject.config.hidden_size
    for key in WIDTH_KEYS:
        width = settings.members.get(key)
        if type(width) is int and width != hidden:
            yield Observation(settings.location(f"/{key}"), f"{width}, hidden_size is {hidden}")


@rule("GTE312", Severity.WARNING, requires=SOUND)
def sequence_beyond_positions(subject: Subject) -> Iterator[Observation]:
    """max_seq_length exceeds max_position_embeddings.

    Texts between the two are not cut, and the model meets positions that it was never trained on; with absolute
    positions it stops with an IndexError. Lower max_seq_length.
    """
    settings, positions = subject.settings(SENTENCE_CONFIG), subject.config.max_position_embeddings
    length = settings.members.get("max_seq_length")
    if type(length) is int and length > positions:
        place = settings.location("/max_seq_length")
        yield Observation(place, f"{length}, must be at most max_position_embeddings {positions}")


@rule("GTE314", Severity.ERROR, requires=(*SOUND, "GTE300"))
def layer_does_not_fit(subject: Subject) -> Iterator[Observation]:
    """A dense layer of the sentence-transformers save does not fit.

    `in_features` of such a folder (2_Dense) must be the width that comes to it, which is hidden_size behind a pooling
    of one mode, and its weights must have the shapes that its config.json says: otherwise sentence-transformers stops
    when it loads the layer, or at the first text [sentence-transformers 6.2, base/modules/dense.py]. The folder comes
    from another model.
    """
    widths = {"token_embeddings": subject.config.hidden_size}
    for module in modules(subject.sidecar(MODULES)):
        if module.kind == "Pooling":
            pooled = pooling(subject.checkpoint)
            widths["sentence_embedding"] = widths["token_embeddings"] * len(pooled.modes if pooled else "1") or 0
        elif module.kind == "Dense" and module.is_own:
            yield from _dense(subject, module, widths)


@rule("GTE319", Severity.ERROR, requires=("GTE001", "GTE300"))
def activation_unknown(subject: Subject) -> Iterator[Observation]:
    """The activation that a sentence-transformers save names is none of torch's.

    It is a dotted path that the program imports and calls: of a dense layer `activation_function` in its config.json,
    of a CrossEncoder `activation_fn` in the model's. One that begins with "torch." and is none stops it; any other it
    passes over with a line in the log, and computes with Tanh, or without, which ruins every vector; with
    trust_remote_code, and before 4.0 always, it imports and runs whatever is named there. Write
    "torch.nn.modules.linear.Identity" or the activation that the layer was trained with [sentence-transformers 6.2,
    base/modules/dense.py, Dense.load; cross_encoder/model.py, CrossEncoder; util/misc.py, import_from_string].
    """
    for module in modules(subject.sidecar(MODULES)):
        name = name_in(subject.checkpoint, module.config)
        settings = _settings(subject, name) if module.kind == "Dense" and module.is_own else None
        if settings is not None and "activation_function" in settings.members:
            yield from _activation(settings.location("/activation_function"), settings.members["activation_function"])
    stated = subject.values.get("sentence_transformers")
    if isinstance(stated, dict) and stated.get("activation_fn") is not None:
        yield from _activation(subject.at("sentence_transformers/activation_fn"), stated["activation_fn"])
    elif subject.values.get(_OLD_ACTIVATION) is not None:
        yield from _activation(subject.at(_OLD_ACTIVATION), subject.values[_OLD_ACTIVATION])


def _activation(place: Location, value: object) -> Iterator[Observation]:
    origin, _, name = value.rpartition(".") if isinstance(value, str) else ("", "", "")
    if name not in _ACTIVATIONS.get(origin, ()):
        is_stopped = not isinstance(value, str) or value.startswith("torch.")
        does = "sentence-transformers stops" if is_stopped else "sentence-transformers takes another, or runs it"
        yield Observation(place, f"{shown(value)}, no activation of torch's: {does}")


def _settings(subject: Subject, name: str) -> Document | None:
    try:
        return read_sidecar(subject.checkpoint, name)
    except CheckpointError:
        return None  # GTE314


def _dense(subject: Subject, module: Module, widths: dict[str, int]) -> Iterator[Observation]:
    """What is wrong with a dense layer; `widths` by the names of what the modules hand on, brought up to date."""
    name = name_in(subject.checkpoint, module.config)
    try:
        settings = read_sidecar(subject.checkpoint, name)
    except CheckpointError as error:
        yield Observation(Location(file=name), error.message.removeprefix(f"{name}: "), error.hint)
        return
    if settings is None:
        return  # GTE641
    members = settings.members
    wide, narrow = members.get("in_features"), members.get("out_features")
    if type(wide) is not int or type(narrow) is not int:
        key = "out_features" if type(wide) is int else "in_features"
        yield Observation(settings.location(f"/{key}"), f"{shown(members.get(key))}, must be an integer")
        return
    taken = str(members.get("module_input_name") or "sentence_embedding")
    if widths.get(taken, wide) != wide:
        yield Observation(settings.location("/in_features"), f"{wide}, vectors of {widths[taken]} come to it")
    widths[str(members.get("module_output_name") or taken)] = narrow
    wanted: dict[str, tuple[int, ...]] = {"linear.weight": (narrow, wide)}
    if members.get("bias", True):
        wanted["linear.bias"] = (narrow,)
    if members.get("use_residual") and wide != narrow:
        wanted["residual.weight"] = (narrow, wide)
    yield from _weights(subject, name.replace("config.json", "model.safetensors"), wanted)


def _weights(subject: Subject, name: str, wanted: dict[str, tuple[int, ...]]) -> Iterator[Observation]:
    """How the tensors of a small safetensors file differ in name or shape from those `wanted`; of no file, nothing."""
    file = subject.checkpoint.readable(name)
    (shard, *_), faults = read_shards([file]) if file is not None else ((None,), [])
    for fault in faults:
        yield Observation(Location(file=name), fault.message, fault.hint)
    if shard is None or shard.header is None:
        return
    found = {entry.name: entry.shape for entry in shard.entries}
    for tensor in sorted(found.keys() | wanted.keys()):
        if found.get(tensor) != wanted.get(tensor):
            stored = f"shape {list(found[tensor])}" if tensor in found else "absent"
            asked = (
                f"config.json beside it asks for {list(wanted[tensor])}" if tensor in wanted else "asked for by nothing"
            )
            yield Observation(Location(file=name, tensor=tensor), f"{stored}, {asked}")


@rule("GTE315", Severity.NOTE)
def model_in_a_folder(subject: Subject) -> Iterator[Observation]:
    """The model lies in a folder of a sentence-transformers save.

    Until 2021 saves kept it in 0_Transformer. sentence-transformers still follows modules.json there; transformers and
    servers look for config.json and the weights in the directory that they are given. Give those, and every command
    here that writes, the folder.
    """
    if subject.checkpoint.around:
        folder = shown(subject.checkpoint.path.name)
        yield Observation(Location(), f"the model lies in {folder}, where sentence-transformers alone looks for it")


@rule("GTE317", Severity.WARNING, requires=SOUND)
def adapter_of_another_vocabulary(subject: Subject) -> Iterator[Observation]:
    """An adapter beside the weights does not fit the vocabulary.

    It lies in the checkpoint's folder or below it, and holds a table, a column for each id, or rows of some ids: of a
    table with another number of rows. peft 0.21 stops at it with a size mismatch, or an IndexError. It was trained
    before the table was resized, or on another base; `gte-surgery inspect` of its folder tells which. Surgeries make
    the adapters follow that fit.
    """
    rows = word_rows(subject.checkpoint.tensors)
    for adapter in adapters_of(subject.checkpoint) if rows is not None else ():
        if misfit := adapter.misfit(rows or 0):
            yield Observation(Location(file=adapter.shard.file.name), misfit)
