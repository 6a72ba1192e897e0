"""The packed path compiled: one graph for what comes before the layers and one for every layer, at all sizes.

Both are compiled whole (`fullgraph`), with sizes as symbols; layers are alike, so one graph serves them all. They are
the native model's own modules over packed tokens without a dimension of rows, [tokens, hidden], except that queries,
keys and values come from one matrix product and stay one tensor, also in the backward (gate and up from one product
were measured: slower in training, alike in a forward). A layer whose activations are not kept for the backward is run
again through the same graph. The model itself stays as it is, for everything that is not packed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as _symbols
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gte.modeling_gte import GteModel, rotate_half

from gte_surgery.model import cudnn_library
from gte_surgery.model.attention import cudnn
from gte_surgery.model.packing import Packing

_FIXED_ROPES = ("default", "linear")
_OPTIONS = {
    "fallback_random": True,
    "max_autotune_pointwise": True,
    "online_softmax": False,
    "triton.enable_pdl": True,
    "triton.mix_order_reduction_non_strict_mode": True,
}
"""Of these, what this torch knows. Dropout draws as it does uncompiled: the same masks from the same seed, and a third
of the time, for inductor's own kernels make four random numbers to use one. Kernels between the products are tried in
more shapes, which takes seconds more and a thirtieth off a step. Gradients of layer norms are summed alike for few
tokens and for many: else the graph of a small batch would not hold for a large one. A softmax is made in two passes,
else inductor warns where it finds by itself that one would not do. A kernel begins while the one before it ends, on
Hopper cards and later: a tenth to a fifth more tokens a second of a forward from graphs.
"""
_NO_ROW = (1 << 31) - 1
GRAPHS = 2
"""As many serve every batch that is given by the same members."""


def is_compilable(body: Any) -> bool:
    """Whether the layers are those that the graphs here are written for: GteLayer's."""
    return isinstance(body, GteModel)


