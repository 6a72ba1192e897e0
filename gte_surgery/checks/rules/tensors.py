"""GTE201 to GTE209 and GTE220 to GTE229: the stored tensors against those that the config asks for.

Judged from headers alone; no tensor's bytes are read here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.subject import Subject
from gte_surgery.errors import CheckpointError
from gte_surgery.findings import Location, Severity
from gte_surgery.gte.tensors import FLOATS, TensorSpec
from gte_surgery.gte.wording import SHOWN, counted, listed, shape
from gte_surgery.gte.wrappers import UNMERGED, is_unmerged

READABLE = ("GTE0", "GTE101", "GTE102", "GTE105", "GTE114", "GTE200", "GTE214")
"""What must hold before tensors can be compared with the config."""
NAMED = (*READABLE, "GTE210", "GTE211", "GTE213")
"""What must hold before the names of tensors can be told from others."""
SHAPED = ("GTE204", "GTE205", "GTE209")
"""Rules that find no error where every tensor has the shape that the config asks for."""
COMPLETE = (*READABLE, "GTE115", "GTE201", "GTE220", "GTE221")

_LAYER = re.compile(r"\.([0-9]+)\.")
_BUFFERS = ("position_ids", "token_type_ids", "inv_freq", "original_inv_freq", "cos_cached", "sin_cached")


@rule("GTE201", Severity.ERROR, requires=READABLE, most=SHOWN)
def missing(subject: Subject) -> Iterator[Observation]:
    """A tensor that the config asks for is missing.

    Loaders fill it with random numbers and print a warning that is easy to miss; training then starts from a damaged
    network. Restore the file it was in, or correct the config (num_hidden_layers, above all). A native model that was
    loaded from packed names has tensors that share memory, and accelerate saves one of those that do [accelerate 1.15,
    utils/other.py, clean_state_dict_for_safetensors]: save it by save_pretrained.
    """
    tensors = subject.checkpoint.tensors
    types = subject.names.types
    absent = [spec for spec in subject.wanted if spec.canonical != types and spec.name not in tensors]
    strangers = [f"`{name}`" for name in _unasked(subject) if not is_buffer(name)]
    hint = UNMERGED if is_unmerged(tensors) else f"stored, but not asked for: {listed(strangers)}" if strangers else ""
    if not strangers and absent and all(_has_siblings(spec, subject) for spec in absent):
        hint = "left out because it shared memory with another tensor, as accelerate does: save it by save_pretrained"
    hint = (_hint_for_all(subject) if absent else "") or hint
    for spec in absent:
        yield Observation(Location(tensor=spec.name), f"missing, config needs {shape(spec.shape)}", hint)


def _has_siblings(spec: TensorSpec, subject: Subject) -> bool:
    """Whether another part of the same packed tensor is stored: q where k is missing."""
    naming = subject.family.naming
    whole, _ = naming.place_in_packed(spec.canonical)
    return any(subject.stored(part) is not None for part in naming.parts_of(whole))


@rule("GTE202", Severity.ERROR, requires=(*COMPLETE, "GTE240"), most=SHOWN)
def denied(subject: Subject) -> Iterator[Observation]:
    """A part of the network is stored that the config denies.

    A layer beyond num_hidden_layers, a position table in a rotary model, biases of a norm that has none: the loader
    skips them, and what runs is a smaller or another network than the one that was trained. Correct the config, or
    remove the tensors if you mean it.
    """
    unasked = [name for name in _unasked(subject) if _is_gte(subject, name)]
    hint = _sizes_hint(subject) if unasked else ""
    for name in unasked:
        found = shape(subject.checkpoint.tensors[name].shape)
        yield Observation(subject.at_tensor(name), f"{found}, but the config asks for no such tensor", hint)


@rule("GTE203", Severity.WARNING, requires=COMPLETE, most=SHOWN)
def unknown(subject: Subject) -> Iterator[Observation]:
    """A tensor is stored that no GTE has.

    It may be an addition of your own, then it is carried along untouched by every surgery; loaders skip it with a
    warning. If it is none of yours, the file may be a mixture of two models.
    """
    for name in _unasked(subject):
        if not _is_gte(subject, name) and not is_buffer(name):
            tensor = subject.checkpoint.tensors[name]
            yield Observation(subject.at_tensor(name), f"{tensor.dtype} {shape(tensor.shape)}, a name that no GTE has")


@rule("GTE204", Severity.ERROR, requires=READABLE, most=SHOWN)
def misshapen(subject: Subject) -> Iterator[Observation]:
    """A tensor has another shape than the config asks for.

    transformers stops with a RuntimeError, or with `ignore_mismatched_sizes` puts random numbers in its place. Config
    and weights come from different saves, or the one was edited without the other; a vocabulary is changed in both by
    `gte-surgery resize`.
    """
    hint = None
    for spec, stored in subject.pairs:
        if spec.canonical != subject.names.types and _is_misshapen(spec, stored):
            hint = _hint_for_all(subject) if hint is None else hint
            message = f"shape {shape(stored.shape)}, config needs {shape(spec.shape)}"
            yield Observation(subject.at_tensor(spec.name), message, hint or _rows_hint(subject, spec, stored.shape))


@rule("GTE205", Severity.ERROR, requires=READABLE)
def emptied(subject: Subject) -> Iterator[Observation]:
    """Tensors are empty where the config asks for numbers.

    DeepSpeed's ZeRO-3 leaves a placeholder of shape [0] for each parameter that it has parted, and a save that was not
    told to gather them writes the placeholders. The real ones lie in global_step*/ beside it: `python zero_to_fp32.py`,
    which DeepSpeed leaves there, puts them together. Save with stage3_gather_16bit_weights_on_model_save.
    """
    empty = [spec for spec, stored in subject.pairs if _is_emptied(spec, stored)]
    if empty:
        message = f"shape [0], config needs {shape(empty[0].shape)}"
        rest = f" ({counted(len(empty), 'tensor')} in all: placeholders, as of ZeRO-3)"
        hint = "python zero_to_fp32.py . model --safe_serialization, in the folder that DeepSpeed wrote"
        yield Observation(subject.at_tensor(empty[0].name), message + rest, hint)


@rule("GTE209", Severity.ERROR, requires=READABLE, most=SHOWN)
def flattened(subject: Subject) -> Iterator[Observation]:
    """A tensor has its numbers in one dimension.

    FullyShardedDataParallel keeps parameters flat, and a save of its own state has them so: the numbers are all there
    and in their order, the shape is lost. transformers stops. `gte-surgery check CKPT --fix` gives them their shapes.
    """
    for spec, stored in subject.pairs:
        if is_flattened(spec, stored):
            message = f"shape {shape(stored.shape)}, the numbers of {shape(spec.shape)} in one dimension"
            yield Observation(subject.at_tensor(spec.name), message, "gte-surgery check CKPT --fix")


@rule("GTE206", Severity.WARNING, requires=COMPLETE)
def mixed_dtypes(subject: Subject) -> Iterator[Observation]:
    """The tensors have different floating-point dtypes.

    Loaders cast all to one dtype, and which one depends on the loader: float32 tensors may lose digits without a word.
    It also hints that two saves were mixed. `gte-surgery convert CKPT --dtype F32` (or F16, BF16) makes them one.
    """
    dtypes = {tensor.name: tensor.dtype for tensor in subject.model_tensors if tensor.dtype in FLOATS}
    ranked = Counter(dtypes.values()).most_common()
    if len(ranked) < 2:
        return
    common = ranked[0][0]
    odd = sorted(name for name, dtype in dtypes.items() if dtype != common)
    sums = ", ".join(f"{counted(count, 'tensor')} {dtype}" for dtype, count in ranked)
    yield Observation(subject.at_tensor(odd[0]), f"{dtypes[odd[0]]} among {common}; in all {sums}")


@rule("GTE207", Severity.ERROR, requires=COMPLETE, most=SHOWN)
def not_floating_point(subject: Subject) -> Iterator[Observation]:
    """A tensor of the network is not F64, F32, F16 or BF16.

    The model computes in floating point. Integers and 8-bit floats are quantised weights, whose scales this family of
    configs has no place for: cast to float they are nonsense. Start from the unquantised checkpoint.
    """
    for tensor in subject.model_tensors:
        if tensor.dtype not in FLOATS:
            message = f"{tensor.dtype}, must be one of {', '.join(FLOATS)}"
            yield Observation(subject.at_tensor(tensor.name), message, _quantised(subject))


def _quantised(subject: Subject) -> str:
    """What to do about weights that a quantiser wrote, by config.json's word; "" where they are not its."""
    found = subject.values.get("quantization_config")
    if not isinstance(found, dict) or all(tensor.dtype in FLOATS for tensor in subject.checkpoint.tensors.values()):
        return ""
    name = found.get("quant_method")
    by = f" by {shown(name)}" if isinstance(name, str) else ""
    return f"quantised{by}, says /quantization_config: take the checkpoint that it was made from"


