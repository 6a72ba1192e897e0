"""An OpenSSF model signature names the hash of every file, so no surgery leaves one that holds: it is moved aside.

What one is, `checks.signature` knows.
"""

from __future__ import annotations

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checks.signature import signatures
from gte_surgery.errors import RefusedError
from gte_surgery.surgery.planning.parts.rewrite import permissions
from gte_surgery.surgery.planning.plan import Plan, TextFile

SUFFIX = ".before-surgery"


def with_signatures_aside(plan: Plan, checkpoint: Checkpoint) -> Plan:
    """The plan with each signature moved aside, and told. Raises RefusedError where its new name is taken."""
    if plan.is_empty:
        return plan
    for signature in signatures(checkpoint):
        file = signature.file
        aside = f"{file.name}{SUFFIX}"
        if checkpoint.has(aside):
            raise RefusedError(
                f"{shown(file.name)}: a signature that will not hold, and {shown(aside)} is there already",
                "move one of the two out of the checkpoint",
            )
        moved = TextFile(aside, permissions(file.mode), signature.content)
        told = f"the signature {shown(file.name)} no longer holds and becomes {shown(aside)}: sign the result anew"
        plan = plan.besides([moved], removed=[file.name], meaning=[told])
    return plan