class CompiledBody:
    """The layers of a native model and what comes before them, compiled by one of torch's backends when first run.

    Rotary angles that depend on how long the longest row is (longrope, dynamic) cannot be in a graph; then only the
    layers are compiled.
    """

    def __init__(self, body: Any, backend: str = "inductor") -> None:
        self.body = body
        self.has_fixed_angles = body.rotary_emb.rope_type in _FIXED_ROPES
        how: dict[str, Any] = {"backend": backend, "fullgraph": True, "dynamic": True}
        if backend == "inductor":
            how["options"] = {name: _OPTIONS[name] for name in torch._inductor.list_options() if name in _OPTIONS}
        self._begin = torch.compile(_begin, **how) if self.has_fixed_angles else _begin
        self._layer = torch.compile(_layer, **how)
        self.cross_entropy = torch.compile(cross_entropy, **how)

    def can_run(self, packing: Packing) -> bool:
        """Whether the graphs hold for the batch: not for a single token, which torch would make a constant of."""
        return packing.tokens > 1

    def __call__(
        self, inputs: Mapping[str, Tensor | None], packing: Packing, attention: str, keywords: Mapping[str, object]
    ) -> Tensor:
        """The last hidden states, [1, tokens, hidden], of padded `inputs`: input_ids or inputs_embeds, token_type_ids.

        `attention` names the function that transformers' AttentionInterface knows, `keywords` are what it needs.
        """
        # Not views: a graph made for a view would hold for such shapes only as what it is a view of had.
        given = {name: tensor for name, tensor in inputs.items() if tensor is not None}
        packed = {name: tensor.flatten(0, 1).index_select(0, packing.indices) for name, tensor in given.items()}
        return self.states(packed, packing.position_ids[0].clone(), attention, keywords).unsqueeze(0)

    def states(
        self, packed: Mapping[str, Tensor], positions: Tensor, attention: str, keywords: Mapping[str, object]
    ) -> Tensor:
        """The last hidden states [tokens, hidden] of packed inputs [tokens, …] and their positions [tokens]."""
        return self.through_layers(*self.begin(packed, positions), attention, keywords)

    def begin(self, packed: Mapping[str, Tensor], positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """What goes into the layers: hidden states [tokens, hidden], cosines and sines [tokens, head size]."""
        with _distinct_symbols():
            return self._begin(self.body, packed, positions)

    def through_layers(
        self, hidden: Tensor, angles: tuple[Tensor, Tensor], attention: str, keywords: Mapping[str, object]
    ) -> Tensor:
        """The last hidden states [tokens, hidden]."""
        attend = ALL_ATTENTION_FUNCTIONS[attention]
        if attend is cudnn:
            heads, size = self.body.config.num_attention_heads, self.body.layers[0].self_attn.head_dim
            offsets = cudnn_library.offsets(torch.as_tensor(keywords["cu_seqlens"]), heads, size)
            keywords = {"offsets": offsets, "longest": keywords["longest"]}
        with _distinct_symbols():
            for layer in self.body.layers:
                hidden = self._through(layer, hidden, angles, attend, keywords)
        return hidden

    def _through(self, layer: Any, *given: Any) -> Tensor:
        """The layer's graph; run a second time in the backward where the layer is told to keep no activations."""
        if layer.gradient_checkpointing and layer.training and torch.is_grad_enabled():
            return torch.as_tensor(layer._gradient_checkpointing_func(self._layer, layer, *given))
        return self._layer(layer, *given)


def _begin(body: Any, packed: Mapping[str, Tensor], positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Packed inputs [tokens, …] → hidden states [tokens, hidden], cosines and sines [tokens, head size]. Inductor of
    torch 2.11 counts a negative id from the table's end; it becomes one that no table has, as uncompiled an error.
    """
    looked_up = {
        name: each if each.is_floating_point() else each.where(each >= 0, _NO_ROW) for name, each in packed.items()
    }
    hidden = body.embeddings(**looked_up)
    cosines, sines = body.rotary_emb(hidden, positions.unsqueeze(0))  # transformers 5.18 takes rows of positions only
    return hidden, (cosines.squeeze(0), sines.squeeze(0))


def cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Of logits [places, vocabulary] in any dtype, summed in float32."""
    return functional.cross_entropy(logits.float(), wanted, reduction="sum")


def _layer(
    layer: Any,
    hidden: Tensor,
    angles: tuple[Tensor, Tensor],
    attend: Callable[..., tuple[Tensor, None]],
    keywords: Mapping[str, object],
) -> Tensor:
    """What the layer does, [tokens, hidden] → [tokens, hidden] [transformers modeling_gte.py, GteLayer]."""
    attended = _attention(layer.self_attn, hidden, angles, attend, keywords)
    hidden = layer.post_attention_layernorm(hidden + layer.post_attention_dropout(attended))
    return torch.as_tensor(layer.post_mlp_layernorm(hidden + layer.post_mlp_dropout(layer.mlp(hidden))))


def _attention(
    attention: Any,
    hidden: Tensor,
    angles: tuple[Tensor, Tensor],
    attend: Callable[..., tuple[Tensor, None]],
    keywords: Mapping[str, object],
) -> Tensor:
    """[tokens, hidden] → [tokens, hidden] [transformers modeling_gte.py, GteAttention]."""
    together = _turned(_projected(attention, hidden).view(len(hidden), 3, -1, attention.head_dim), *angles)
    if attend is cudnn:
        attended, _ = cudnn_library.attend(together, **keywords)
    else:
        packed = (each.transpose(0, 1).unsqueeze(0) for each in together.unbind(1))
        dropout = attention.attention_dropout if attention.training else 0.0
        attended, _ = attend(attention, *packed, None, dropout=dropout, scaling=attention.scaling, **keywords)
    return torch.as_tensor(attention.o_proj(attended.reshape(len(hidden), -1)))


def _projected(attention: Any, hidden: Tensor) -> Tensor:
    """Queries, keys and values, one behind the other; by one product where the projections are what they were made as,
    not adapted ones.
    """
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    if any(type(each) is not nn.Linear for each in projections):
        return torch.cat([each(hidden) for each in projections], -1)
    weight, bias = (torch.cat([getattr(each, name) for each in projections]) for name in ("weight", "bias"))
    return functional.linear(hidden, weight, bias)


def _turned(together: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """[tokens, 3, heads, size], of which queries and keys are rotated by the angles [tokens, size]; the values by none,
    so that all are one tensor, forward and backward [transformers modeling_gte.py, apply_rotary_pos_emb].
    """
    is_value = torch.arange(3, device=together.device)[:, None, None] == 2
    cosines, sines = torch.where(is_value, 1, cosines[:, None, None]), torch.where(is_value, 0, sines[:, None, None])
    return torch.as_tensor(together * cosines + rotate_half(together) * sines).to(together.dtype)


@contextmanager
def _distinct_symbols() -> Iterator[None]:
    """Sizes that happen to be equal in the first batch stay different symbols, or the graph would hold for such
    batches only; torch calls the assumption duck shapes.
    """
    with _symbols.patch(use_duck_shape=False):  # type: ignore[attr-defined]
        yield


def graphs_made() -> int:
    """How many graphs were compiled in this process so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])
