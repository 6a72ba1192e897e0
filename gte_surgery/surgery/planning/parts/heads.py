"""Another head on the same encoder: what both have stays, what only the old one has goes, what only the new one has is
drawn by the model's own rules, from the streams from which `new` draws it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gte_surgery.checkpoint.restated import without
from gte_surgery.errors import RefusedError
from gte_surgery.gte.kinds import AUTO_CLASSES, Dialect, Head, Layout
from gte_surgery.gte.tensors import TensorSpec
from gte_surgery.gte.wording import counted, listed
from gte_surgery.surgery.edits import Convert
from gte_surgery.surgery.pieces.evaluate import ARITHMETIC_DTYPES
from gte_surgery.surgery.planning.fresh import fresh_tensor
from gte_surgery.surgery.planning.parts.storage import in_order
from gte_surgery.surgery.planning.plan import PlannedTensor
from gte_surgery.surgery.planning.target import Target

_LABELLED = (Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION)
_ONE_LABEL: dict[str, object] = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
_OF_LABELS = (*_ONE_LABEL, "num_labels", "problem_type")


def with_head(target: Target, edit: Convert) -> Target:
    """The target as one of the head that the edit wants, without what that head has not; itself where nothing changes.

    Raises RefusedError where the dialect has no such head.
    """
    head, family = _wanted(target, edit), target.family
    if head is target.head:
        return target
    members = members_of_head(target, edit)
    if target.config.dialect is Dialect.NATIVE:
        family.in_dialect("native")(members, head, False)
    kept = {spec.canonical for spec in family.published(target.config, target.layout, head)}
    gone = [name for name in target.tensors if family.is_known(name) and _is_of_head(name) and name not in kept]
    tensors = {name: tensor for name, tensor in target.tensors.items() if name not in gone}
    checkpoint = without(target.checkpoint, {target.tensors[name].name for name in gone})
    return Target(checkpoint, family.read_config(members), target.layout, head, tensors)


def members_of_head(target: Target, edit: Convert) -> dict[str, object]:
    """All members of config.json for the head that the edit wants: its class, and labels where it gives each a number
    and none are stated; they go with a head that gave them.
    """
    head, members = _wanted(target, edit), dict(target.values)
    if head is target.head:
        return members
    members["architectures"] = [target.family.architecture(head, target.config.dialect)]
    members |= _with_class(target, head)
    if head not in _LABELLED:
        return {key: value for key, value in members.items() if key not in _OF_LABELS}
    has_labels = members.get("id2label") is not None or members.get("num_labels") is not None
    return members if has_labels or target.head in _LABELLED else {**members, **_ONE_LABEL}


def _with_class(target: Target, head: Head) -> dict[str, object]:
    """`auto_map` with the class of a head that it lacks, from where the others are taken; nothing if it is there."""
    mapped, auto = target.values.get("auto_map"), AUTO_CLASSES[head]
    if not isinstance(mapped, dict) or auto in mapped or target.config.dialect is Dialect.NATIVE:
        return {}
    models = (each for key, each in mapped.items() if key.startswith("AutoModel") and isinstance(each, str))
    module = next(models, "").rpartition(".")[0]
    named = target.family.architecture(head, target.config.dialect)
    return {"auto_map": {**mapped, auto: f"{module}.{named}"}} if module else {}


def nearest_layout(target: Target) -> Layout:
    """The layout for another head: of the same letter, else the usual one, packed as the tensors are."""
    fitting, now = target.family.naming.layouts(target.head), target.layout
    usual = fitting.get(now.letter, next(iter(fitting.values())))
    if now.is_damaged:
        return usual
    return usual._replace(
        has_split_qkv=now.has_split_qkv, has_split_mlp=now.has_split_mlp, has_old_norms=now.has_old_norms
    )


def drawn_head(before: Target, after: Target) -> list[TensorSpec]:
    """The tensors that another head has and the checkpoint has not."""
    return [] if after is before else _missing(after, nearest_layout(after))


def with_drawn_head(
    target: Target, edit: Convert, layout: Layout, shards: dict[str, list[PlannedTensor]]
) -> dict[str, list[PlannedTensor]]:
    """The tensors by shard, with those of the head that are missing in the last one.

    Raises RefusedError for a word table of a dtype in which nothing can be drawn.
    """
    missing = _missing(target, layout)
    if not missing:
        return shards
    dtype = edit.dtype or target.tensors[target.names.words].dtype
    if dtype not in ARITHMETIC_DTYPES:
        raise RefusedError(
            f"head: {edit.head}, cannot be drawn in {dtype}, the dtype of the word table", "give --dtype"
        )
    drawn = [fresh_tensor(target.family, spec, target.config, dtype, edit.seed or 0) for spec in missing]
    last = list(shards)[-1]
    return {**shards, last: in_order([*shards[last], *drawn])}


def meaning_of_head(before: Target, target: Target, edit: Convert) -> Iterator[str]:
    """In words what becomes of the heads."""
    if before.head is target.head:
        return
    gone = [tensor for name, tensor in before.tensors.items() if name not in target.tensors]
    if gone:
        size = sum(math.prod(tensor.shape) for tensor in gone)
        yield f"{counted(len(gone), 'tensor')} of the head {before.head.value} go ({counted(size, 'parameter')})"
    if drawn := drawn_head(before, target):
        size = sum(spec.size for spec in drawn)
        yield (
            f"the head {target.head.value} is new: {counted(len(drawn), 'tensor')} ({counted(size, 'parameter')}) "
            f"drawn by the model's own rules, seed {edit.seed or 0}; its outputs mean nothing until it is trained"
        )
    kept = [f"`{name}`" for name in target.tensors if _is_of_head(name)]
    if kept:
        yield f"{listed(kept)} stay as they are: both heads have them"


def _missing(target: Target, layout: Layout) -> list[TensorSpec]:
    specs = target.family.inventory(target.config, layout, target.head)
    return [spec for spec in specs if _is_of_head(spec.canonical) and spec.canonical not in target.tensors]


def _is_of_head(canonical: str) -> bool:
    """Whether the tensor belongs to no part of the encoder."""
    return canonical.partition(".")[0] not in ("embeddings", "encoder", "layers", "final_norm")


def _wanted(target: Target, edit: Convert) -> Head:
    return target.head if edit.head is None else Head(edit.head)
