"""How much memory is free, whether two models fit on a device at once, and the giving back of one; and what a smoke run
needs at its height, by sizes alone: refused where it is not there, before anything is loaded.

Eager attention counts whatever backend is asked for, since the others are held against it: its scores grow with the
square of the length, everything else with the length.
"""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.errors import UnavailableError
from gte_surgery.gte.wording import counted
from gte_surgery.model.encoder import MOST_LOGITS
from gte_surgery.model.load import DTYPES
from gte_surgery.smoke.batches import MORE_PADDING
from gte_surgery.smoke.speeds import LONGEST, ROWS
from gte_surgery.smoke.subject import Subject

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


_FLOAT = 4
_LEAST = 16
"""Tokens; a shorter row is no way out."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes: of `weights` with their gradients and moments, of hidden `states`, of the `scores` of eager attention."""

    weights: int
    states: int
    scores: int

    @property
    def total(self) -> int:
        return self.weights + self.states + self.scores


def require_memory(subject: Subject, processes: int) -> None:
    """Raises UnavailableError, with a length that would do, where so many processes need more than is free."""
    known = free_bytes(subject.device)
    free = host_bytes() // processes if known is None else known
    longest = subject.batch.width
    need = needed(subject, longest, processes)
    if need.total <= free:
        return
    shorter = (longest >> times for times in range(1, longest.bit_length()))
    fitting = [each for each in shorter if each >= _LEAST and needed(subject, each, processes).total <= free]
    rows = f"{counted(subject.options.batch, 'row')} of up to {counted(longest, 'token')}"
    parts = f"weights {_told(need.weights)}, states {_told(need.states)}, scores of attention {_told(need.scores)}"
    raise UnavailableError(
        f"{subject.checkpoint.name}: {rows} need about {_told(need.total)} ({parts}), "
        f"{_told(free)} are free on {subject.device}",
        "shorter rows fit" if fitting else "take a smaller --batch, or a machine with more memory",
        "",
        f"--max-length {fitting[0]}" if fitting else "",
    )


def needed(subject: Subject, longest: int, processes: int = 1) -> Need:
    """What the run needs at its height, with rows of at most so many tokens."""
    if subject.options.against is not None:
        at_once = 1 if subject.device.type == "cuda" else 2  # a GPU that has no room for both holds one after the other
        return Need(at_once * weight_bytes(subject.checkpoint, "float32"), 0, 0)
    return max(_phases(subject, longest, processes), key=lambda need: need.total)


def _phases(subject: Subject, longest: int, processes: int) -> Iterator[Need]:
    """The proofs, the timing, and the step or the training: what each holds at once."""
    options, kind, config = subject.options, subject.device.type, subject.config
    weights, lower = (weight_bytes(subject.checkpoint, name) for name in ("float32", "float16"))
    wide, feed = config.hidden_size, config.intermediate_size
    is_lowered = {*options.dtypes(kind)} != {"fp32"}
    for rows, width in ((options.batch, longest + MORE_PADDING), (ROWS[kind], min(longest, LONGEST[kind]))):
        # Before and after the mask, or the softmax.
        scores = 2 * rows * config.num_attention_heads * width * width * _FLOAT
        yield Need(weights + lower * is_lowered, rows * width * (10 * wide + 3 * feed) * _FLOAT, scores)
    layers, places = config.num_hidden_layers, options.batch * longest
    tokens = subject.batch.tokens * longest // subject.batch.width
    states = layers * (tokens * (15 * wide + 4 * feed) + places * 4 * wide) * _FLOAT
    if options.task == "mlm":
        states += 3 * min(tokens * config.vocab_size, MOST_LOGITS) * _FLOAT
    is_eager = options.attention == "eager" or (options.train and options.attention == "all")
    scores = (layers + 2) * options.batch * config.num_attention_heads * longest * longest * _FLOAT * is_eager
    # The model, its gradients; training another one, with two moments; its gradients again on several processes.
    yield Need(weights * (2 + 3 * bool(options.train) + 2 * (processes > 1)), states, scores)


def _told(nbytes: int) -> str:
    return f"{nbytes / 1e9:,.1f} GB"
