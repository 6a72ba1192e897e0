"""GTE700 to GTE799, what stands between a gate and one of its steps; and every code, whichever room makes it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gte_surgery.checks.registry import all_rules
from gte_surgery.contract.codes import CODES as BATCH_CODES
from gte_surgery.findings import Code, documented
from gte_surgery.smoke.codes import CODES as SMOKE_CODES

_TABLE = """
GTE700 error A step of the gate cannot run here
A package is not installed or a device is not there, so what the policy asks for was not judged. Run the gate
where it can be, or write optional = true in the table of that step: then this is a note.

GTE701 error A step of the gate cannot do what the policy asks for
A path leads to nothing, an encoder cannot be imported, an option does not fit the checkpoint. The message is
that of the command which takes this step. No policy makes this optional.
"""

CODES = documented(_TABLE, only_with="gate")
"""Every code of this room, in order."""
UNAVAILABLE, IMPOSSIBLE = CODES.values()


def all_codes() -> Mapping[str, Code]:
    """The rules for checkpoints and the codes of batches, encoders, smoke runs and gates, in order of code."""
    codes: dict[str, Code] = {**all_rules(), **BATCH_CODES, **SMOKE_CODES, **CODES}
    return MappingProxyType(dict(sorted(codes.items())))
