"""What a run of the bench found, and the arithmetic on it: medians, paired ratios, targets. No process is run here.

A `Results` is all that is kept: the JSON file holds one, and text, page and chart are drawn from it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Timing:
    """One program at one job, once a round: wall seconds of each run, largest peak in bytes; `label` says by what."""

    job: str
    program: str
    label: str
    runs: tuple[float, ...]
    peak: int

    @property
    def seconds(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on `program` at `job`: `quantity` at most `factor` × the one at `against` (a job, a program), plus
    `plus`: seconds, or bytes of peak memory.
    """

    job: str
    program: str
    quantity: str
    factor: float = 0.0
    against: tuple[str, str] = ("", "")
    plus: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """One operation on one made-up checkpoint: what it is called, its size in bytes, and what was seen there."""

    operation: str
    subject: str
    size: int
    runs: tuple[float, ...]
    peak: int
    code: int = 0
    said: str = ""

    @property
    def seconds(self) -> float:
        return statistics.median(self.runs)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a program has no number at a job, or at all (job "")."""

    program: str
    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that one run of the bench found."""

    date: str
    machine: str
    versions: dict[str, str]
    checkpoint: str
    timings: tuple[Timing, ...]
    reasons: tuple[Reason, ...]
    sizes: tuple[Point, ...]
    extremes: tuple[Point, ...]

    def timing(self, job: str, program: str) -> Timing | None:
        return next((t for t in self.timings if (t.job, t.program) == (job, program)), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was found: the ratio where the target is one, else the quantity itself."""

    target: Target
    found: float
    is_met: bool


def paired_ratio(runs: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios round by round: what troubles both lines of a round cancels.

    ([2, 6], [1, 2]) → median of 2 and 3 → 2.5
    """
    return statistics.median(run / other for run, other in zip(runs, others, strict=True))


def judge(target: Target, results: Results) -> Verdict | None:
    """Whether the target is met; None when one of its lines was not run."""
    mine, other = results.timing(target.job, target.program), results.timing(*target.against)
    if mine is None or (target.factor and other is None):
        return None
    if target.quantity == "peak":
        return Verdict(target, mine.peak, mine.peak <= target.plus)
    if other is None:
        return Verdict(target, mine.seconds, mine.seconds <= target.plus)
    if not target.plus:
        ratio = paired_ratio(mine.runs, other.runs)
        return Verdict(target, ratio, ratio <= target.factor)
    beyond = statistics.median(a - target.factor * b for a, b in zip(mine.runs, other.runs, strict=True))
    return Verdict(target, mine.seconds, beyond <= target.plus)


def growth(points: Sequence[Point]) -> list[float]:
    """Seconds a GB from each point to the next larger: equal numbers are a straight line, zeros a level one."""
    ordered = sorted(points, key=lambda point: point.size)
    return [
        (after.seconds - before.seconds) / ((after.size - before.size) / 1e9) for before, after in pairwise(ordered)
    ]


def to_json(results: Results) -> dict[str, Any]:
    """Plain values, with the medians for whoever reads the file."""
    plain = asdict(results)
    for kind in ("timings", "sizes", "extremes"):
        for entry in plain[kind]:
            entry["seconds"] = statistics.median(entry["runs"])
    return plain


def from_json(plain: dict[str, Any]) -> Results:
    """The inverse of `to_json`."""

    def many(kind: type, entries: Sequence[dict[str, Any]]) -> Any:
        fields = [{k: tuple(v) if k == "runs" else v for k, v in entry.items() if k != "seconds"} for entry in entries]
        return tuple(kind(**entry) for entry in fields)

    kinds = {"timings": Timing, "reasons": Reason, "sizes": Point, "extremes": Point}
    return Results(**(plain | {name: many(kind, plain[name]) for name, kind in kinds.items()}))
