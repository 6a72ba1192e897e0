"""Attention over packed rows by cuDNN's own kernels, through NVIDIA's package nvidia-cudnn-frontend, as an operator.

On a Hopper card they take two thirds of the time that torch's flash kernels take on long rows. torch can call them too
(aten._cudnn_attention_forward), but up to 2.11 plans anew in every call, for a twentieth of a second. Here a plan is
kept for every shape, rows and longest row rounded up to powers of two, in each thread, which has a handle of its own:
a backward runs in a thread of its own.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

_MOST_NUMBERS = (1 << 31) - 1
"""Offsets into the packed numbers are 32 bits wide."""


@cache
def trouble() -> str:
    """Why the package cannot be used here, and what to do; "" when it can."""
    if importlib.util.find_spec("cudnn") is None:
        return "not installed: pip install nvidia-cudnn-frontend"
    try:
        _library()
    except (ImportError, OSError, AssertionError) as error:
        return f"installed, but did not load: {' '.join(str(error).split())[:200]}"
    return ""


@cache
def _library() -> Any:
    # Where a second CUDA runtime is to be found, as that of xformers, it must be told which one torch has.
    release = (torch.version.cuda or "").partition(".")[0]
    os.environ.setdefault("CUDNN_FRONTEND_CUDART_LIB_NAME", f"libcudart.so.{release}")
    import cudnn

    return cudnn


@torch.library.custom_op("gte_surgery::cudnn_attention", mutates_args=())
def attend(query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """[tokens, heads, size], float16 or bfloat16, alike → the same, and the logarithms [tokens, heads, 1] that the
    backward needs. The scale is size ** -0.5. What lies behind the last of `cu_seqlens` is not written.
    """
    query, key, value = (tensor.contiguous() for tensor in (query, key, value))
    found, sums = torch.empty_like(query), query.new_empty(*query.shape[:2], 1, dtype=torch.float32)
    _run(_forward, query, cu_seqlens, longest, query=query, key=key, value=value, found=found, sums=sums)
    return found, sums


@attend.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    return query.new_empty(query.shape), query.new_empty(*query.shape[:2], 1, dtype=torch.float32)


@torch.library.custom_op("gte_surgery::cudnn_attention_backward", mutates_args=())
def _backward_of(
    given: Tensor, query: Tensor, key: Tensor, value: Tensor, found: Tensor, sums: Tensor, cu_seqlens: Tensor,
    longest: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    query, key, value, given = (tensor.contiguous() for tensor in (query, key, value, given))
    made = (torch.empty_like(query), torch.empty_like(query), torch.empty_like(query))
    gradients = dict(zip(("of_query", "of_key", "of_value"), made, strict=True))
    saved = {"query": query, "key": key, "value": value, "found": found, "sums": sums, "given": given}
    _run(_backward, query, cu_seqlens, longest, **saved, **gradients)
    return made


@_backward_of.register_fake
def _(
    given: Tensor, query: Tensor, key: Tensor, value: Tensor, found: Tensor, sums: Tensor, cu_seqlens: Tensor,
    longest: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return query.new_empty(query.shape), query.new_empty(query.shape), query.new_empty(query.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.longest = inputs
    ctx.save_for_backward(*tensors, *output)


def _differentiate(ctx: Any, given: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, cu_seqlens, found, sums = ctx.saved_tensors
    return *_backward_of(given, query, key, value, found, sums, cu_seqlens, ctx.longest), None, None


attend.register_autograd(_differentiate, setup_context=_keep)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a plan is for."""

    rows: int
    longest: int
    heads: int
    size: int
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, query: Tensor, cu_seqlens: Tensor, longest: int) -> Shape:
        """The next that holds the batch."""
        rows, (_, heads, size) = len(cu_seqlens) - 1, query.shape
        return cls(_power(rows), max(_power(longest), 128), heads, size, query.dtype, query.device)

    def ragged(self, cu_seqlens: Tensor) -> dict[str, Tensor]:
        """Where the rows begin, in tokens' numbers and in sums, and how long they are; rows without tokens behind."""
        missing = self.rows + 1 - len(cu_seqlens)
        begins = torch.cat((cu_seqlens, cu_seqlens[-1:].expand(missing))) if missing else cu_seqlens
        return {"begins": begins * (self.heads * self.size), "sum_begins": begins * self.heads, "counts": begins.diff()}


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()


class _Plans(threading.local):
    """This thread's handles and plans."""

    def __init__(self) -> None:
        self.handles: dict[torch.device, Any] = {}
        self.made: dict[object, _Plan] = {}