@rule("GTE208", Severity.NOTE, requires=(*COMPLETE, "GTE207"))
def dtype_not_as_stated(subject: Subject) -> Iterator[Observation]:
    """The config states another dtype than the weights have.

    transformers 5 loads in the config's dtype unless told otherwise: float32 weights under `"dtype": "float16"` are cut
    to half precision before training starts. State the stored dtype, or pass the dtype when loading.
    """
    stated = subject.config.dtype
    held = Counter(tensor.dtype for tensor in subject.model_tensors).most_common(1)
    if stated is not None and held and FLOATS.get(held[0][0]) != stated.removeprefix("torch."):
        key = "dtype" if "dtype" in subject.values else "torch_dtype"
        yield Observation(subject.at(key), f"{stated}, the weights are {FLOATS.get(held[0][0])}")


@rule("GTE220", Severity.ERROR, requires=READABLE)
def type_table_missing(subject: Subject) -> Iterator[Observation]:
    """The config has token types, but there is no table for them.

    transformers makes up a random row and adds it to every token, without an error. Set type_vocab_size to 0 if the
    model was trained without, otherwise restore the table.
    """
    rows = subject.config.type_vocab_size
    if rows > 0 and subject.stored(subject.names.types) is None:
        yield Observation(subject.at("type_vocab_size"), f"{rows}, but `{subject.names.types}` is not stored")


