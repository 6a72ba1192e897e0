"""Sliding windows over packed tokens, in tiles: a tile of tokens looks at itself and its two neighbours.

For attention that knows dense batches and a bias only. Memory grows with the tokens times the window, not with the
square of the longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_MULTIPLE = 8
"""A bias must be aligned to so many numbers."""
_NOBODY, _NOTHING = -1, -2
"""The rows of places without a token, as askers and as asked: never the same."""


@dataclass(frozen=True)
class Tiles:
    """Tokens in tiles of one width: `indices` (tokens,) into the flattened tiles, `rows` and `places` [tiles, width]
    of the batch's rows and of the positions in them, and how far a token `reach`es.
    """

    indices: Tensor
    rows: Tensor
    places: Tensor
    reach: int

    def spread(self, packed: Tensor) -> Tensor:
        """[tokens, heads, size] → [tiles, width, heads, size], zeros where no token is."""
        flat = packed.new_zeros(self.rows.numel(), *packed.shape[1:])
        return flat.index_copy(0, self.indices, packed).view(*self.rows.shape, *packed.shape[1:])

    def around(self, packed: Tensor) -> Tensor:
        """[tokens, heads, size] → [tiles, 3 width, heads, size]: of each tile also the one before and the one after."""
        padded = functional.pad(self.spread(packed), (0, 0, 0, 0, 0, 0, 1, 1))
        return torch.cat((padded[:-2], padded[1:-1], padded[2:]), 1)

    def bias(self, dtype: torch.dtype, heads: int) -> Tensor:
        """[tiles, heads, width, 3 width]: 0 where a token may look, far below it elsewhere."""
        asked_rows = _neighbours(self.rows.masked_fill(self.rows == _NOBODY, _NOTHING), _NOTHING)
        asked_places = _neighbours(self.places, 0)
        near = (self.places[:, :, None] - asked_places[:, None, :]).abs() <= self.reach
        seen = near & (self.rows[:, :, None] == asked_rows[:, None, :])
        bias = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min / 2)
        return bias[:, None].expand(-1, heads, -1, -1)

    def gather(self, tiled: Tensor) -> Tensor:
        """[tiles, width, heads, size] → [1, tokens, heads, size]."""
        return tiled.flatten(0, 1).index_select(0, self.indices).unsqueeze(0)


def tiles_of(cu_seqlens: Tensor, positions: Tensor, lengths: Sequence[int], reach: int) -> Tiles:
    """The tiles of packed rows for a window that reaches so many tokens to either side: `cu_seqlens` (rows + 1,),
    `positions` (tokens,) from 0 in every row, `lengths` on the host.
    """
    width = max(_MULTIPLE, -(-reach // _MULTIPLE) * _MULTIPLE)
    counts = [-(-length // width) for length in lengths]
    device = cu_seqlens.device
    starts = torch.tensor([0, *counts], device=device).cumsum(0)[:-1] * width
    row = torch.repeat_interleave(torch.arange(len(counts), device=device), torch.diff(cu_seqlens).long())
    indices = starts[row] + positions
    rows = torch.full((sum(counts) * width,), _NOBODY, device=device).index_copy(0, indices, row)
    places = torch.zeros_like(rows).index_copy(0, indices, positions)
    return Tiles(indices, rows.view(-1, width), places.view(-1, width), reach)


def _neighbours(tiles: Tensor, outside: int) -> Tensor:
    """[tiles, width] → [tiles, 3 width]."""
    padded = functional.pad(tiles, (0, 0, 1, 1), value=outside)
    return torch.cat((padded[:-2], padded[1:-1], padded[2:]), 1)
