"""gte-surgery: validates, rewrites and smoke-tests GTE encoder checkpoints without loading them.

The verbs of the command line are functions here: `check`, `resize`, `new`, `undo`, `recover`, `history`, beside
`open_checkpoint`, which reads. Each name is resolved on first use, so that `import gte_surgery` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Checkpoint",
    "Description",
    "Difference",
    "Expectations",
    "Finding",
    "GteSurgeryError",
    "Location",
    "Outcome",
    "Plan",
    "Report",
    "Severity",
    "check",
    "convert",
    "describe",
    "diff",
    "fix",
    "history",
    "new",
    "open_checkpoint",
    "recover",
    "reinit",
    "remap",
    "resize",
    "undo",
]

if TYPE_CHECKING:
    from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint
    from gte_surgery.checks.description import Description, describe
    from gte_surgery.checks.run import run as check
    from gte_surgery.checks.subject import Expectations
    from gte_surgery.errors import GteSurgeryError
    from gte_surgery.findings import Finding, Location, Report, Severity
    from gte_surgery.surgery.difference import Difference, diff
    from gte_surgery.surgery.plan import Plan
    from gte_surgery.surgery.verbs import Outcome, convert, fix, history, new, recover, reinit, remap, resize, undo

_HOMES = {
    "checkpoint.directory": ("Checkpoint", "open_checkpoint"),
    "checks.description": ("Description", "describe"),
    "checks.run": ("check",),
    "checks.subject": ("Expectations",),
    "errors": ("GteSurgeryError",),
    "findings": ("Finding", "Location", "Report", "Severity"),
    "surgery.difference": ("Difference", "diff"),
    "surgery.plan": ("Plan",),
    "surgery.verbs": ("Outcome", "convert", "fix", "history", "new", "recover", "reinit", "remap", "resize", "undo"),
}
_NAMES_AT_HOME = {"check": "run"}


def __getattr__(name: str) -> object:
    """Resolve a public name when it is first used [PEP 562]."""
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"gte_surgery.{home}"), _NAMES_AT_HOME.get(name, name))
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
