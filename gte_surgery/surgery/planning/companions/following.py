"""What lies beside the weights and speaks of their rows: the tokenizer's files, the optimizer's, and adapters.

An OpenSSF model signature names the hash of every file, so no surgery leaves one that holds: it is moved aside. What
one is, `checks.signature` knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from gte_surgery.checkpoint.adapters import adapters_of
from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checks.signature import signatures
from gte_surgery.surgery.edits import Edit, Remap, Resize
from gte_surgery.surgery.planning.companions.adapters import with_adapters
from gte_surgery.surgery.planning.companions.tokenizer import with_tokenizer
from gte_surgery.surgery.planning.companions.training import OPTIMIZER_FILES, with_training_state
from gte_surgery.surgery.planning.parts.rewrite import permissions
from gte_surgery.surgery.planning.parts.row_changes import row_changes
from gte_surgery.surgery.planning.plan import PlainFile, Plan
from gte_surgery.surgery.planning.target import Target

SUFFIX = ".before-surgery"
_OTHER_WEIGHTS = (".bin", ".onnx", ".pt", ".pth", ".h5", ".msgpack", ".gguf")


def with_signatures_aside(plan: Plan, checkpoint: Checkpoint) -> Plan:
    """The plan with each signature moved aside, to a name that is free, and told."""
    if plan.is_empty:
        return plan
    for signature in signatures(checkpoint):
        file = signature.file
        names = (f"{file.name}{SUFFIX}{f'-{number}' if number > 1 else ''}" for number in count(1))
        aside = next(name for name in names if not checkpoint.has(name))
        moved = PlainFile(aside, permissions(file.mode), signature.content)
        told = f"the signature {shown(file.name)} no longer holds and becomes {shown(aside)}: sign the result anew"
        plan = plan.besides([moved], removed=[file.name], meaning=[told])
    return plan


def with_companions(plan: Plan, target: Target, edit: Edit) -> Plan:
    """The plan of `edit` with what becomes of its companions. Raises RefusedError where one would become stale."""
    changes = tuple(row_changes(target, edit))
    if isinstance(edit, (Resize, Remap)) and not plan.is_empty:
        plan = plan.besides(meaning=_other_weights(target))
    plan = with_tokenizer(plan, target, edit)
    return with_adapters(with_training_state(plan, target, edit, changes), target, changes)


def _other_weights(target: Target) -> Iterator[str]:
    """That weights in files that are not ours to change keep the old vocabulary; adapters and optimizers are told of
    apart."""
    shards = (*target.checkpoint.shards, *(adapter.shard for adapter in adapters_of(target.checkpoint)))
    weights = {*OPTIMIZER_FILES, *(shard.file.name for shard in shards)}
    stale = [
        file.name
        for file in target.checkpoint.files
        if file.name not in weights and file.name.endswith((*_OTHER_WEIGHTS, ".safetensors"))
    ]
    if stale:
        more = f" and {len(stale) - 5} more" if len(stale) > 5 else ""
        yield f"carried unchanged, still with the old vocabulary if they hold weights: {', '.join(stale[:5])}{more}"