@rule("GTE221", Severity.ERROR, requires=READABLE)
def type_table_denied(subject: Subject) -> Iterator[Observation]:
    """A table of token types is stored, but the config has none.

    The loader ignores it silently, and every token lacks the row that it was trained with. Set type_vocab_size to the
    table's number of rows. To do without the table, let `gte-surgery resize CKPT --vocab N --pad ID --type-vocab 0`
    fold its row into the words afterwards: then outputs stay what they were.
    """
    table = subject.stored(subject.names.types)
    if subject.config.type_vocab_size == 0 and table is not None:
        message = f"0, but `{table.name}` has {counted(table.shape[0], 'row') if table.shape else 'no rows'}"
        yield Observation(subject.at("type_vocab_size"), message)


@rule("GTE222", Severity.ERROR, requires=(*READABLE, "GTE220", "GTE221", *SHAPED))
def type_table_misshapen(subject: Subject) -> Iterator[Observation]:
    """The table of token types has another shape than the config asks for.

    transformers stops with a RuntimeError. Set type_vocab_size to the table's number of rows, or change both with
    `gte-surgery resize CKPT --vocab N --pad ID --type-vocab T`.
    """
    for spec, table in subject.pairs:
        if spec.canonical == subject.names.types and _is_misshapen(spec, table):
            message = f"shape {shape(table.shape)}, config needs {shape(spec.shape)}"
            yield Observation(subject.at_tensor(spec.name), message, _sizes_hint(subject))