_plans = _Plans()


class _Plan:
    """A graph of cuDNN's, and its tensors by name."""

    def __init__(self, shape: Shape, handle: Any) -> None:
        cudnn = _library()
        self.shape, self.kinds = shape, cudnn.data_type
        self.kind = self.kinds.HALF if shape.dtype is torch.float16 else self.kinds.BFLOAT16
        wide = {"intermediate_data_type": self.kinds.FLOAT, "compute_data_type": self.kinds.FLOAT}
        self.graph = cudnn.pygraph(io_data_type=self.kind, handle=handle, **wide)
        self.tensors: dict[str, Any] = {}
        for name, length in (("begins", shape.rows + 1), ("sum_begins", shape.rows + 1), ("counts", shape.rows)):
            self.tensors[name] = self.graph.tensor(
                name=name, dim=[length, 1, 1, 1], stride=[1, 1, 1, 1], data_type=self.kinds.INT32
            )
        counts = self.tensors["counts"]
        self.options = {"attn_scale": shape.size**-0.5, "use_padding_mask": True}
        self.options |= {"seq_len_q": counts, "seq_len_kv": counts}

    def take(self, *names: str) -> list[Any]:
        """Tensors that are read."""
        return [self._placed(name, self.graph.tensor(name=name, **self._layout(name))) for name in names]

    def give(self, **made: Any) -> None:
        """Tensors that are written."""
        for name, tensor in made.items():
            layout = self._layout(name)
            tensor.set_output(True).set_data_type(layout["data_type"]).set_dim(layout["dim"])
            self._placed(name, tensor.set_stride(layout["stride"]))

    def _layout(self, name: str) -> dict[str, Any]:
        """[rows, heads, longest, size] in memory as [tokens, heads, size]."""
        shape, size = self.shape, 1 if name == "sums" else self.shape.size
        stride = [shape.longest * shape.heads * size, size, shape.heads * size, 1]
        kind = self.kinds.FLOAT if name == "sums" else self.kind
        return {"dim": [shape.rows, shape.heads, shape.longest, size], "stride": stride, "data_type": kind}

    def _placed(self, name: str, tensor: Any) -> Any:
        tensor.set_ragged_offset(self.tensors["sum_begins" if name == "sums" else "begins"])
        self.tensors[name] = tensor
        return tensor

    def built(self) -> _Plan:
        self.graph.build([_library().heur_mode.A])
        return self

    def run(self, handle: Any, tensors: dict[str, Tensor]) -> None:
        device = self.shape.device
        space = torch.empty(max(self.graph.get_workspace_size(), 1), dtype=torch.uint8, device=device)
        _library().set_stream(handle=handle, stream=torch.cuda.current_stream(device).cuda_stream)
        self.graph.execute({self.tensors[name]: tensor for name, tensor in tensors.items()}, space, handle=handle)


def _forward(shape: Shape, handle: Any) -> _Plan:
    plan = _Plan(shape, handle)
    query, key, value = plan.take("query", "key", "value")
    found, sums = plan.graph.sdpa(name="forward", q=query, k=key, v=value, is_inference=False, **plan.options)
    plan.give(found=found, sums=sums)
    return plan.built()


def _backward(shape: Shape, handle: Any) -> _Plan:
    plan = _Plan(shape, handle)
    query, key, value, found, given, sums = plan.take("query", "key", "value", "found", "given", "sums")
    of_query, of_key, of_value = plan.graph.sdpa_backward(
        name="backward", q=query, k=key, v=value, o=found, dO=given, stats=sums, **plan.options
    )
    plan.give(of_query=of_query, of_key=of_key, of_value=of_value)
    return plan.built()


def _run(
    make: Callable[[Shape, Any], _Plan], like: Tensor, cu_seqlens: Tensor, longest: int, **tensors: Tensor
) -> None:
    if like.numel() > _MOST_NUMBERS:
        raise ValueError(f"{len(like)} tokens at once, cuDNN's offsets reach {_MOST_NUMBERS // like[0].numel()}")
    shape = Shape.of(like, cu_seqlens, longest)
    with torch.cuda.device(like.device):
        if like.device not in _plans.handles:
            _plans.handles[like.device] = _library().create_handle()
        handle = _plans.handles[like.device]
        if (make, shape) not in _plans.made:
            _plans.made[make, shape] = make(shape, handle)
        _plans.made[make, shape].run(handle, tensors | shape.ragged(cu_seqlens))
