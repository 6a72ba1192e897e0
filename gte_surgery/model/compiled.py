"""Compiling the layers over packed tokens: one graph for every layer, every batch size and every length.

Each layer is compiled as a whole (`fullgraph`), with sizes as symbols; the layers are alike, so the first one's graph
serves all. Embeddings, rotary angles and heads stay as they are: they are a small part, and branch on values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.fx.experimental import _config as _symbols

from gte_surgery.model.native import body_of


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Have every layer compiled by one of torch's backends when it first runs under `compiling(True)`."""
    for layer in body_of(model).layers:  # type: ignore[union-attr]
        layer.compile(backend=backend, fullgraph=True, dynamic=True)


@contextmanager
def compiling(is_wanted: bool) -> Iterator[None]:
    """Run compiled layers compiled, or as if they had never been.

    Sizes that happen to be equal in the first batch must stay different symbols, or the graph would hold for such
    batches only; torch calls the assumption duck shapes.
    """
    with ExitStack() as stack:
        if is_wanted:
            stack.enter_context(_symbols.patch(use_duck_shape=False))  # type: ignore[attr-defined]
        else:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def graphs_made() -> int:
    """How many graphs were compiled in this process so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])
