"""What every command that edits or makes a checkpoint does around its one core call: progress, result, the way back;
and what to say where a package that a part of the tool needs is not there, or fails to load.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gte_surgery.cli.terminal import Terminal
from gte_surgery.errors import UnavailableError

if TYPE_CHECKING:
    from gte_surgery.surgery.planning.claim import Prove
    from gte_surgery.surgery.verbs import Outcome


def operate(
    terminal: Terminal, verb: Callable[..., Outcome], place: Path, as_json: bool, options: dict[str, Any]
) -> Outcome:
    """Calls `verb` on `place` with the command's options under a progress bar and prints what came of it."""
    from gte_surgery.checkpoint.printable import pasteable
    from gte_surgery.render.plan import outcome_json, outcome_text

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # our own threads are enough, and BLAS's wait by spinning
    options["prove"] = _prover(options["prove"]) if options.get("prove") else None
    with nullcontext() if options.get("dry_run") else terminal.progress("writing") as progress:
        outcome = verb(place, progress=progress, **options)
    parts = outcome.plan, outcome.receipt, outcome.target
    terminal.result(outcome_json(*parts) if as_json else outcome_text(*parts, terminal.has_color))
    if outcome.receipt is not None and options.get("out") is not None:
        terminal.message(_in_all(outcome.target))
    is_in_place = "keep_undo" in options and options["out"] is None
    if outcome.receipt is not None and is_in_place and options["keep_undo"]:
        terminal.message(f"take it back with {pasteable('undo', place)}")
    return outcome


def _in_all(folder: Path) -> str:
    """How many files a new checkpoint has, those that were only carried along included."""
    from gte_surgery.render.ink import count, size

    files = [path for path in folder.rglob("*") if path.is_file()]
    return f"{folder}: {count(len(files), 'file')}, {size(sum(path.stat().st_size for path in files))} in all"


def _prover(device: str) -> Prove:
    """What runs claims on the device; raises RefusedError where torch and transformers are not there."""
    try:
        from gte_surgery.smoke.prove.run import prover
    except ImportError as error:
        raise missing(error, "--prove") from error
    return prover(device)


def missing(error: ImportError, wanted: str) -> UnavailableError:
    """The refusal of what needs torch or transformers: which could not be imported, why, and how to get them."""
    name = (error.name or "torch").partition(".")[0]
    told = name if isinstance(error, ModuleNotFoundError) else f"{name}: {error}"
    return UnavailableError(f"{told}: cannot be imported, {wanted} needs it", "`pip install 'gte-surgery[smoke]'`")
