"""Plans a `Convert`: another dialect, layout, dtype or sharding of the same network. What needs no change is not
written: from remote to native that is, without a head, most often config.json alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.index import INDEX_NAME
from gte_surgery.checkpoint.restated import renamed, without
from gte_surgery.checks.maths import has_code, require_published
from gte_surgery.checks.run import run
from gte_surgery.errors import RefusedError
from gte_surgery.gte.families import family_of
from gte_surgery.gte.family import Family
from gte_surgery.gte.kinds import Dialect, Head, Layout
from gte_surgery.gte.tensors import FLOATS
from gte_surgery.gte.wording import either, listed
from gte_surgery.gte.wrappers import takes_off, unwrapped, wrapper_of
from gte_surgery.surgery.edits import Convert
from gte_surgery.surgery.pieces.evaluate import ARITHMETIC_DTYPES
from gte_surgery.surgery.pieces.losses import Losses, cast_losses
from gte_surgery.surgery.pieces.piece import Cast
from gte_surgery.surgery.planning.parts.heads import (
    meaning_of_head,
    members_of_head,
    nearest_layout,
    with_drawn_head,
    with_head,
)
from gte_surgery.surgery.planning.parts.rewrite import (
    Files,
    assembled,
    copied,
    metadata_of,
    permissions,
    regroup,
    source_files,
)
from gte_surgery.surgery.planning.parts.sharding import weight_files
from gte_surgery.surgery.planning.parts.storage import in_order, restored, storage_changes
from gte_surgery.surgery.planning.plan import OutputFile, PlainFile, Plan, PlannedTensor
from gte_surgery.surgery.planning.target import Target

CURED = ("GTE213", "GTE214")
"""Errors that a change of dialect mends: names and packing that the config does not call for."""


def plan_convert(target: Target, edit: Convert, threads: int | None = None) -> Plan:
    """The plan of `edit`. Raises RefusedError for what the dialect or the dtype cannot express. Nothing to do:
    empty.
    """
    _refuse_guesses(target, edit)
    before, target = target, with_head(target, edit)
    layout = _layout(target, edit, target.layout if target is before else nearest_layout(target))
    members = _members(target, edit, layout, members_of_head(before, edit))
    shards = _tensors(target, edit, layout)
    losses = _losses(target, edit, shards, threads)
    if target is not before:
        shards = with_drawn_head(target, edit, layout, shards)
    weights = _files(target.checkpoint, edit, shards)
    gone = [key for key in target.values if key not in members]
    meaning = (*meaning_of_head(before, target, edit), *_meaning(before, target, edit, layout, weights[0], losses))
    return assembled(target.checkpoint, edit, weights, members, dropped=gone, meaning=meaning)


def prepared(checkpoint: Checkpoint, edit: Convert) -> Checkpoint:
    """The checkpoint without the prefix and the tensors that the edit takes away. Raises RefusedError where there are
    none such. A wrapper's one prefix over all names goes without being named where names are to change anyway.
    """
    family, prefix = family_of(checkpoint.values), edit.strip_prefix
    if prefix is None and (edit.to or edit.layout) and (wrapper := wrapper_of(family, checkpoint.tensors)) is not None:
        prefix = wrapper.prefix
    if prefix is not None:
        if not any(takes_off(prefix, name) for name in checkpoint.tensors):
            raise RefusedError(f"strip-prefix: {prefix}, no tensor name begins so", _names_of(checkpoint))
        taken = prefix
        checkpoint = renamed(checkpoint, lambda name: unwrapped(name, taken))
    for pattern in edit.drop:
        gone = _matching(family, checkpoint, pattern)
        if not gone:
            raise RefusedError(f"drop: {pattern}, matches no tensor", _names_of(checkpoint))
        checkpoint = without(checkpoint, gone)
    return checkpoint


def _matching(family: Family, checkpoint: Checkpoint, pattern: str) -> set[str]:
    """The stored names of the tensors whose stored or canonical name matches."""
    naming, layout = family.naming, family.naming.detect(checkpoint.tensors)
    known = {name: naming.canonical(name, layout) if layout else None for name in checkpoint.tensors}
    return {name for name, other in known.items() if any(fnmatchcase(each, pattern) for each in (name, other or ""))}


def _names_of(checkpoint: Checkpoint) -> str:
    return f"the names are such as {listed([f'`{name}`' for name in sorted(checkpoint.tensors)][:3])}"


def _refuse_guesses(target: Target, edit: Convert) -> None:
    """Raises RefusedError for a change of dialect that would have to guess: by which rope or by whose code."""
    if edit.to is None:
        return
    require_published(target.checkpoint)
    codes = ("GTE120", "GTE127")
    for finding in run(target.checkpoint, select=codes).findings:
        if finding.code in codes:
            raise RefusedError(f"{finding} [{finding.code}]", finding.hint)


def _layout(target: Target, edit: Convert, kept: Layout) -> Layout:
    """The layout wanted, else `kept`. Raises RefusedError for letters that do not fit the head."""
    fitting = target.family.naming.layouts(target.head)
    if edit.layout is None:
        usual = target.family.usual_layout(Dialect.NATIVE if edit.to == "native" else Dialect.REMOTE, target.head)
        return usual if edit.to is not None and not _keeps_split(target, edit) else kept
    if edit.layout not in fitting:
        found = "no head" if target.head is Head.NONE else "a head"
        raise RefusedError(f"layout: {edit.layout}, the checkpoint has {found}", f"choose {either(list(fitting))}")
    return fitting[edit.layout]


def _keeps_split(target: Target, edit: Convert) -> bool:
    """Whether q, k and v stay apart: the remote dialect knows that too (pack_qkv false), and this is one already."""
    return edit.to == "remote" and target.config.dialect is not Dialect.NATIVE and not target.config.pack_qkv


def _members(target: Target, edit: Convert, layout: Layout, members: dict[str, object]) -> dict[str, object]:
    """All members that config.json shall have, from those for the head wanted."""
    if edit.to is not None:
        members = target.family.in_dialect(edit.to)(members, target.head, has_code(target.checkpoint))
    elif edit.drop and (classes := _classes(target)) is not None:
        members["architectures"] = classes
    if layout != target.layout and "pack_qkv" in members:
        members["pack_qkv"] = not layout.has_split_qkv or layout.is_renamed
    if edit.dtype is not None:
        members["torch_dtype" if "torch_dtype" in members else "dtype"] = FLOATS[edit.dtype]
    return members


def _classes(target: Target) -> list[str] | None:
    """`architectures` for the head that is left, where a dropped one was declared; None where they may stay."""
    named = target.family.architecture(target.head, target.config.dialect)
    declared = target.config.architectures
    are_known = all(target.family.head_of_class(name) is not None for name in declared)
    return [named] if declared and named not in declared and are_known else None


def _tensors(target: Target, edit: Convert, layout: Layout) -> dict[str, list[PlannedTensor]]:
    """Every tensor as it shall be, by the shard in which it stays."""
    if layout == target.layout:
        shards: dict[str, list[PlannedTensor]] = {shard.file.name: [] for shard in target.checkpoint.shards}
        for tensor in target.checkpoint.tensors.values():
            shards[tensor.shard.file.name].append(copied(tensor))
    else:
        shards = restored(target, layout)
    dropped = _redundant_decoder(target, edit, layout)
    return {
        shard: [_cast(tensor, edit.dtype) for tensor in tensors if tensor.name != dropped]
        for shard, tensors in shards.items()
    }


def _redundant_decoder(target: Target, edit: Convert, layout: Layout) -> str | None:
    """The name of a stored decoder weight that is the word table once more; rule GTE240 has compared the two."""
    if edit.to is None or target.names.decoder not in target.tensors or not target.config.tie_word_embeddings:
        return None
    return target.family.naming.stored(target.names.decoder, layout)


def _cast(tensor: PlannedTensor, dtype: str | None) -> PlannedTensor:
    """The tensor in another float dtype; integers, fp8 and whatever else stay as they are."""
    if dtype is None or tensor.dtype == dtype or tensor.dtype not in ARITHMETIC_DTYPES:
        return tensor
    return tensor._replace(dtype=dtype, pieces=tuple(Cast(piece, tensor.dtype, dtype) for piece in tensor.pieces))


def _losses(
    target: Target, edit: Convert, shards: Mapping[str, Sequence[PlannedTensor]], threads: int | None
) -> list[Losses]:
    """What the cast loses. Raises RefusedError for an overflow that was not allowed."""
    if edit.dtype is None:
        return []
    sources = source_files(target.checkpoint)
    tensors = [tensor for planned in shards.values() for tensor in planned]
    losses = cast_losses(tensors, sources, threads or os.cpu_count() or 1)
    overflowing = [loss for loss in losses if loss.overflowed]
    if overflowing and not edit.allow_overflow:
        first, total = overflowing[0], sum(loss.overflowed for loss in overflowing)
        raise RefusedError(
            f"`{first.tensor}`: {first.overflowed} numbers are too large for {edit.dtype} ({total} in all tensors)",
            "BF16 has the range of F32; or let them become infinite with --allow-overflow",
        )
    return losses


def _files(checkpoint: Checkpoint, edit: Convert, shards: Mapping[str, Sequence[PlannedTensor]]) -> Files:
    """The weight files to write, and those to go."""
    if edit.shard_size is None:
        return regroup(checkpoint, shards)
    before = {shard.file.name: shard for shard in checkpoint.shards}
    mode = permissions(checkpoint.shards[0].file.mode)
    tensors = in_order([tensor for planned in shards.values() for tensor in planned])
    wanted = weight_files(tensors, edit.shard_size, mode, metadata_of(checkpoint.shards[0]))
    names = {file.name for file in wanted}
    stale = [*before, *([INDEX_NAME] if checkpoint.has(INDEX_NAME) else [])]
    files = tuple(file for file in wanted if not _is_stored(checkpoint, file))
    return files, tuple(name for name in stale if name not in names)


def _is_stored(checkpoint: Checkpoint, file: OutputFile) -> bool:
    """Whether the checkpoint has a file just like this one."""
    if isinstance(file, PlainFile):
        found = checkpoint.index
        return found is not None and found.document.text.encode() == file.head
    shard = next((shard for shard in checkpoint.shards if shard.file.name == file.name), None)
    if shard is None or shard.header is None or file.name in checkpoint.restated:
        return False
    stored = tuple(copied(checkpoint.tensors[entry.name]) for entry in shard.header.tensors)
    return (shard.header.metadata, stored) == (file.metadata, file.tensors)


def _meaning(
    before: Target,
    target: Target,
    edit: Convert,
    layout: Layout,
    weights: Sequence[OutputFile],
    losses: Sequence[Losses],
) -> Iterator[str]:
    if before.checkpoint.restated:
        if edit.drop:
            yield f"the tensors that match {', '.join(edit.drop)} go"
        if edit.strip_prefix is not None or not edit.drop:
            yield "what a wrapper put before the tensor names goes"
    if not weights:
        yield "no tensor changes"
    if layout != target.layout:
        yield f"{storage_changes(target.layout, layout)}: no number changes"
    if _redundant_decoder(target, edit, layout) is not None:
        yield "the stored decoder weight goes: it equals the word embeddings, to which it is tied"
    if edit.to == "remote":
        yield "transformers loads it only with --trust-remote-code from now on; `auto_map` says whose code"
    for loss in losses:
        if loss.overflowed:
            yield f"`{loss.tensor}`: {loss.overflowed} numbers are too large for {edit.dtype} and become infinite"
        if loss.flushed:
            yield f"`{loss.tensor}`: {loss.flushed} numbers are too small for {edit.dtype} and become zero"
