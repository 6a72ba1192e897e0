"""Attention backends, registered with transformers' AttentionInterface: cudnn, xformers, varlen, sdpa, eager.

Each takes packed tokens [1, tokens] and what it needs to keep rows apart as keywords, which the model hands through to
its layers. sdpa and eager pad the packed tokens for the attention alone, as tightly as the batch allows; the
others also take padded batches, and pack them for the attention alone; for padded batches under sdpa and eager there
are transformers' own functions. A layer with a sliding window names it, and each backend heeds it: varlen by itself,
cudnn by varlen, sdpa and eager by a mask, xformers in tiles. Under autocast the rotated queries and keys come in
float32, and are brought to the values' dtype. Which backend works where is for `availability`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

from gte_surgery.model import cudnn_library
from gte_surgery.model.packing import Packing, Slots
from gte_surgery.model.windows import Tiles

Backend = Literal["cudnn", "xformers", "varlen", "sdpa", "eager"]
BACKENDS: tuple[Backend, ...] = ("cudnn", "xformers", "varlen", "sdpa", "eager")
Attention = Callable[..., tuple[Tensor, None]]
_ASIDE = ("window_size_left", "window_size_right")


def implementation(backend: Backend, is_packed: bool) -> str:
    """The name by which transformers finds the attention function."""
    if backend in ("sdpa", "eager") and not is_packed:
        return backend
    return f"gte_surgery.{backend}.{'packed' if is_packed else 'padded'}"


def keywords(backend: Backend, packing: Packing, is_packed: bool) -> dict[str, object]:
    """What the backend's function needs besides the tokens; made once a batch and shared by all layers."""
    if backend in ("sdpa", "eager"):
        return {"slots": packing.slots} if is_packed else {}
    needed: dict[str, object] = {} if is_packed else {"packing": packing}
    if backend == "xformers":
        return needed | {"blocks": _block_mask(packing), "tiles_of": packing.tiles}
    # At least 2: a compiled graph would treat 1 as a constant and be made anew for it.
    return needed | {"cu_seqlens": packing.cu_seqlens, "longest": max(packing.longest, 2)}


def _block_mask(packing: Packing) -> object:
    from xformers.ops.fmha.attn_bias import BlockDiagonalMask

    return BlockDiagonalMask.from_seqlens(packing.lengths, device=packing.cu_seqlens.device)


def _xformers(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, /,
    blocks: object, tiles_of: Callable[[int], Tiles], scaling: float, dropout: float = 0.0,
    sliding_window: int | None = None, **unused: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """[1, heads, tokens, size] → [1, tokens, heads, size]; `blocks` is a BlockDiagonalMask."""
    from xformers.ops import memory_efficient_attention

    if sliding_window is not None:
        queries, keys, values = (tensor.transpose(1, 2).to(value.dtype)[0] for tensor in (query, key, value))
        tiles = tiles_of(sliding_window - 1)
        bias = tiles.bias(value.dtype, query.shape[1])
        spread = (tiles.spread(queries), tiles.around(keys), tiles.around(values))
        return tiles.gather(memory_efficient_attention(*spread, attn_bias=bias, p=dropout, scale=scaling)), None
    packed = (tensor.transpose(1, 2).to(value.dtype) for tensor in (query, key, value))
    return memory_efficient_attention(*packed, attn_bias=blocks, p=dropout, scale=scaling), None


def _varlen(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, /,
    cu_seqlens: Tensor, longest: int, sliding_window: int | None = None, **unused: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """[1, heads, tokens, size] → [1, tokens, heads, size]. Its scale is size ** -0.5, as in every GTE; no dropout.

    It is the operator inside torch.nn.attention.varlen, without the layers of Python around it that take as long as a
    small batch's whole attention.
    """
    query, key, value = (tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value))
    attend = torch.ops.aten._flash_attention_forward
    aside = {} if sliding_window is None else dict.fromkeys(_ASIDE, sliding_window - 1)
    attended, *_ = attend(query, key, value, cu_seqlens, cu_seqlens, longest, longest, 0.0, False, False, **aside)
    return torch.as_tensor(attended).unsqueeze(0), None


def cudnn(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, /,
    cu_seqlens: Tensor, longest: int, sliding_window: int | None = None, **unused: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """As `_varlen`, which serves layers with a window."""
    if sliding_window is not None:
        return _varlen(module, query, key, value, mask, cu_seqlens, longest, sliding_window)
    together = torch.stack([tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value)], 1)
    offsets = cudnn_library.offsets(cu_seqlens, *together.shape[2:])
    return cudnn_library.attend(together, offsets, longest)[0].unsqueeze(0), None


def _sdpa(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, /,
    slots: Slots, scaling: float, dropout: float = 0.0, sliding_window: int | None = None, **unused: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """[1, heads, tokens, size] → [1, tokens, heads, size]."""
    queries, keys, values = (slots.spread(tensor) for tensor in (query, key, value))
    attended = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=slots.seen(sliding_window), dropout_p=dropout, scale=scaling
    )
    return slots.gather(attended), None


def _eager(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, /,
    slots: Slots, scaling: float, dropout: float = 0.0, sliding_window: int | None = None, **unused: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """[1, heads, tokens, size] → [1, tokens, heads, size]."""
    queries, keys, values = (slots.spread(tensor) for tensor in (query, key, value))
    scores = queries @ keys.transpose(2, 3) * scaling
    weights = scores.masked_fill(~slots.seen(sliding_window), torch.finfo(scores.dtype).min).softmax(-1)
    return slots.gather(functional.dropout(weights, p=dropout) @ values), None


def _over_padded(attend: Attention) -> Attention:
    """The same attention for [rows, heads, width, size] → [rows, width, heads, size]."""

    def attend_padded(
        module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, /,
        packing: Packing, **others: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        packed = (packing.pack(tensor.transpose(1, 2)).transpose(1, 2) for tensor in (query, key, value))
        attended, _ = attend(module, *packed, mask, **others)
        return packing.unpack(attended), None

    return attend_padded


_ATTEND: dict[Backend, Attention] = {
    "cudnn": cudnn, "xformers": _xformers, "varlen": _varlen, "sdpa": _sdpa, "eager": _eager
}  # fmt: skip
for _backend, _attend in _ATTEND.items():
    AttentionInterface.register(f"gte_surgery.{_backend}.packed", _attend)
    AttentionInterface.register(f"gte_surgery.{_backend}.padded", _over_padded(_attend))
