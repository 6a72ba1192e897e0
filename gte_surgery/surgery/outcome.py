"""What a surgery takes beside its edit, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TypedDict

from gte_surgery.checkpoint.files import Progress
from gte_surgery.surgery.planning.claim import Prove
from gte_surgery.surgery.planning.plan import Plan
from gte_surgery.surgery.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a surgery came to: its plan, the receipt (None for a dry run, or when there was nothing to do), the
    directory.
    """

    plan: Plan
    receipt: Receipt | None
    target: Path

    def __repr__(self) -> str:
        done = "wrote" if self.receipt is not None else "would write"
        return f"<Outcome of {self.plan.command} in {self.target}: {done} {len(self.plan.files)} files>"


class Writing(TypedDict, total=False):
    """How every verb that writes can be told to write; none of it changes a byte of a weight file.

    Without `hashes` the receipt has no SHA-256; `threads` are as many as there are processors; `progress` is told the
    bytes written and the bytes to write. `prove`, such as `prover("cpu")`, runs the claims of the plan on what is to be
    committed: refuted, nothing is; inconclusive, only with `allow_inconclusive`.
    """

    hashes: bool
    threads: int | None
    progress: Progress | None
    prove: Prove | None
    allow_inconclusive: bool


class Kept(Writing, total=False):
    """Of a checkpoint that is changed in place, whether a way back is kept for `undo`."""

    keep_undo: bool


class Surgical(Kept, total=False):
    """What every surgery takes: the new directory `out`, in place without it; whether only to plan."""

    out: Path | str | None
    dry_run: bool


def require_keywords(verb: Callable[..., Outcome], given: Mapping[str, object]) -> None:
    """Raises TypeError, as Python does for a function, where `verb` has no such keyword; names the nearest."""
    known = [*signature(verb).parameters, *Surgical.__annotations__]
    for name in given:
        if name not in known and name != "filesystem":
            from difflib import get_close_matches

            meant = "".join(f". Did you mean {near!r}?" for near in get_close_matches(name, known, n=1))
            raise TypeError(f"{verb.__name__}() got an unexpected keyword argument {name!r}{meant}")
