"""How fast a backend is on a batch, in real tokens a second, and how much memory it needs at most."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from gte_surgery.model.encoder import GteEncoder
from gte_surgery.smoke.batches import Batch
from gte_surgery.smoke.trouble import watched

_ENOUGH_SECONDS = 0.3
_MOST_RUNS = 20


@torch.no_grad()
def measure(encoder: GteEncoder, batch: Batch, unpad: bool, subject: str) -> tuple[float, int | None]:
    """(real tokens a second, peak bytes or None on a CPU), the best of a third of a second after one warm run."""
    device = encoder.device

    def run() -> None:
        encoder.encode(batch.tensors, unpad_inputs=unpad)

    with watched(batch, f"{subject} timing"):
        run()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        seconds = _best(run, device)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return batch.tokens / seconds, peak


def _best(run: Callable[[], None], device: torch.device) -> float:
    """The shortest of several runs."""
    best, spent = float("inf"), 0.0
    for _ in range(_MOST_RUNS):
        _wait(device)
        begin = time.perf_counter()
        run()
        _wait(device)
        took = time.perf_counter() - begin
        best, spent = min(best, took), spent + took
        if spent > _ENOUGH_SECONDS:
            break
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
