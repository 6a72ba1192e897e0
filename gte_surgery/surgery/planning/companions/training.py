"""The training state beside the weights: it follows the rows, goes, or stops a surgery that would make it stale.

What a Trainer leaves beside its weights stays as it is, but for the optimizer's file, whose moments are rows of tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gte_surgery.checkpoint.directory import Checkpoint, StoredTensor
from gte_surgery.checkpoint.files import FileEntry
from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.wording import counted
from gte_surgery.surgery.edits import Convert, Edit, Resize
from gte_surgery.surgery.planning.parts.row_changes import RowChange
from gte_surgery.surgery.planning.plan import Plan, SourceFile
from gte_surgery.surgery.planning.target import Target

OPTIMIZER_FILES = ("optimizer.pt", "optimizer.bin")
"""What transformers' Trainer and accelerate call it [transformers 5.24, trainer.py, OPTIMIZER_NAME; accelerate 1.15,
utils/constants.py, OPTIMIZER_NAME].
"""

_DROP = "drop it with --training-state drop, and let the optimizer start anew"
_FOREIGN = {
    r"(^|/)(global_step[0-9]+/|zero_to_fp32\.py$)": "a DeepSpeed ZeRO state; `python zero_to_fp32.py . merged` makes "
    "whole weights of it, of which the surgery can be made",
    r"\.distcp$": "a distributed state of torch; `python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIR "
    "optimizer.pt` makes one file of it",
}
"""Formats that are not rewritten here, and what makes one of them that is."""


def with_training_state(plan: Plan, target: Target, edit: Edit, changes: Sequence[RowChange]) -> Plan:
    """The plan with what becomes of the optimizer's file beside the weights; the same plan where none is there, or
    where no row and no parameter moves.

    Raises RefusedError where the state would become stale and the edit does not say what to do, and where it says
    "follow" and the state cannot follow for certain.
    """
    mode = getattr(edit, "training_state", "refuse")
    files = tuple(_state_files(target.checkpoint))
    reason = _renumbered(target, edit)
    if plan.is_empty or not files or not (changes or reason):
        return plan
    names = ", ".join(shown(file.name) for file in files[:3]) + (" ..." if len(files) > 3 else "")
    if mode == "drop":
        told = f"{names} goes: it speaks of the parameters before"
        return plan.besides(removed=[file.name for file in files], meaning=[told])
    for file in files:
        _refuse_foreign(file)
    if reason:
        raise RefusedError(f"{names}: {reason}, its moments cannot follow", _DROP, meant="--training-state drop")
    if mode == "refuse":
        raise RefusedError(
            f"{names}: its moments are of the rows before, and would be other tokens' after",
            "let them follow the rows with --training-state follow, or drop the file with --training-state drop",
            meant="--training-state follow",
        )
    others = set(_shapes_as_parameters(target, {change.shape for change in changes}))
    for file in files:
        plan = _follow(plan, file, changes, others)
    return plan


def _follow(plan: Plan, file: FileEntry, changes: Sequence[RowChange], others: set[tuple[int, ...]]) -> Plan:
    from gte_surgery.surgery.planning.parts.moments import followed

    name = shown(file.name)
    try:
        found = followed(file, changes, others)
    except CheckpointError as error:
        message = f"{error.message}; it cannot follow the rows"
        raise RefusedError(message, _DROP, meant="--training-state drop") from None
    if found is None:
        return plan.besides(meaning=[f"{name} stays: it keeps no moments of the rows that move"])
    planned, parameters = found
    count = counted(parameters, "parameter")
    told = f"{name} follows: the moments of {count} move with the rows, those of new rows are zero"
    return plan.besides([planned], [SourceFile.of(file)], meaning=[told])


def _state_files(checkpoint: Checkpoint) -> Iterator[FileEntry]:
    for file in checkpoint.files:
        if file.name in OPTIMIZER_FILES or any(re.search(pattern, file.name) for pattern in _FOREIGN):
            yield file


def _refuse_foreign(file: FileEntry) -> None:
    for pattern, instead in _FOREIGN.items():
        if re.search(pattern, file.name):
            raise RefusedError(f"{shown(file.name)}: {instead}; it cannot follow the rows", _DROP)


def _renumbered(target: Target, edit: Edit) -> str:
    """Why the optimizer's numbers would mean other parameters; "" where they mean the same."""
    match edit:
        case Convert(to=str(to)) if (to == "native") != (target.config.dialect is Dialect.NATIVE):
            return f"the {to} model has other parameters"
        case Convert(head=str(head)) if Head(head) is not target.head:
            return "with another head the parameters are numbered anew"
        case Resize(type_vocab=int(types)) if bool(types) != (target.names.types in target.tensors):
            return "with the type table the parameters are numbered anew"
    return ""


def _shapes_as_parameters(target: Target, moved: set[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """The shapes that the tensors that stay may have as parameters: packed ones are two or three in some models."""
    for tensor in target.tensors.values():
        if tensor.shape in moved and _is_vocabulary(tensor, target):
            continue
        length, *rest = tensor.shape or (0,)
        yield from ((length // parts, *rest) for parts in (1, 2, 3) if length % parts == 0)


def _is_vocabulary(tensor: StoredTensor, target: Target) -> bool:
    names = (*target.names.sized_by_vocabulary, target.names.types)
    return any(target.tensors.get(name) is tensor for name in names)
