"""GTE700 to GTE799: what stands between a gate and one of its steps."""

from __future__ import annotations

from gte_surgery.findings import documented

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