def _is_emptied(spec: TensorSpec, stored: StoredTensor) -> bool:
    return stored.shape == (0,) and spec.size > 0


def is_flattened(spec: TensorSpec, stored: StoredTensor) -> bool:
    """Whether a tensor of several dimensions is stored in one, with as many numbers."""
    return len(spec.shape) > 1 and stored.shape == (spec.size,)


def _is_misshapen(spec: TensorSpec, stored: StoredTensor) -> bool:
    return stored.shape != spec.shape and not _is_emptied(spec, stored) and not is_flattened(spec, stored)


def _hint_for_all(subject: Subject) -> str:
    """What tells of all tensors at once: that they are quantised, or the sizes that they have."""
    return _quantised(subject) or _sizes_hint(subject)


def _sizes_hint(subject: Subject) -> str:
    """The sizes with which config.json would fit every stored tensor, where there are such."""
    words, config, types = subject.stored(subject.names.words), subject.config, subject.stored(subject.names.types)
    layers = {match[1] for name in subject.canonical if (match := _LAYER.search(name))}
    if words is None or len(words.shape) != 2:
        return ""
    found = dict(zip(("vocab_size", "hidden_size"), words.shape, strict=True)) | {"num_hidden_layers": len(layers)}
    if config.type_vocab_size > 0 and types is not None and types.shape:
        found["type_vocab_size"] = types.shape[0]
    widths = Counter(size for tensor in subject.model_tensors for size in tensor.shape)
    for width in (config.intermediate_size, *(size for size, _ in widths.most_common(8))):
        sizes = {**found, "intermediate_size": width}
        if _fits(subject, {**subject.values, **sizes}):
            wrong = sorted(key for key, size in sizes.items() if subject.values.get(key) != size)
            told = ", ".join(f'"{key}": {sizes[key]}' for key in wrong)
            return f"all tensors fit one config: set {told}, or take the weights it was set for"
    return ""


def _fits(subject: Subject, values: Mapping[str, object]) -> bool:
    """Whether a config of these members asks for just the tensors that are stored, in their shapes."""
    try:
        config = subject.family.read_config(values)
    except CheckpointError:
        return False
    if subject.layout is None:
        return False
    stored = {name: tensor.shape for name, tensor in subject.checkpoint.tensors.items()}
    wanted = subject.family.inventory(config, subject.layout, subject.head)
    allowed = subject.family.optional(config, subject.layout, subject.head)
    asked = {spec.name for spec in (*wanted, *allowed)}
    return all(stored.get(spec.name) == spec.shape for spec in wanted) and not any(
        name not in asked and _is_gte(subject, name) for name in stored
    )


def _rows_hint(subject: Subject, spec: TensorSpec, found: tuple[int, ...]) -> str:
    """For a tensor that has another number of rows than the word table, which has those of the config: a head's was
    left behind, and a resize to just those rows lets it follow. Where others do not fit the config either, its
    `vocab_size` is what is wrong.
    """
    words, config = subject.stored(subject.names.words), subject.config
    is_sized = subject.family.is_sized_by_vocabulary(spec.canonical)
    if not is_sized or len(found) != len(spec.shape) or found[1:] != spec.shape[1:]:
        return ""
    if words is None or not words.shape or words.shape[0] == config.vocab_size:
        return subject.resized(spec.shape[0])
    rows = words.shape[0]
    return f'the weights have {counted(rows, "row")}: set "vocab_size": {rows}, or take the weights it was set for'


def _unasked(subject: Subject) -> list[str]:
    asked = {spec.name for spec in subject.allowed}
    types = subject.canonical.get(subject.names.types)
    return [name for name in subject.checkpoint.tensors if name not in asked and name != types]


def _is_gte(subject: Subject, name: str) -> bool:
    canonical = subject.family.naming.canonical(name, subject.layout) if subject.layout else None
    return canonical is not None and subject.family.is_known(canonical)


def is_buffer(name: str) -> bool:
    """Whether a stored name is that of a buffer that models compute themselves."""
    return name.rpartition(".")[2] in _BUFFERS
