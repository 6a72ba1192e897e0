"""Small batches in training on CUDA: forward and backward of the compiled layers as a pair of CUDA graphs.

A pair is for so many tokens and rows and so long a row at most, and for the dropout and the autocast that it was
captured with. Tokens behind the batch's own are rows of their own, whose gradient is zero. All pairs share the memory
of what a forward leaves for its backward: while one waits for its backward, another batch goes through `compiled`, and
so does everything that a graph cannot heed: frozen weights, hooks, checkpointing, several processes.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gte_surgery.model.compiled import CompiledBody
from gte_surgery.model.packing import Packing, power_of_two

MOST_PAIRS = 32
_PARTS = 64
"""Of the next power of two, so many steps of tokens: what lies behind a batch is computed in vain."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a graph, or a pair of them, holds at most."""

    tokens: int
    rows: int
    longest: int

    @classmethod
    def of(cls, packing: Packing) -> Size:
        """The smallest that holds the batch, and behind it rows that are no longer than its own may be."""
        step, longest = max(power_of_two(packing.tokens) // _PARTS, 128), max(power_of_two(packing.longest), 128)
        tokens = -(-packing.tokens // step) * step
        return cls(tokens, max(power_of_two(packing.rows + -(-step // longest)), 16), longest)


def modules_of(root: nn.Module) -> list[nn.Module]:
    """`root.modules()` in a quarter of its time: the device has nothing to do meanwhile."""
    found, seen = [root], {root}
    for module in found:
        for each in module._modules.values():
            if each is not None and each not in seen:
                seen.add(each)
                found.append(each)
    return found


def parameters_of(modules: list[nn.Module]) -> list[nn.Parameter]:
    """Those that the modules themselves hold, one after the other."""
    return [each for module in modules for each in module._parameters.values() if each is not None]


class _Turn:
    """One replayed forward."""

    is_over = False


class ReplayedLayers:
    """The pairs of one body. Takes and gives what `CompiledBody` does, in training on CUDA."""

    def __init__(self, compiled: CompiledBody) -> None:
        self.compiled = compiled
        self.pairs: dict[object, _Pair] = {}
        self._seen: set[object] = set()
        self._weights: tuple[int, ...] = ()
        self._lock = Lock()
        self.pool: Any = None
        self.gradients: Tensor | None = None
        self.turn: weakref.ref[_Turn] | None = None

    def __call__(
        self, given: Mapping[str, Tensor], packing: Packing, attention: str, keywords: Mapping[str, object]
    ) -> Tensor:
        """The last hidden states, [1, tokens, hidden]."""
        packed = {name: tensor.flatten(0, 1).index_select(0, packing.indices) for name, tensor in given.items()}
        hidden, angles = self.compiled.begin(packed, packing.position_ids[0].clone())
        modules = modules_of(self.compiled.body.layers)
        parameters = parameters_of(modules)
        with self._lock:
            can_replay = self._can_replay(modules, parameters)
            pair = self._pair(hidden, angles, packing, attention, modules, parameters) if can_replay else None
            if pair is not None:
                turn = _Turn()
                self.turn = weakref.ref(turn)
                replayed = _Replay.apply(pair, turn, packing, hidden, *angles, *pair.parameters)  # type: ignore[no-untyped-call]
                return torch.as_tensor(replayed).unsqueeze(0)
        return self.compiled.through_layers(hidden, angles, attention, keywords).unsqueeze(0)

    def _can_replay(self, modules: list[nn.Module], parameters: list[nn.Parameter]) -> bool:
        waiting = None if self.turn is None else self.turn()
        return (
            (waiting is None or waiting.is_over)
            and not (torch.distributed.is_available() and torch.distributed.is_initialized())
            and not any(layer.gradient_checkpointing for layer in self.compiled.body.layers)
            and not any(module._backward_hooks or module._backward_pre_hooks for module in modules)
            and all(parameter.requires_grad for parameter in parameters)
            and len({parameter.dtype for parameter in parameters}) == 1
        )

    def _pair(
        self, hidden: Tensor, angles: tuple[Tensor, Tensor], packing: Packing, attention: str,
        modules: list[nn.Module], parameters: list[nn.Parameter],
    ) -> _Pair | None:  # fmt: skip
        """The pair for the batch; None where its size is new, or too many sizes came."""
        weights = tuple(parameter.data_ptr() for parameter in parameters)
        if weights != self._weights:
            self.pairs.clear()
            self._seen.clear()
            self._weights, self.gradients, self.pool = weights, None, torch.cuda.graph_pool_handle()
        autocast = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda")
        states = tuple((module.training, module.__dict__.get("p")) for module in modules)
        key = (Size.of(packing), attention, hidden.dtype, autocast, states)
        if key not in self.pairs and key in self._seen and len(self.pairs) < MOST_PAIRS:
            self.pairs[key] = _Pair(self, key[0], hidden.detach(), angles, packing, attention)
        self._seen.add(key)
        return self.pairs.get(key)


class _Pair:
    """A captured forward and its backward, and the tensors that they read and write."""

    def __init__(
        self, owner: ReplayedLayers, size: Size, hidden: Tensor, angles: tuple[Tensor, Tensor], packing: Packing,
        attention: str,
    ) -> None:  # fmt: skip
        self.owner, self.size, layers = owner, size, owner.compiled.body.layers
        places = [(module, name) for module in layers.modules() for name in module._parameters]
        self.places = [(module, name) for module, name in places if module._parameters[name] is not None]
        self.parameters = [module._parameters[name] for module, name in self.places]
        self.sizes = [parameter.numel() for parameter in self.parameters]
        if owner.gradients is None:
            owner.gradients = torch.zeros_like(self.parameters[0]).new_zeros(sum(self.sizes))
        self.gradients = owner.gradients
        self.hidden = hidden.new_zeros(size.tokens, hidden.shape[1]).requires_grad_()
        self.angles = tuple(each.new_zeros(size.tokens, each.shape[1]) for each in angles)
        self.cu_seqlens = packing.cu_seqlens.new_zeros(size.rows + 1)
        self.fill(hidden, angles, packing)
        self._capture(attention, {"cu_seqlens": self.cu_seqlens, "longest": size.longest})

    def _capture(self, attention: str, keywords: Mapping[str, object]) -> None:
        # Under names of their own: the parameters' place in another graph of autograd would bind it to another stream.
        aliases = [nn.Parameter(parameter.detach()) for parameter in self.parameters]
        sources = [self.hidden, *aliases]
        side: Any = torch.cuda.Stream(self.hidden.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # what is made when it is first needed cannot be made during a capture
            states = self._states(aliases, attention, keywords)
            torch.autograd.grad(states, sources, torch.zeros_like(states))
        del states  # or the aliases would stay bound to this stream
        torch.cuda.current_stream().wait_stream(side)
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        how: dict[str, Any] = {"pool": self.owner.pool, "capture_error_mode": "thread_local"}
        with torch.cuda.graph(self.forward, **how):
            states = self._states(aliases, attention, keywords)
        self.given = torch.zeros_like(states)
        with torch.cuda.graph(self.backward, **how):
            self.of_hidden, *found = torch.autograd.grad(states, sources, self.given)
            torch._foreach_copy_(self._views(self.gradients), found)
        self.states = states.detach()

    def _states(self, aliases: list[nn.Parameter], attention: str, keywords: Mapping[str, object]) -> Tensor:
        """The last hidden states by the aliases, which stand in the parameters' places meanwhile."""
        cosines, sines = self.angles
        try:
            for (module, name), alias in zip(self.places, aliases, strict=True):
                module._parameters[name] = alias
            return self.owner.compiled.through_layers(self.hidden, (cosines, sines), attention, keywords)
        finally:
            for (module, name), parameter in zip(self.places, self.parameters, strict=True):
                module._parameters[name] = parameter

    def _views(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat, self.sizes)
        return [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]

    @torch.no_grad()
    def fill(self, hidden: Tensor, angles: tuple[Tensor, ...], packing: Packing) -> None:
        """The batch's own, and behind it rows as long as any may be."""
        self.hidden[: packing.tokens].copy_(hidden)
        self.hidden[packing.tokens :].zero_()
        for kept, each in zip(self.angles, angles, strict=True):
            kept[: packing.tokens].copy_(each)
        behind = torch.arange(1, self.size.rows - packing.rows + 1, device=hidden.device) * self.size.longest
        self.cu_seqlens[: packing.rows + 1].copy_(packing.cu_seqlens)
        self.cu_seqlens[packing.rows + 1 :].copy_((behind + packing.tokens).clamp(max=self.size.tokens))

    def replay_backward(self, given: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The gradients of the hidden states and of the parameters, not those of the graph but copies."""
        self.given[: len(given)].copy_(given)
        self.given[len(given) :].zero_()
        self.backward.replay()
        return self.of_hidden[: len(given)].clone(), self._views(self.gradients.clone())


class _Replay(torch.autograd.Function):
    """A pair in the graph of autograd, in which the parameters are the model's own."""

    @staticmethod
    def forward(ctx: Any, pair: _Pair, turn: _Turn, packing: Packing, hidden: Tensor, *others: Tensor) -> Tensor:
        ctx.pair, ctx.turn = pair, turn
        pair.fill(hidden, others[:2], packing)
        pair.forward.replay()
        return pair.states[: packing.tokens].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.turn.is_over:
            raise RuntimeError(
                "backward a second time: what the forward left is no longer there; compile=False keeps it"
            )
        ctx.turn.is_over = True
        of_hidden, gradients = ctx.pair.replay_backward(given)
        return None, None, None, of_hidden, None, None, *gradients
