"""How fast the ways to run a model are on a batch that fills the device, in real tokens a second, and how much memory
each needs at most. The small batch of the proofs would time how fast kernels are launched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from gte_surgery.smoke.batches import Batch, Ids, fill
from gte_surgery.smoke.ledger import BrokenRunError, watched
from gte_surgery.smoke.result import Path, Speed

ROUNDS = 5
"""Times that each way runs, in turns with the others, after those to get warm."""
WARM = 2
"""Runs to get warm: in the second on CUDA, what is compiled is captured."""
ROWS = {"cpu": 8, "cuda": 64}
SHORTEST, LONGEST = 16, {"cpu": 128, "cuda": 512}
"""Tokens of the shortest and the longest row; the lengths lie evenly between."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a model: a backend, on packed tokens or the padded batch; its error against float32; a run."""

    backend: str
    path: Path
    error: float
    run: Callable[[Batch], object]


def full_batch(ids: Ids, device: torch.device, most: int, seed: int) -> Batch:
    """A batch that fills the device, of rows of at most `most` tokens."""
    longest = min(most, ids.max_length, LONGEST[device.type])
    lengths = torch.linspace(min(SHORTEST, longest), longest, ROWS[device.type]).round().long()
    return fill(ids, lengths, torch.Generator().manual_seed(seed)).to(device)


@torch.no_grad()
def measure(dtype: str, ways: Sequence[Way], batch: Batch, device: torch.device) -> list[Speed | BrokenRunError]:
    """The speed of each way, as a multiple of the first one's too, or how it broke. Raises BrokenRunError where the
    device takes no more work.
    """
    broken: dict[int, BrokenRunError] = {}
    peaks: dict[int, int | None] = {}
    seconds: dict[int, list[float]] = {at: [] for at in range(len(ways))}
    for turn in range(WARM + ROUNDS):
        for at, way in enumerate(ways):
            if at in broken:
                continue
            try:
                with watched(batch, f"{dtype} {way.backend} timing"):
                    took, peak = _timed(way, batch, device)
            except BrokenRunError as error:
                if error.is_fatal:
                    raise
                broken[at] = error
                continue
            if turn >= WARM:
                seconds[at].append(took)
                peaks[at] = peak
    rates = {at: batch.tokens / median(seconds[at]) for at in range(len(ways)) if at not in broken}
    found: list[Speed | BrokenRunError] = []
    for at, way in enumerate(ways):
        if at in broken:
            found.append(broken[at])
            continue
        spread = (max(seconds[at]) - min(seconds[at])) / median(seconds[at])
        times = rates[at] / rates[0] if 0 in rates else None
        found.append(Speed(dtype, way.backend, way.path, rates[at], peaks[at], way.error, times, spread))
    return found


def _timed(way: Way, batch: Batch, device: torch.device) -> tuple[float, int | None]:
    """(seconds, peak bytes or None) of one run."""
    is_cuda = device.type == "cuda"
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    way.run(batch)
    if is_cuda:
        torch.cuda.synchronize(device)
    took = time.perf_counter() - begin
    return took, torch.cuda.max_memory_allocated(device) if is_cuda else None
