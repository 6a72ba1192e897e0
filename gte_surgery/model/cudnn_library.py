"""Attention over packed rows by cuDNN's own kernels, through NVIDIA's package nvidia-cudnn-frontend, as an operator.

On a Hopper card they take two thirds of the time that torch's flash kernels take on long rows, and read and write
queries, keys and values where they lie, in one tensor. torch can call them too (aten._cudnn_attention_forward), but up
to 2.11 plans anew in every call, for a twentieth of a second. Here a plan is kept for every shape, rows and longest row
rounded up to powers of two, in each thread, which has a handle of its own: a backward runs in a thread of its own.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gte_surgery.model.packing import power_of_two

_MOST_NUMBERS = (1 << 31) - 1
"""Offsets into the packed numbers are 32 bits wide."""
_SLACK = 4
"""Numbers behind the begins of the rows, of which one is the end: all offsets lie at multiples of 16 bytes."""
_GIVEN, _MADE = ("query", "key", "value"), ("of_query", "of_key", "of_value")


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


def offsets(cu_seqlens: Tensor, heads: int, size: int) -> Tensor:
    """What `attend` must know of the rows, [lengths and begins in each kind of tensor, rows and some behind without
    tokens] int32: the same for all layers.
    """
    rows = power_of_two(max(len(cu_seqlens) - 1, _SLACK))
    begins = torch.cat((cu_seqlens, cu_seqlens[-1:].expand(rows + _SLACK - len(cu_seqlens))))
    return torch.stack([functional.pad(begins.diff(), (0, 1)), *(begins * step for step in _steps(heads, size))])


def _steps(heads: int, size: int) -> tuple[int, ...]:
    """How many numbers lie between those of a token and of the next: of logarithms, of states, of all three."""
    return heads, heads * size, 3 * heads * size


@torch.library.custom_op("gte_surgery::cudnn_attention", mutates_args=())
def attend(together: Tensor, offsets: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """[tokens, 3, heads, size], queries, keys and values in float16 or bfloat16 → [tokens, heads, size], and the
    logarithms [tokens, heads, 1] that the backward needs. The scale is size ** -0.5. What lies behind the last row is
    not written.
    """
    together = together.contiguous()
    found, sums = _outputs(together)
    _run(_forward, together, offsets, longest, **_apart(_GIVEN, together), found=found, sums=sums)
    return found, sums


@attend.register_fake
def _outputs(together: Tensor, offsets: object = None, longest: object = None) -> tuple[Tensor, Tensor]:
    tokens, _, heads, size = together.shape
    return together.new_empty(tokens, heads, size), together.new_empty(tokens, heads, 1, dtype=torch.float32)


@torch.library.custom_op("gte_surgery::cudnn_attention_backward", mutates_args=())
def _backward_of(given: Tensor, together: Tensor, found: Tensor, sums: Tensor, offsets: Tensor, longest: int) -> Tensor:
    given, together = given.contiguous(), together.contiguous()
    made = torch.empty_like(together)
    tensors = _apart(_GIVEN, together) | _apart(_MADE, made) | {"found": found, "sums": sums, "given": given}
    _run(_backward, together, offsets, longest, **tensors)
    return made


@_backward_of.register_fake
def _(given: Tensor, together: Tensor, *others: object) -> Tensor:
    return together.new_empty(together.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.longest = inputs
    ctx.save_for_backward(*tensors, *output)


def _differentiate(ctx: Any, given: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    together, offsets, found, sums = ctx.saved_tensors
    return _backward_of(given, together, found, sums, offsets, ctx.longest), None, None


attend.register_autograd(_differentiate, setup_context=_keep)


def _apart(names: tuple[str, ...], together: Tensor) -> dict[str, Tensor]:
    return dict(zip(names, together.unbind(1), strict=True))


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
    def of(cls, together: Tensor, offsets: Tensor, longest: int) -> Shape:
        """The next that holds the batch."""
        rows, (_, _, heads, size) = offsets.shape[1] - _SLACK, together.shape
        return cls(rows, max(power_of_two(longest), 128), heads, size, together.dtype, together.device)

    def step(self, name: str) -> int:
        """How many numbers lie between those of a token and of the next."""
        return _steps(self.heads, self.size)[{"sums": 0, "found": 1, "given": 1}.get(name, 2)]

    @property
    def names(self) -> dict[str, int]:
        """What each row of the offsets is called, and how many of its numbers are used."""
        begins = {f"begins {step}": self.rows + 1 for step in _steps(self.heads, self.size)}
        return {"counts": self.rows} | begins


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
        self.tensors: dict[str, Any] = {
            name: self.graph.tensor(name=name, dim=[length, 1, 1, 1], stride=[1, 1, 1, 1], data_type=self.kinds.INT32)
            for name, length in shape.names.items()
        }
        counts = self.tensors["counts"]
        self.options = {"attn_scale": shape.size**-0.5, "use_padding_mask": True}
        self.options |= {"seq_len_q": counts, "seq_len_kv": counts}

    def take(self, *names: str) -> list[Any]:
        """Tensors that are read."""
        return [self._placed(name, self.graph.tensor(name=name, **self._layout(name))) for name in names]

    def give(self, names: tuple[str, ...], made: Iterable[Any]) -> _Plan:
        """Tensors that are written; the plan is then built."""
        for name, tensor in zip(names, made, strict=True):
            layout = self._layout(name)
            tensor.set_output(True).set_data_type(layout["data_type"]).set_dim(layout["dim"])
            self._placed(name, tensor.set_stride(layout["stride"]))
        self.graph.build([_library().heur_mode.A])
        return self

    def _layout(self, name: str) -> dict[str, Any]:
        """[rows, heads, longest, size] in memory as [tokens, heads, size]."""
        shape, step = self.shape, self.shape.step(name)
        size, kind = (1, self.kinds.FLOAT) if name == "sums" else (shape.size, self.kind)
        dim, stride = [shape.rows, shape.heads, shape.longest, size], [shape.longest * step, size, step, 1]
        return {"dim": dim, "stride": stride, "data_type": kind}

    def _placed(self, name: str, tensor: Any) -> Any:
        tensor.set_ragged_offset(self.tensors[f"begins {self.shape.step(name)}"])
        self.tensors[name] = tensor
        return tensor

    def run(self, handle: Any, tensors: dict[str, Tensor]) -> None:
        device = self.shape.device
        space = torch.empty(max(self.graph.get_workspace_size(), 1), dtype=torch.uint8, device=device)
        _library().set_stream(handle=handle, stream=torch.cuda.current_stream(device).cuda_stream)
        self.graph.execute({self.tensors[name]: tensor for name, tensor in tensors.items()}, space, handle=handle)


def _forward(shape: Shape, handle: Any) -> _Plan:
    plan = _Plan(shape, handle)
    query, key, value = plan.take(*_GIVEN)
    made = plan.graph.sdpa(name="forward", q=query, k=key, v=value, is_inference=False, **plan.options)
    return plan.give(("found", "sums"), made)


def _backward(shape: Shape, handle: Any) -> _Plan:
    plan = _Plan(shape, handle)
    query, key, value, found, given, sums = plan.take(*_GIVEN, "found", "given", "sums")
    made = plan.graph.sdpa_backward(
        name="backward", q=query, k=key, v=value, o=found, dO=given, stats=sums, **plan.options
    )
    return plan.give(_MADE, made)


def _run(
    make: Callable[[Shape, Any], _Plan], together: Tensor, offsets: Tensor, longest: int, **tensors: Tensor
) -> None:
    if together.numel() > _MOST_NUMBERS:
        most = _MOST_NUMBERS // together[0].numel()
        raise ValueError(f"{len(together)} tokens at once, cuDNN's offsets reach {most}")
    shape = Shape.of(together, offsets, longest)
    with torch.cuda.device(together.device):
        if together.device not in _plans.handles:
            _plans.handles[together.device] = _library().create_handle()
        handle = _plans.handles[together.device]
        if (make, shape) not in _plans.made:
            _plans.made[make, shape] = make(shape, handle)
        _plans.made[make, shape].run(handle, tensors | dict(zip(shape.names, offsets, strict=True)))
