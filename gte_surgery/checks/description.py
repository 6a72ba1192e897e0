"""What a checkpoint is, for `inspect`: plain frozen values, ready to be rendered or written as JSON.

Nothing is judged here. What a broken checkpoint does not let us know is None or empty; `faults` counts what `check`
would report of the container.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from gte_surgery.checkpoint.adapters import AdapterFacts, adapters_of, word_rows
from gte_surgery.checkpoint.directory import Checkpoint, StoredTensor, open_found
from gte_surgery.checkpoint.headers.header import DTYPE_BITS
from gte_surgery.checkpoint.listing import kept_for_undo
from gte_surgery.checkpoint.shards import is_zero, norm, read_rows
from gte_surgery.checkpoint.sidecars import max_seq_length, pooling
from gte_surgery.checks.subject import Subject
from gte_surgery.gte.alternating import SLIDING
from gte_surgery.gte.family import Release
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.rope import describe as rope_in_words
from gte_surgery.gte.rope import inv_freq
from gte_surgery.vocabulary.token_files import ROLES

PART_NAMES = ("embeddings", "layers", "head", "other")
_COMPARED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "pad_token_id",
    "type_vocab_size",
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers that a config builds the network from."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_size: int
    max_position_embeddings: int
    type_vocab_size: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the network: embeddings, layers, head, or other (tensors that no GTE has)."""

    name: str
    tensors: int
    parameters: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`rows` of the word table, the ids that the `tokenizer` can make (None: unknown), and the `spare` rows left."""

    rows: int
    tokenizer: int | None
    spare: int | None


@dataclass(frozen=True, slots=True)
class Pad:
    """The pad id, the tokenizer's token for it, and its row: Euclidean norm, and whether it is all zero."""

    id: int
    token: str | None
    norm: float | None
    is_zero: bool | None


@dataclass(frozen=True, slots=True)
class RopeFacts:
    """The effective rope in words, and the wavelengths of its fastest and slowest pair, in tokens."""

    words: str
    kind: str
    theta: float
    factor: float
    shortest_wavelength: float | None
    longest_wavelength: float | None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that the parameters need: weights alone in fp32 and fp16, and training with AdamW in fp32.

    AdamW: weights, gradients and two moments, 16 bytes a parameter. Activations come on top and depend on the batch.
    """

    inference_fp32: int
    inference_fp16: int
    training_fp32: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for undo: files, and their bytes."""

    files: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file of the checkpoint: relative name and size in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A stored tensor: name, dtype, shape, bytes, and the file that holds it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    file: str


@dataclass(frozen=True, slots=True)
class Description:
    """Everything that `inspect` shows.

    `differences` are the config values in which it departs from the `release` it resembles, each (key, value here,
    value there). `dtypes` counts the tensors of each dtype. `special_ids` maps roles ("pad", "cls", …) to the
    tokenizer's ids, `stated_ids` to those in config.json.
    """

    checkpoint: str
    release: str | None
    differences: tuple[tuple[str, int | None, int], ...]
    dialect: str | None
    layout: str | None
    prefix: str | None
    head: str | None
    architectures: tuple[str, ...]
    sizes: Sizes | None
    parts: tuple[Part, ...]
    parameters: int
    nbytes: int
    dtypes: tuple[tuple[str, int], ...]
    vocabulary: Vocabulary | None
    pad: Pad | None
    type_rows: int | None
    rope: RopeFacts | None
    files: tuple[FileFacts, ...]
    shards: int
    tokenizer_files: tuple[str, ...]
    special_ids: tuple[tuple[str, int], ...]
    pooling: str | None
    max_seq_length: int | None
    memory: Memory
    kept: Kept
    tensors: tuple[TensorFacts, ...]
    faults: int
    adapters: tuple[AdapterFacts, ...] = ()
    stated_ids: tuple[tuple[str, int], ...] = ()


