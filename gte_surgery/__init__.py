"""gte-surgery: validates, rewrites and smoke-tests GTE encoder checkpoints without loading them.

The verbs of the command line are functions here: `check`, `resize`, `new`, `undo`, `recover`, `history`, beside
`open_checkpoint`, which reads. Each name is resolved on first use, so that `import gte_surgery` costs nothing.
"""

TYPE_CHECKING = False  # not typing's: what `python -m` imports from here is looked for in the working directory first

__version__ = "0.1.0"

__all__ = [
    "BatchError",
    "Checkpoint",
    "Columns",
    "CorpusReport",
    "Description",
    "Difference",
    "Expectations",
    "Finding",
    "GteAdapter",
    "GteEncoder",
    "GteSurgeryError",
    "IdContract",
    "Location",
    "MaskedLmCollator",
    "Outcome",
    "Plan",
    "Report",
    "Severity",
    "SmokeOptions",
    "SmokeResult",
    "check",
    "check_batch",
    "collate",
    "convert",
    "describe",
    "diff",
    "fix",
    "fuzz",
    "history",
    "load_encoder",
    "new",
    "open_checkpoint",
    "prover",
    "recover",
    "reinit",
    "remap",
    "resize",
    "scan",
    "smoke",
    "trim",
    "uncollate",
    "undo",
    "verify",
]

if TYPE_CHECKING:
    from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint
    from gte_surgery.checks.description import Description, describe
    from gte_surgery.checks.run import run as check
    from gte_surgery.checks.subject import Expectations
    from gte_surgery.compare.difference import Difference, diff
    from gte_surgery.contract.adapter import GteAdapter
    from gte_surgery.contract.batch.check import check_batch
    from gte_surgery.contract.collate import MaskedLmCollator, collate, uncollate
    from gte_surgery.contract.fuzz import fuzz
    from gte_surgery.contract.probe import verify
    from gte_surgery.contract.scan.columns import Columns
    from gte_surgery.contract.scan.corpus import CorpusReport, scan
    from gte_surgery.contract.spec import IdContract
    from gte_surgery.errors import BatchError, GteSurgeryError
    from gte_surgery.findings import Finding, Location, Report, Severity
    from gte_surgery.model.encoder import GteEncoder
    from gte_surgery.model.load import load_encoder
    from gte_surgery.smoke.options import SmokeOptions
    from gte_surgery.smoke.prove.run import prover
    from gte_surgery.smoke.result import SmokeResult
    from gte_surgery.smoke.run import smoke
    from gte_surgery.surgery.planning.plan import Plan
    from gte_surgery.surgery.trim import trim
    from gte_surgery.surgery.verbs import (
        Outcome,
        convert,
        fix,
        history,
        new,
        recover,
        reinit,
        remap,
        resize,
        undo,
    )

_HOMES = {
    "checkpoint.directory": ("Checkpoint", "open_checkpoint"),
    "checks.description": ("Description", "describe"),
    "checks.run": ("check",),
    "checks.subject": ("Expectations",),
    "contract.scan.columns": ("Columns",),
    "contract.scan.corpus": ("CorpusReport", "scan"),
    "contract.adapter": ("GteAdapter",),
    "contract.batch.check": ("check_batch",),
    "contract.collate": ("MaskedLmCollator", "collate", "uncollate"),
    "contract.fuzz": ("fuzz",),
    "contract.probe": ("verify",),
    "contract.spec": ("IdContract",),
    "errors": ("BatchError", "GteSurgeryError"),
    "findings": ("Finding", "Location", "Report", "Severity"),
    "model.encoder": ("GteEncoder",),
    "model.load": ("load_encoder",),
    "smoke.options": ("SmokeOptions",),
    "smoke.prove.run": ("prover",),
    "smoke.result": ("SmokeResult",),
    "compare.difference": ("Difference", "diff"),
    "surgery.planning.plan": ("Plan",),
    "surgery.verbs": (
        "Outcome",
        "convert",
        "fix",
        "history",
        "new",
        "recover",
        "reinit",
        "remap",
        "resize",
        "undo",
    ),
    "surgery.trim": ("trim",),
}
_NAMES_AT_HOME = {"check": "run"}


def __getattr__(name: str) -> object:
    """Resolve a public name when it is first used [PEP 562]."""
    from importlib import import_module

    if name == "smoke":
        return import_module("gte_surgery.smoke")
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"gte_surgery.{home}"), _NAMES_AT_HOME.get(name, name))
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
