"""Several processes, as torchrun starts them: one device each, and training that must be one device's training.

NCCL carries tensors between GPUs, gloo everything else. A process that failed still meets the others, so that nobody
waits for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from gte_surgery.smoke.batches import Batch, Tensors
from gte_surgery.smoke.ledger import Ledger, watched
from gte_surgery.smoke.proofs import TOLERANCES, distance
from gte_surgery.smoke.training import Objective, Trainer, gradient_of, gradients, prove_losses

Value = TypeVar("Value")
_LONGEST_WAIT = timedelta(minutes=5)
_SAME_LOSS = 1e-5


@dataclass(frozen=True, slots=True)
class World:
    """This process among the others; `size` 1 without torchrun."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    is_joined: bool = False

    def gathered(self, value: Value) -> list[Value]:
        """Every process's value, in order of rank."""
        if not self.is_joined:
            return [value]
        gathered: list[Value | None] = [None] * self.size
        distributed.all_gather_object(gathered, value)
        return [member for member in gathered if member is not None]


@contextmanager
def world(is_cuda: bool) -> Iterator[World]:
    """Join the processes that torchrun started; without it, stand alone."""
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield World()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if is_cuda:
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if is_cuda else "gloo", timeout=_LONGEST_WAIT)
    try:
        yield World(distributed.get_rank(), distributed.get_world_size(), local_rank, is_joined=True)
    finally:
        distributed.destroy_process_group()


def prove_ranks(
    objective: Objective,
    batches: list[tuple[Batch, Tensors]],
    dtype: torch.dtype,
    steps: int,
    here: World,
    ledger: Ledger,
) -> None:
    """Train on one batch a process and prove that it was training on all of them.

    `batches` are those of every rank: the gradient of all of them, computed here alone, is what the processes together
    must arrive at.
    """
    device = objective.encoder.device
    batch, tensors = batches[here.rank]
    counted = _counted(batches, here.size)
    with watched(batch, f"{ledger.subject} training on {here.size} processes"):
        each = gradients(objective, [tensors for _, tensors in batches], dtype, counted)
        wanted = torch.as_tensor(sum(each) / len(batches))
        spread = DistributedDataParallel(objective, device_ids=[device.index] if device.type == "cuda" else None)
        trainer = Trainer(spread, dtype, device)

        def inspect() -> None:
            gap = distance(gradient_of(objective), wanted)
            ledger.prove("GTE562", "gradient equals the joined batch's", gap, TOLERANCES[dtype])

        losses = trainer.take(steps, tensors, inspect, counted)
        with torch.no_grad():
            objective.encoder.compiled = None  # or one process would replay what another launches, rounded otherwise
            common = float(Trainer(objective, dtype, device).loss(batches[0][1], counted))
        prove_losses(losses, ledger)
        _prove_sameness(objective, common, here, ledger)


def _prove_sameness(objective: Objective, common: float, here: World, ledger: Ledger) -> None:
    everywhere = torch.tensor(here.gathered(common), dtype=torch.float64)
    gap = float((everywhere.max() - everywhere.min()) / everywhere.abs().max().clamp_min(1e-30))
    ledger.prove("GTE560", "all processes have the same loss", gap, _SAME_LOSS)
    largest = 0.0
    for parameter in objective.parameters():
        of_first = parameter.detach().clone()
        if here.is_joined:
            distributed.broadcast(of_first, 0)
        largest = max(largest, float((of_first - parameter.detach()).abs().max()))
    ledger.prove("GTE561", "all processes have the same weights", max(here.gathered(largest)), 0)


def _counted(batches: list[tuple[Batch, Tensors]], size: int) -> float | None:
    """Masked positions a process, on average: so that averaging the processes' losses averages over all positions."""
    labels = [tensors["labels"] for _, tensors in batches if "labels" in tensors]
    return sum(int((member >= 0).sum()) for member in labels) / size if labels else None
