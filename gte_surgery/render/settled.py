"""What `undo` and `recover` did, as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gte_surgery.render.ink import paint, printable
from gte_surgery.surgery.commit.recovery import Recovery

_WORDS = {
    Recovery.NOTHING: "nothing to recover",
    Recovery.ROLLED_BACK: "rolled back: the surgery had not been committed, the checkpoint is as it was before",
    Recovery.ROLLED_FORWARD: "rolled forward: the surgery had been committed and is now complete",
}


def undone_text(checkpoint: Path, names: Sequence[str], color: bool = False) -> str:
    """Which files are again what they were before the last surgery."""
    done = paint(f"undo {printable(str(checkpoint))}: as it was before", "good", color)
    return "\n".join((done, *(f"  {printable(name)}" for name in names)))


def undone_json(checkpoint: Path, names: Sequence[str]) -> str:
    """The files restored or removed."""
    return json.dumps({"checkpoint": str(checkpoint), "files": list(names)}, indent=2)


def recovered_text(checkpoint: Path, recovery: Recovery, color: bool = False) -> str:
    """Which way the interrupted surgery went, in words."""
    return f"{printable(str(checkpoint))}: {paint(_WORDS[recovery], 'good', color)}"


def recovered_json(checkpoint: Path, recovery: Recovery) -> str:
    """Which way it went: nothing, rolled-back, rolled-forward."""
    return json.dumps({"checkpoint": str(checkpoint), "recovery": recovery.value}, indent=2)