def describe(checkpoint: Checkpoint | Path | str) -> Description:
    """Describe a checkpoint, opened or where it lies, sound or not; reads one row of one tensor and the small sidecar
    files. Raises CheckpointError where there is nothing to open."""
    checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else open_found(checkpoint)
    subject = Subject(checkpoint)
    tokenizer, config, stored = subject.tokenizer, subject.config_or_none, tuple(checkpoint.tensors.values())
    release = subject.family.resembling(config, subject.head) if config else None
    pooled, types = pooling(checkpoint), subject.stored(subject.names.types)
    parameters = sum(math.prod(tensor.shape) for tensor in stored)
    return Description(
        checkpoint=checkpoint.name,
        release=release.name if release else None,
        differences=tuple(_differences(config, release)) if config and release else (),
        dialect=subject.dialect.value if subject.dialect else None,
        layout=subject.layout.letter if subject.layout else None,
        prefix=subject.layout.prefix if subject.layout else None,
        head=subject.head.value if subject.layout else None,
        architectures=config.architectures if config else (),
        sizes=Sizes(**{each.name: getattr(config, each.name) for each in fields(Sizes)}) if config else None,
        parts=tuple(_parts(subject)),
        parameters=parameters,
        nbytes=sum(tensor.nbytes for tensor in stored),
        dtypes=tuple(sorted(Counter(tensor.dtype for tensor in stored).items())),
        vocabulary=_vocabulary(subject),
        pad=_pad(subject),
        type_rows=types.shape[0] if types is not None and types.shape else None,
        rope=_rope(config) if config else None,
        files=tuple(FileFacts(file.name, file.size) for file in checkpoint.files),
        shards=len(checkpoint.shards),
        tokenizer_files=tokenizer.files,
        special_ids=tuple(tokenizer.ids.items()),
        pooling=pooled.mode if pooled else None,
        max_seq_length=max_seq_length(checkpoint),
        memory=Memory(4 * parameters, 2 * parameters, 16 * parameters),
        kept=Kept(*(kept_for_undo(checkpoint.path) if checkpoint.snapshot is None else (0, 0))),
        tensors=tuple(TensorFacts(t.name, t.dtype, t.shape, t.nbytes, t.shard.file.name) for t in stored),
        faults=len(checkpoint.faults),
        stated_ids=tuple(_stated(subject)),
        adapters=tuple(adapter.facts(word_rows(checkpoint.tensors)) for adapter in adapters_of(checkpoint)),
    )


def _stated(subject: Subject) -> Iterator[tuple[str, int]]:
    stated = ((role, subject.values.get(f"{role}_token_id")) for role in ROLES)
    yield from ((role, number) for role, number in stated if type(number) is int)


def _differences(config: GteConfig, release: Release) -> Iterator[tuple[str, int | None, int]]:
    for key in _COMPARED:
        here, there = getattr(config, key), getattr(release, key)
        if here != there:
            yield key, here, there


def _parts(subject: Subject) -> Iterator[Part]:
    region = subject.family.region
    part_of = {stored: region(canonical, subject.head) for canonical, stored in subject.canonical.items()}
    for name in PART_NAMES:
        members = [t for t in subject.checkpoint.tensors.values() if part_of.get(t.name, "other") == name]
        if members:
            parameters = sum(math.prod(tensor.shape) for tensor in members)
            yield Part(name, len(members), parameters, sum(tensor.nbytes for tensor in members))


def _vocabulary(subject: Subject) -> Vocabulary | None:
    words = subject.stored(subject.names.words)
    if words is None or not words.shape:
        return None
    known = subject.tokenizer.vocab_size
    return Vocabulary(words.shape[0], known, None if known is None else words.shape[0] - known)


def _pad(subject: Subject) -> Pad | None:
    config = subject.config_or_none
    if config is None or config.pad_token_id is None:
        return None
    pad = config.pad_token_id
    words = subject.stored(subject.names.words)
    row = _row(words, pad) if words is not None else None
    token = subject.tokenizer.tokens.get(pad)
    if row is None or words is None:
        return Pad(pad, token, None, None)
    return Pad(pad, token, norm(row, words.dtype), is_zero(row, words.dtype))


def _row(table: StoredTensor, row: int) -> bytes | None:
    if len(table.shape) != 2 or not 0 <= row < table.shape[0] or DTYPE_BITS[table.dtype] < 8:
        return None
    try:
        return read_rows(table, row)
    except (OSError, EOFError):
        return None


def _rope(config: GteConfig) -> RopeFacts:
    rope, words = config.rope, rope_in_words(config.rope)
    if config.local_rope is not None:
        sliding = sum(kind == SLIDING for kind in config.layer_types)
        words += f", in {sliding} layers with a window of {config.window} {rope_in_words(config.local_rope)}"
    has_frequencies = rope.has_frequencies and config.head_size >= 2
    frequencies = inv_freq(rope, config.head_size) if has_frequencies else [0.0]
    if not min(frequencies) > 0:
        return RopeFacts(words, rope.kind, rope.theta, rope.factor, None, None)
    wavelengths = (2 * math.pi / max(frequencies), 2 * math.pi / min(frequencies))
    return RopeFacts(words, rope.kind, rope.theta, rope.factor, *wavelengths)
