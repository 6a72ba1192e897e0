"""Where proofs, speeds and findings gather while a run goes on; and when the run itself breaks: memory, device-side
asserts and driver errors become findings with the batch in hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from gte_surgery.findings import Finding, Location
from gte_surgery.smoke.batches import Batch
from gte_surgery.smoke.codes import CODES
from gte_surgery.smoke.result import Bound, Compared, Outcome, Proof, Speed, Timed, Unserved

_ASSERTS = ("device-side assert", "index out of range", "out of bounds", "indexSelectLargeIndex")


@dataclass
class Ledger:
    """Grows as things are proved; `subject` is what the next proofs are of, `rank` the process they are made in."""

    rank: int = 0
    subject: str = ""
    proofs: list[Proof] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    speeds: list[Speed] = field(default_factory=list)
    unserved: list[Unserved] = field(default_factory=list)
    timed: Timed | None = None
    against: Compared | None = None

    def prove(self, code: str, claim: str, measured: float, tolerance: float, detail: str = "") -> None:
        """Record that `measured` is at most `tolerance`, or a finding where it is not; NaN never is."""
        holds = measured <= tolerance
        self.record(code, claim, "passed" if holds else "failed", detail, measured, tolerance)
        if not holds:
            self.found(code, f"{claim}: measured {measured:.3g}, tolerance {tolerance:.3g}", detail)

    def prove_least(self, code: str, claim: str, measured: float, least: float) -> None:
        """Record that `measured` is at least `least`, or a finding where it is not."""
        holds = measured >= least
        self.record(code, claim, "passed" if holds else "failed", "", measured, least, "at least")
        if not holds:
            self.found(code, f"{claim}: {measured:.4f}, must be at least {least:g}")

    def skip(self, code: str, claim: str, reason: str) -> None:
        """Record that something could not be asked."""
        self.record(code, claim, "skipped", reason)

    def fail(self, code: str, claim: str, detail: str, hint: str = "") -> None:
        """Record a failure that no number measures."""
        self.record(code, claim, "failed", detail)
        self.found(code, claim, detail, hint)

    def found(self, code: str, message: str, detail: str = "", hint: str = "") -> None:
        """A finding about the present subject."""
        where = f"{self.subject}: " if self.subject else ""
        process = f" (process {self.rank})" if self.rank else ""
        told = f"{where}{message}{f': {detail}' if detail else ''}{process}"
        self.findings.append(CODES[code].found(Location(), told, hint))

    def record(
        self, code: str, claim: str, outcome: Outcome, detail: str, measured: float | None = None,
        tolerance: float | None = None, bound: Bound = "at most",
    ) -> None:  # fmt: skip
        """Record one proof of the present subject."""
        finite = measured if measured is not None and math.isfinite(measured) else None  # JSON has no other
        self.proofs.append(Proof(code, claim, outcome, finite, tolerance, self.subject, detail, self.rank, bound))


class BrokenRunError(Exception):
    """The run cannot go on; `finding` says why. `is_fatal` where the device takes no more work in this process."""

    def __init__(self, finding: Finding, is_fatal: bool) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.is_fatal = is_fatal


@contextmanager
def watched(batch: Batch, doing: str) -> Iterator[None]:
    """Raise BrokenRunError for whatever the device or a kernel throws while `doing` something with the batch.

    The batch is put into words first: after a device-side assert nothing can be read back.
    """
    described = batch.described()
    try:
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    except (IndexError, RuntimeError) as error:
        said = str(error)
        code, is_fatal = _cause(error, said)
        told = f"{doing}: {described}: {type(error).__name__}: {' '.join(said.split())[:300]}"
        raise BrokenRunError(CODES[code].found(Location(), told), is_fatal) from error


def _cause(error: Exception, said: str) -> tuple[str, bool]:
    """The code of what was thrown, and whether the device takes no more work."""
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in said:
        return "GTE520", False
    if isinstance(error, IndexError):
        return "GTE521", False
    is_assert = any(sign in said for sign in _ASSERTS)
    return "GTE521" if is_assert else "GTE522", is_assert or "CUDA error" in said
