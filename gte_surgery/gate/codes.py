"""GTE700 to GTE799: what stands between a gate and one of its steps."""

from __future__ import annotations

from types import MappingProxyType

from gte_surgery.findings import Code, Severity

UNAVAILABLE = Code(
    "GTE700",
    Severity.ERROR,
    "A step of the gate cannot run here",
    "A package is not installed or a device is not there, so what the policy asks for was not judged. Run the gate\n"
    "where it can be, or write optional = true in the table of that step: then this is a note.",
    only_with="gate",
)
IMPOSSIBLE = Code(
    "GTE701",
    Severity.ERROR,
    "A step of the gate cannot do what the policy asks for",
    "A path leads to nothing, an encoder cannot be imported, an option does not fit the checkpoint. The message is\n"
    "that of the command which takes this step. No policy makes this optional.",
    only_with="gate",
)

CODES = MappingProxyType({code.code: code for code in (UNAVAILABLE, IMPOSSIBLE)})
"""Every code of this room, in order."""
