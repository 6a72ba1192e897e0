"""Counts how often a piece of work waits for the CUDA device."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch


def waits_of(work: Callable[[], object]) -> list[str]:
    """What torch says of every synchronising operation in one call of `work`."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [str(warning.message) for warning in seen if "called a synchronizing" in str(warning.message)]
