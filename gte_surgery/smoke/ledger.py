"""Where proofs, speeds and findings gather while a run goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gte_surgery.findings import Finding, Location
from gte_surgery.smoke.codes import CODES
from gte_surgery.smoke.result import Compared, Outcome, Proof, Speed, Timed, Unserved


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

    def prove(self, code: str, claim: str, measured: float, tolerance: float, detail: str = "") -> bool:
        """Record that `measured` is at most `tolerance`, or a finding where it is not; NaN never is."""
        holds = measured <= tolerance
        self.proofs.append(
            Proof(code, claim, "passed" if holds else "failed", _finite(measured), tolerance, *self._of(detail))
        )
        if not holds:
            self.found(code, f"{claim}: measured {measured:.3g}, tolerance {tolerance:.3g}", detail)
        return holds

    def prove_least(self, code: str, claim: str, measured: float, least: float) -> None:
        """Record that `measured` is at least `least`, or a finding where it is not."""
        holds = measured >= least
        outcome: Outcome = "passed" if holds else "failed"
        self.proofs.append(
            Proof(code, claim, outcome, _finite(measured), least, self.subject, "", self.rank, "at least")
        )
        if not holds:
            self.found(code, f"{claim}: {measured:.4f}, must be at least {least:g}")

    def skip(self, code: str, claim: str, reason: str) -> None:
        """Record that something could not be asked."""
        self.proofs.append(Proof(code, claim, "skipped", None, None, *self._of(reason)))

    def fail(self, code: str, claim: str, detail: str, hint: str = "") -> None:
        """Record a failure that no number measures."""
        self.proofs.append(Proof(code, claim, "failed", None, None, *self._of(detail)))
        self.found(code, claim, detail, hint)

    def found(self, code: str, message: str, detail: str = "", hint: str = "") -> None:
        """A finding about the present subject."""
        where = f"{self.subject}: " if self.subject else ""
        process = f" (process {self.rank})" if self.rank else ""
        told = f"{where}{message}{f': {detail}' if detail else ''}{process}"
        self.findings.append(CODES[code].found(Location(), told, hint))

    def _of(self, detail: str) -> tuple[str, str, int]:
        return self.subject, detail, self.rank


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
