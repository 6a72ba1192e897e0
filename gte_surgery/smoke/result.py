"""What a smoke run yields: proofs, speeds, backends that could not serve, findings. Plain data; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gte_surgery.findings import Finding, Severity

Path = Literal["packed", "padded"]
Outcome = Literal["passed", "failed", "skipped"]
Bound = Literal["at most", "at least"]


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing proved or not: `measured` may be at most `tolerance`, or must be `bound` "at least" that. `detail` says
    what a skipped or failed one saw.

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
    bound: Bound = "at most"


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one backend is in one dtype: real tokens a second, peak bytes on the device (None on a CPU), relative
    error against fp32, times as fast as eager attention on the padded batch (None where that broke), and how far apart
    the runs were, of the median.
    """

    dtype: str
    backend: str
    path: Path
    tokens_per_second: float
    peak_bytes: int | None
    error: float
    speedup: float | None
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Timed:
    """The batch that was timed, and how many runs of each way, in turns, the medians are of."""

    rows: int
    shortest: int
    longest: int
    tokens: int
    runs: int


@dataclass(frozen=True, slots=True)
class Unserved:
    """A backend that cannot serve a dtype here, and why."""

    dtype: str
    backend: str
    reason: str


@dataclass(frozen=True, slots=True)
class Worst:
    """A text whose embedding moved far: how it begins, its cosine, the share of its neighbours that it kept."""

    text: str
    cosine: float
    neighbours: float


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How well positives are found by their queries, before and after: nDCG and recall of the ten nearest."""

    queries: int
    ndcg_before: float
    ndcg_after: float
    recall_before: float
    recall_after: float


@dataclass(frozen=True, slots=True)
class Quality:
    """What became of texts: of how many distinct `texts`, with `tokens` before and after, and how many were `left_out`
    for want of an id; `cut` were cut to the `longest` tokens that both take. Means over the texts: `cosine` of both
    embeddings, `neighbours`, the share of the `nearest` in common, `tau` of the order of those before. `histogram` has
    (from, to, texts) of cosines, `worst` the ten lowest.
    """

    texts: int
    left_out: int
    cut: int
    longest: int
    tokens_before: int
    tokens_after: int
    cosine: float
    least_cosine: float
    nearest: int
    neighbours: float
    tau: float
    histogram: tuple[tuple[float, float, int], ...]
    worst: tuple[Worst, ...]
    retrieval: Retrieval | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """With what a checkpoint was compared: the `name` of the other one, `batches` that both ran, real `tokens` in
    them, and the `quality` of texts where some were given."""

    name: str
    batches: int
    tokens: int
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """All that one run of smoke found; `versions` of python, torch, transformers and xformers where it is. `width` is
    less than the length `asked` for where the model has no more positions.
    """

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
    timed: Timed | None = None
    asked: int = 0

    @property
    def has_passed(self) -> bool:
        """Whether every proof held and nothing broke."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)
