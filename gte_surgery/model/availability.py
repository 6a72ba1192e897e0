"""Which attention backend works here, why the others do not, and which one `auto` takes.

"Works" is not guessed from versions: each backend runs once on a few tokens of the model's own head size, dtype and
device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch

from gte_surgery.errors import UnavailableError, UsageError
from gte_surgery.model import cudnn_library, xformers_library
from gte_surgery.model.attention import BACKENDS, Backend, implementation, keywords
from gte_surgery.model.packing import Packing, pack_mask

_FASTEST_FIRST: tuple[Backend, ...] = ("cudnn", "varlen", "xformers", "sdpa", "eager")
"""Of those without cuDNN two compute alike fast; varlen has less around it, which small batches and training feel."""
_SHORT = 1024
"""Rows up to here, uncompiled, are for varlen: cuDNN takes longer to launch than it saves."""
_HOPPER = 9
"""The major number of the cards on which cuDNN was measured to be the fastest."""
_FASTEST_WITHOUT_PADS: Backend = "sdpa"
"""With nothing to leave out, torch's own attention over the batch as it is beats packing."""


@dataclass(frozen=True, slots=True)
class Use:
    """What attention is for: everything that decides whether a backend can serve."""

    device: torch.device
    dtype: torch.dtype
    heads: int
    head_size: int
    dropout: float = 0.0
    is_compiled: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend taken for packed and for full batches, and why those that were asked for and cannot serve cannot;
    and the one for packed batches of short rows, where it is another.
    """

    packed: Backend
    full: Backend
    refused: Mapping[Backend, str]
    short: Backend | None = None

    def backend(self, packing: Packing) -> Backend:
        """The one for the batch."""
        if packing.is_full:
            return self.full
        return self.short if self.short is not None and packing.longest <= _SHORT else self.packed


def choose(attention: str, use: Use) -> Choice:
    """The backends for a model; `attention` is "auto" or a backend's name.

    Raises UsageError for another name and UnavailableError when the named backend does not work here.
    """
    if attention != "auto" and attention not in BACKENDS:
        raise UsageError(f"attention: {attention!r}, must be auto, {', '.join(BACKENDS)}")
    asked = BACKENDS if attention == "auto" else tuple(backend for backend in BACKENDS if backend == attention)
    refused = {backend: reason for backend in asked if (reason := obstacle(backend, use))}
    if attention == "auto":
        packed = next(backend for backend in _FASTEST_FIRST if backend not in refused)
        full = packed if use.is_compiled or _FASTEST_WITHOUT_PADS in refused else _FASTEST_WITHOUT_PADS
        short: Backend | None = "varlen" if packed == "cudnn" and not use.is_compiled else None
        return Choice(packed, full, refused, short)
    (named,) = asked
    if named in refused:
        raise UnavailableError(
            f"attention {named}: {refused[named]}", "--attention auto takes one that works", "", "--attention auto"
        )
    return Choice(named, named, refused)


@cache
def obstacle(backend: Backend, use: Use) -> str:
    """Why the backend cannot serve this use; "" when it can."""
    if backend in ("sdpa", "eager"):
        return ""
    if use.device.type != "cuda":
        return f"has no operator for device {use.device.type}"
    told = _xformers_obstacle(use) if backend == "xformers" else _half_obstacle(use)
    if backend == "cudnn":
        told = told or cudnn_library.trouble() or _card_obstacle(use)
    return told or _tried(backend, use)


def _xformers_obstacle(use: Use) -> str:
    if use.is_compiled:
        return "cannot be compiled: its block mask would be a new graph for every batch"
    return xformers_library.trouble()


def _card_obstacle(use: Use) -> str:
    major, minor = torch.cuda.get_device_capability(use.device)
    return "" if major == _HOPPER else f"was measured on compute capability 9 only, not {major}.{minor}"


def _half_obstacle(use: Use) -> str:
    if use.dtype not in (torch.float16, torch.bfloat16):
        return f"takes float16 and bfloat16 only, not {str(use.dtype).removeprefix('torch.')}"
    if use.dropout > 0:
        return f"has no dropout, and attention_probs_dropout_prob is {use.dropout}"
    return ""


def _tried(backend: Backend, use: Use) -> str:
    """What happens when the backend attends over rows of 3 and 5 tokens; "" when it works."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    packing = pack_mask(torch.tensor([[1, 1, 1, 0, 0], [1] * 5], device=use.device))
    tokens = torch.zeros(1, use.heads, packing.tokens, use.head_size, device=use.device, dtype=use.dtype)
    attend = ALL_ATTENTION_FUNCTIONS[implementation(backend, is_packed=True)]
    scaling = use.head_size**-0.5
    try:
        attend(None, tokens, tokens, tokens, None, scaling=scaling, **keywords(backend, packing, is_packed=True))
    except (AttributeError, RuntimeError, ValueError, TypeError) as error:
        return f"failed on a few tokens: {' '.join(str(error).split())[:200]}"
    return ""
