"""Whether two models fit on a device at once, and the giving back of one."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence

import torch

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.model.load import DTYPES

_BESIDE = 1 << 30
"""Bytes for what the batches of a proof need beside the weights: hidden states, and logits over the vocabulary."""


def fit_together(checkpoints: Sequence[Checkpoint], device: torch.device, dtype: str) -> bool:
    """Whether the device has memory free for the weights of all of them in a dtype; a CPU has."""
    free = free_bytes(device)
    return free is None or sum(weight_bytes(each, dtype) for each in checkpoints) + _BESIDE <= free


def free_bytes(device: torch.device) -> int | None:
    """Bytes that are free on a GPU; None for a CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def weight_bytes(checkpoint: Checkpoint, dtype: str) -> int:
    """Bytes of the weights once they are loaded in a dtype."""
    return sum(math.prod(tensor.shape) for tensor in checkpoint.tensors.values()) * DTYPES[dtype].itemsize


def release(device: torch.device) -> None:
    """Give back the memory of what nobody holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
