"""What a smoke run yields: proofs, speeds, backends that could not serve, findings. Plain data; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gte_surgery.findings import Finding, Severity

Path = Literal["packed", "padded"]
Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing proved or not: `measured` may be at most `tolerance`. `detail` says what a skipped or failed one saw.

    `subject` is what it was proved of: "fp16 xformers", or "" for the checkpoint as a whole. `rank` is the process.
    """

    code: str
    claim: str
    outcome: Outcome
    measured: float | None = None
    tolerance: float | None = None
    subject: str = ""
    detail: str = ""
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one backend is in one dtype: real tokens a second, peak bytes on the device (None on a CPU), relative
    error against fp32, and times as fast as eager attention on the padded batch."""

    dtype: str
    backend: str
    path: Path
    tokens_per_second: float
    peak_bytes: int | None
    error: float
    speedup: float


@dataclass(frozen=True, slots=True)
class Unserved:
    """A backend that cannot serve a dtype here, and why."""

    dtype: str
    backend: str
    reason: str


@dataclass(frozen=True, slots=True)
class Compared:
    """With what a checkpoint was compared: the `name` of the other one, `batches` that both ran, real `tokens` in
    them."""

    name: str
    batches: int
    tokens: int


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """All that one run of smoke found; `versions` of python, torch, transformers and xformers where it is."""

    checkpoint: str
    runtime: str
    device: str
    world_size: int
    versions: tuple[tuple[str, str], ...]
    rows: int
    width: int
    tokens: int
    proofs: tuple[Proof, ...]
    speeds: tuple[Speed, ...]
    unserved: tuple[Unserved, ...]
    findings: tuple[Finding, ...]
    seconds: float
    against: Compared | None = None

    @property
    def has_passed(self) -> bool:
        """Whether every proof held and nothing broke."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)
