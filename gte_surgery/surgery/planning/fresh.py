"""Plans a `New`: a from-scratch checkpoint with the structure of a release, filled by the model's own rules.

Linear and embedding weights are N(0, initializer_range), biases 0, norms 1 and 0, the pad row 0
[transformers, PreTrainedModel._init_weights; reference implementation, NewPreTrainedModel._init_weights].
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from gte_surgery.checkpoint.directory import CONFIG_NAME
from gte_surgery.errors import UsageError
from gte_surgery.gte.families import find_release, read_config
from gte_surgery.gte.family import Family, Release
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Dialect, Head, Layout
from gte_surgery.gte.schemas import violations
from gte_surgery.gte.tensors import FLOATS, Init, TensorSpec
from gte_surgery.surgery.edits import New, as_record
from gte_surgery.surgery.pieces.piece import Fill, Normal, Piece, element_bytes
from gte_surgery.surgery.planning.parts.sharding import weight_files
from gte_surgery.surgery.planning.plan import PlainFile, Plan, PlannedTensor

MODE = 0o644
METADATA = (("format", "pt"),)
"""What transformers wants to find in a header."""
_ONE = {"F64": b"\x00\x00\x00\x00\x00\x00\xf0\x3f", "F32": b"\x00\x00\x80\x3f", "F16": b"\x00\x3c", "BF16": b"\x80\x3f"}


def plan_new(edit: New) -> Plan:
    """The plan of a checkpoint made from nothing; raises UsageError for sizes that no GTE can have."""
    family, release = find_release(edit.release)
    head = release.head if edit.head is None else Head(edit.head)
    dtype = edit.dtype or release.dtype
    members = _config(family, release, head, dtype, edit)
    config = read_config(members)
    specs = family.published(config, _layout(family, release, config.dialect, head), head)
    tensors = tuple(fresh_tensor(family, spec, config, dtype, edit.seed) for spec in specs)
    text = PlainFile(CONFIG_NAME, MODE, (json.dumps(members, indent=2) + "\n").encode())
    return Plan(
        command="new",
        source="",
        edits=as_record(edit),
        seed=edit.seed,
        sources=(),
        files=(*weight_files(tensors, edit.shard_size, MODE, METADATA), text),
        removed=(),
        changes=(),
        meaning=tuple(_meaning(release, head, tensors, edit)),
    )


def _config(family: Family, release: Release, head: Head, dtype: str, edit: New) -> dict[str, object]:
    chosen = {
        "vocab_size": edit.vocab,
        "pad_token_id": edit.pad,
        "type_vocab_size": edit.type_vocab,
        "num_hidden_layers": edit.layers,
        "hidden_size": edit.hidden,
        "num_attention_heads": edit.heads,
        "intermediate_size": edit.intermediate,
        "max_position_embeddings": edit.max_positions,
        "dtype": FLOATS[dtype],
    }
    changes = {key: value for key, value in chosen.items() if value is not None}
    members = family.release_config(release, _dialect(release, edit), head, **changes)
    _refuse_impossible(family, members)
    return members


def _dialect(release: Release, edit: New) -> Dialect:
    if edit.dialect == "native":
        return Dialect.NATIVE
    if release.dialect is Dialect.NATIVE:
        raise UsageError(f"dialect: {edit.dialect}, {release.name} was published in the native one", "leave it out")
    return release.dialect


def _layout(family: Family, release: Release, dialect: Dialect, head: Head) -> Layout:
    """Names as published, but for a head of the native dialect."""
    is_published = head is release.head and (dialect is not Dialect.NATIVE or head is Head.NONE)
    return release.layout if is_published else family.usual_layout(dialect, head)


def _refuse_impossible(family: Family, members: dict[str, object]) -> None:
    config = read_config(members)
    for violation in violations(members, family.schemas[config.dialect]):
        raise UsageError(f"{violation.pointer.lstrip('/')}: {violation.message}", violation.hint)
    if config.pad_token_id is not None and config.pad_token_id >= config.vocab_size:
        raise UsageError(
            f"pad: {config.pad_token_id}, must be below the vocabulary size {config.vocab_size}", "give --pad as well"
        )
    if config.hidden_size % (2 * config.num_attention_heads):
        raise UsageError(
            f"hidden: {config.hidden_size}, must be an even multiple of the {config.num_attention_heads} heads",
            "rotary positions turn pairs of elements, so the head size is even",
        )


def fresh_tensor(family: Family, spec: TensorSpec, config: GteConfig, dtype: str, seed: int) -> PlannedTensor:
    """The tensor as the model's own rules fill it; for weights, from a random stream that its canonical name names.

    Part of a packed tensor gets its part of that one's stream, so that a network has the same numbers in every layout.
    """
    match spec.init:
        case Init.ZEROS:
            pieces: tuple[Piece, ...] = (Fill(bytes(element_bytes(dtype)), spec.size),)
        case Init.ONES:
            pieces = (Fill(_ONE[dtype], spec.size),)
        case Init.NORMAL:
            pieces = tuple(piece for piece in _drawn(family, spec, config, dtype, seed) if piece.nbytes)
    return PlannedTensor(spec.name, dtype, spec.shape, pieces)


def pad_row(family: Family, spec: TensorSpec, config: GteConfig) -> int | None:
    """The row of a table that the model keeps at zero: that of the pad id in the tables that get it as `padding_idx`.

    None for other tensors, and where the table has no such row.
    """
    pad = config.pad_token_id
    is_padded = spec.canonical in family.facts.padded
    return pad if is_padded and pad is not None and 0 <= pad < spec.shape[0] else None


def _drawn(family: Family, spec: TensorSpec, config: GteConfig, dtype: str, seed: int) -> Iterator[Piece]:
    """The tensor's own random stream, with the pad row put to zero."""
    stream, number = family.naming.place_in_packed(spec.canonical)
    start, width, row = number * spec.size, spec.shape[-1], pad_row(family, spec, config)
    pad, after = (spec.size, spec.size) if row is None else (row * width, (row + 1) * width)
    yield Normal(stream, seed, spec.std, dtype, start, pad, spec.cut)
    yield Fill(bytes(element_bytes(dtype)), after - pad)
    yield Normal(stream, seed, spec.std, dtype, start + after, spec.size - after, spec.cut)


def _meaning(release: Release, head: Head, tensors: tuple[PlannedTensor, ...], edit: New) -> Iterator[str]:
    parameters = sum(tensor.size for tensor in tensors)
    yield (
        f"{len(tensors)} tensors, {parameters:,} parameters, with the structure of {release.name} "
        f"and random weights (seed {edit.seed})"
    )
    if head is not release.head:
        yield f"the head is {head.value} instead of the release's {release.head.value}"
    yield "no tokenizer files: feed your own ids"
