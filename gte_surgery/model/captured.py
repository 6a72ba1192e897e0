"""Small batches on CUDA, where launching kernels takes longer than they run: the compiled body as CUDA graphs.

A graph is for so many tokens, rows and so long a row at most; a batch takes the smallest that holds it. The second
batch of a size captures it, later ones replay it; all share the memory between what goes in and what comes out. What
lies beyond the batch's own tokens belongs to no row: nothing looks at it, and it is left out of what is given back.
Training is for `replayed`; larger batches and other backends go to `compiled`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from gte_surgery.model.compiled import CompiledBody
from gte_surgery.model.packing import Packing
from gte_surgery.model.replayed import ReplayedLayers, Size, modules_of, parameters_of

MOST_TOKENS = 24576
"""Larger batches keep the device busy by themselves."""
MOST_GRAPHS = 32


class CapturedBody:
    """A compiled body, with graphs of its forward for small batches. Takes and gives what `CompiledBody` does."""

    def __init__(self, compiled: CompiledBody) -> None:
        self.compiled = compiled
        self.graphs: dict[object, _Graph] = {}
        self._seen: set[object] = set()
        self._weights: tuple[int, ...] = ()
        self._lock = Lock()
        self._pool: Any = None
        self.layers = ReplayedLayers(compiled)

    def __reduce__(self) -> tuple[Callable[[CompiledBody], CapturedBody], tuple[CompiledBody]]:
        """A copy captures its own graphs."""
        return CapturedBody, (self.compiled,)

    def can_run(self, packing: Packing) -> bool:
        return self.compiled.can_run(packing)

    def __call__(
        self, inputs: Mapping[str, Tensor | None], packing: Packing, attention: str, keywords: Mapping[str, object]
    ) -> Tensor:
        given = {name: tensor for name, tensor in inputs.items() if tensor is not None}
        modules = modules_of(self.compiled.body)
        if self._is_for_graphs(given, packing, keywords, modules):
            if torch.is_grad_enabled():
                return self.layers(given, packing, attention, keywords)
            with self._lock:
                graph = self._graph(given, packing, attention, modules)
                if graph is not None:
                    return graph.replay(given, packing)
        return self.compiled(inputs, packing, attention, keywords)

    def _is_for_graphs(
        self, given: Mapping[str, Tensor], packing: Packing, keywords: Mapping[str, object], modules: list[nn.Module]
    ) -> bool:
        device, body = packing.indices.device, self.compiled.body
        return (
            device.type == "cuda"
            and packing.tokens <= MOST_TOKENS
            and (torch.is_grad_enabled() or not (body.training or torch.is_autocast_enabled("cuda")))
            and self.compiled.has_fixed_angles
            and keywords.keys() == {"cu_seqlens", "longest"}
            and all(tensor.dim() == 2 for tensor in given.values())
            and torch.cuda.current_stream(device) == torch.cuda.default_stream(device)
            and not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
        )

    def _graph(
        self, given: Mapping[str, Tensor], packing: Packing, attention: str, modules: list[nn.Module]
    ) -> _Graph | None:
        """The graph for the batch; None where its size is new, or too many sizes came."""
        weights = tuple(parameter.data_ptr() for parameter in parameters_of(modules))
        if weights != self._weights:
            self.graphs.clear()
            self._seen.clear()
            self._weights, self._pool = weights, torch.cuda.graph_pool_handle()
        size = Size.of(packing)
        key = (size, attention, *given)
        if key not in self.graphs and key in self._seen and len(self.graphs) < MOST_GRAPHS:
            self.graphs[key] = _Graph(self.compiled, size, given, packing, attention, self._pool)
        self._seen.add(key)
        return self.graphs.get(key)


class _Graph:
    """One captured forward, and the tensors that it reads and writes."""

    def __init__(
        self, compiled: CompiledBody, size: Size, given: Mapping[str, Tensor], packing: Packing, attention: str,
        pool: Any,
    ) -> None:  # fmt: skip
        device = packing.indices.device
        self.inputs = {name: torch.zeros(size.tokens, dtype=each.dtype, device=device) for name, each in given.items()}
        self.positions = torch.zeros(size.tokens, dtype=packing.position_ids.dtype, device=device)
        self.cu_seqlens = torch.zeros(size.rows + 1, dtype=torch.int32, device=device)
        self._fill(given, packing)
        asked: tuple[Any, ...] = (
            self.inputs, self.positions, attention, {"cu_seqlens": self.cu_seqlens, "longest": size.longest},
        )  # fmt: skip
        compiled.states(*asked)  # what is made when it is first needed cannot be made during a capture
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
            self.states = compiled.states(*asked)

    def _fill(self, given: Mapping[str, Tensor], packing: Packing) -> None:
        """Behind the last token the ids of earlier batches may stay, and rows without tokens follow the last."""
        for name, tensor in given.items():
            torch.index_select(tensor.flatten(0, 1), 0, packing.indices, out=self.inputs[name][: packing.tokens])
        self.positions[: packing.tokens].copy_(packing.position_ids[0])
        self.cu_seqlens.fill_(packing.tokens)
        self.cu_seqlens[: packing.rows + 1].copy_(packing.cu_seqlens)

    def replay(self, given: Mapping[str, Tensor], packing: Packing) -> Tensor:
        """The last hidden states, [1, tokens, hidden], not those of the graph but a copy."""
        self._fill(given, packing)
        self.graph.replay()
        return self.states[: packing.tokens].clone().unsqueeze(0)
