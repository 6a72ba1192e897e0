"""How much memory is free, whether two models fit on a device at once, and the giving back of one."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.model.load import DTYPES

_GROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_BESIDE = 1 << 30
"""Bytes for what the batches of a proof need beside the weights: hidden states, and logits over the vocabulary."""


def fit_together(checkpoints: Sequence[Checkpoint], device: torch.device, dtype: str) -> bool:
    """Whether the device has memory free for the weights of all of them in a dtype; a CPU has."""
    free = free_bytes(device)
    return free is None or sum(weight_bytes(each, dtype) for each in checkpoints) + _BESIDE <= free


def free_bytes(device: torch.device) -> int | None:
    """Bytes that are free on a GPU; None for a CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def host_bytes() -> int:
    """Bytes that processes here may still take: what the kernel says, and a control group leaves; all that the machine
    has where neither tells."""
    bounds = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        bounds.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    for group, most, used in _GROUPS:
        with suppress(OSError, ValueError):  # no such group, or "max"
            bounds.append(int((group / most).read_text()) - int((group / used).read_text()))
    return max(min(bounds), 0)


def weight_bytes(checkpoint: Checkpoint, dtype: str) -> int:
    """Bytes of the weights once they are loaded in a dtype."""
    return sum(math.prod(tensor.shape) for tensor in checkpoint.tensors.values()) * DTYPES[dtype].itemsize


def release(device: torch.device) -> None:
    """Give back the memory of what nobody holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
