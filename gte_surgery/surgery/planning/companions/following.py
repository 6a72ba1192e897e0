"""What lies beside the weights and speaks of their rows: the tokenizer's files, the optimizer's, and adapters."""

from __future__ import annotations

from gte_surgery.surgery.edits import Edit
from gte_surgery.surgery.planning.companions.adapters import with_adapters
from gte_surgery.surgery.planning.companions.training import with_training_state
from gte_surgery.surgery.planning.parts.row_changes import row_changes
from gte_surgery.surgery.planning.plan import Plan
from gte_surgery.surgery.planning.target import Target
from gte_surgery.surgery.planning.tokens.tokenizer import with_tokenizer


def with_companions(plan: Plan, target: Target, edit: Edit) -> Plan:
    """The plan of `edit` with what becomes of its companions. Raises RefusedError where one would become stale."""
    changes = tuple(row_changes(target, edit))
    plan = with_tokenizer(plan, target, edit)
    return with_adapters(with_training_state(plan, target, edit, changes), target, changes)
