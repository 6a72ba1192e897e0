"""What a smoke run is asked to do. Plain data; imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gte_surgery.errors import UsageError
from gte_surgery.whole import at_least, require_choices

Progress = Callable[[str], None]
Task = Literal["embed", "mlm", "regression"]
DTYPE_NAMES = ("fp32", "fp16", "bf16")
ATTENTION_NAMES = ("auto", "all", "cudnn", "xformers", "varlen", "sdpa", "eager")
TASKS: tuple[Task, ...] = ("embed", "mlm", "regression")


@dataclass(frozen=True, slots=True)
class SmokeOptions:
    """The options of `smoke`, named as on the command line. Raises UsageError for values that make no run."""

    device: str = "cuda"
    dtype: str = "auto"
    attention: str = "auto"
    batch: int = 16
    max_length: int = 512
    task: Task = "embed"
    train: int = 0
    compile: bool = False
    save_reference: Path | None = None
    compare: Path | None = None
    runtime: Literal["native", "remote"] = "native"
    trust_remote_code: bool = False
    seed: int = 0
    against: Path | str | None = None
    map: Path | None = None
    texts: Path | None = None
    queries: Path | None = None
    column: str | None = None
    min_cosine: float = 0.99
    min_neighbours: float = 0.9
    min_tau: float = 0.9
    max_loss: float = 0.01

    def __post_init__(self) -> None:
        for name, least in (("batch", 2), ("max_length", 2), ("train", 0), ("seed", 0)):
            at_least(name, getattr(self, name), least)
        unknown = [name for name in self.dtype.split(",") if name not in ("auto", *DTYPE_NAMES)]
        if unknown:
            raise UsageError(f"dtype: {unknown[0]!r}, must be auto, or of {', '.join(DTYPE_NAMES)}, commas between")
        if self.attention not in ATTENTION_NAMES:
            raise UsageError(f"attention: {self.attention!r}, must be one of {', '.join(ATTENTION_NAMES)}")
        if self.task not in TASKS:
            raise UsageError(f"task: {self.task!r}, must be one of {', '.join(TASKS)}")
        require_choices(self, {})
        if self.runtime == "remote" and not self.trust_remote_code:
            raise UsageError(
                "runtime remote: runs code that the checkpoint names, with your rights",
                "type --trust-remote-code as well if you trust its authors",
            )
        self._check_against()

    def _check_against(self) -> None:
        """Raises UsageError for options of a comparison without one, and for those that have no part in it."""
        if self.against is None:
            for name, given in (("map", self.map), ("texts", self.texts), ("queries", self.queries)):
                if given is not None:
                    raise UsageError(f"{name}: there is nothing to compare with", "name a checkpoint: --against OLD")
            return
        if self.queries is not None and self.texts is None:
            raise UsageError("queries: there is nothing to search in", "name the texts: --texts FILE")
        for name in ("min_cosine", "min_neighbours", "min_tau", "max_loss"):
            if not -1 <= getattr(self, name) <= 1:
                raise UsageError(f"{name.replace('_', '-')}: {getattr(self, name)}, must be from -1 to 1")
        others = {
            "train": self.train,
            "compile": self.compile,
            "save-reference": self.save_reference,
            "compare": self.compare,
            "runtime remote": self.runtime == "remote",
        }
        for name, value in others.items():
            if value:
                raise UsageError(f"{name}: has no part in a comparison", "run it without --against")

    @property
    def one_attention(self) -> str:
        """What was asked for where a single backend is needed."""
        return "auto" if self.attention == "all" else self.attention

    def dtypes(self, device_type: str) -> tuple[str, ...]:
        """The dtypes asked for, once each, in order; auto is fp16 on CUDA and fp32 elsewhere."""
        usual = "fp16" if device_type == "cuda" else "fp32"
        return tuple(dict.fromkeys(usual if name == "auto" else name for name in self.dtype.split(",")))
