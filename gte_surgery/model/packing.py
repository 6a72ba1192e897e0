"""Packing: the real tokens of a padded batch, row after row without the pads, and the way back.

Everything that a batch needs is made here once, with a single wait for the device. Attention over packed tokens is for
`attention`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from gte_surgery.errors import UsageError
from gte_surgery.model.windows import Tiles, tiles_of


@dataclass(frozen=True)
class Packing:
    """Where the real tokens of a batch [rows, width] lie. Not slotted: the cached properties live in the instance.

    `indices` (tokens,) int64: their places in the flattened batch. `cu_seqlens` (rows + 1,) int32: where each row
    begins among them, and their number. `position_ids` (1, tokens): from 0 in every row. `lengths`: tokens of each row,
    on the host.
    """

    indices: Tensor
    cu_seqlens: Tensor
    position_ids: Tensor
    lengths: tuple[int, ...]
    width: int
    _tiles: dict[int, Tiles] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def longest(self) -> int:
        return max(self.lengths)

    @property
    def is_full(self) -> bool:
        """Whether there is nothing to leave out."""
        return self.tokens == self.rows * self.width

    @cached_property
    def slots(self) -> Slots:
        """The tightest padded form."""
        return _slots(self)

    def tiles(self, reach: int) -> Tiles:
        """Those in which sliding windows that reach so far are computed."""
        if reach not in self._tiles:
            self._tiles[reach] = tiles_of(self.cu_seqlens, self.position_ids[0], self.lengths, reach)
        return self._tiles[reach]

    def pack(self, padded: Tensor) -> Tensor:
        """[rows, width, …] → [1, tokens, …]."""
        if self.is_full:
            return padded.flatten(0, 1).unsqueeze(0)
        return padded.flatten(0, 1).index_select(0, self.indices).unsqueeze(0)

    def unpack(self, packed: Tensor) -> Tensor:
        """[1, tokens, …] → [rows, width, …], zeros where nothing was kept."""
        if self.is_full:
            return packed[0].reshape(self.rows, self.width, *packed.shape[2:])
        flat = packed.new_zeros(self.rows * self.width, *packed.shape[2:])
        return flat.index_copy(0, self.indices, packed[0]).view(self.rows, self.width, *packed.shape[2:])

    def first(self, packed: Tensor) -> Tensor:
        """The first token of each row, the CLS position: [1, tokens, …] → [rows, …]."""
        return packed[0].index_select(0, self.cu_seqlens[:-1])


@dataclass(frozen=True)
class Slots:
    """The tightest padded form of a packing, for attention that knows padded batches only.

    `indices` (tokens,) int64 into the flattened [rows, longest]; `mask` (rows, 1, 1, longest), true where a token is.
    Both sizes are at least 2: a compiled graph would treat 1 as a constant and be made anew for it.
    """

    indices: Tensor
    mask: Tensor
    rows: int
    longest: int

    def seen(self, sliding_window: int | None) -> Tensor:
        """What each token may look at: all tokens of its row, or those less than `sliding_window` places away."""
        if sliding_window is None:
            return self.mask
        places = torch.arange(self.longest, device=self.mask.device)
        near = (places[:, None] - places[None, :]).abs() < sliding_window
        # A pad that sees nothing would be NaN; it sees itself, and nobody looks at it.
        return (self.mask & near) | torch.eye(self.longest, dtype=torch.bool, device=self.mask.device)

    def spread(self, packed: Tensor) -> Tensor:
        """[1, heads, tokens, size] → [rows, heads, longest, size], zeros where no token is."""
        flat = packed.new_zeros(self.rows * self.longest, packed.shape[1], packed.shape[3])
        flat = flat.index_copy(0, self.indices, packed[0].transpose(0, 1))
        return flat.view(self.rows, self.longest, *flat.shape[1:]).transpose(1, 2)

    def gather(self, padded: Tensor) -> Tensor:
        """[rows, heads, longest, size] → [1, tokens, heads, size]."""
        return padded.transpose(1, 2).flatten(0, 1).index_select(0, self.indices).unsqueeze(0)


def power_of_two(number: int) -> int:
    """The smallest that is not less."""
    return 1 << (number - 1).bit_length()


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; from the CPU without waiting for what the device is at."""
    return tensor if tensor.device == device else tensor.pin_memory().to(device, non_blocking=True)


def pack_mask(mask: Tensor, device: torch.device | None = None) -> Packing:
    """The packing of an attention mask [rows, width] of 1 and 0, integers or booleans, wherever the ones stand.

    Waits for the mask's device once, for the lengths. A mask on the CPU beside tokens on `device` waits for nothing:
    the device goes on with what it was given before. Raises UsageError for a float mask (an additive one would be read
    inside out) and for a row without a token.

    mask [[1, 1, 0], [1, 0, 0]] → indices [0, 1, 3], cu_seqlens [0, 2, 3], position_ids [[0, 1, 0]], lengths (2, 1)
    """
    if mask.is_floating_point() or mask.dim() != 2:
        found = f"{str(mask.dtype).removeprefix('torch.')} {list(mask.shape)}"
        raise UsageError(
            f"attention_mask: {found}, must be [rows, width] of integers 0 and 1", "1 stands for a token, 0 for a pad"
        )
    if not mask.numel():
        raise UsageError(f"attention_mask: shape {list(mask.shape)}, must hold a token", "leave empty batches out")
    counts, waiting = _enqueued(mask != 0)
    lengths = tuple(counts.tolist())
    if 0 in lengths:
        raise UsageError(f"attention_mask: row {lengths.index(0)} has no token", "leave empty rows out of the batch")
    if device is not None and device != mask.device:
        indices, positions, cu_seqlens = (sent(each, device) for each in waiting)
        waiting = indices, positions, cu_seqlens
    return _packing(waiting, lengths, mask.shape[1])


def pack_full(rows: int, width: int, device: torch.device) -> Packing:
    """The packing of a batch without pads; never waits for the device."""
    kept = torch.ones(rows, width, dtype=torch.bool, device=device)
    _, waiting = _enqueued(kept)
    return _packing(waiting, (width,) * rows, width)


def _enqueued(kept: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The tokens of each row; and `indices` and `position_ids` with a slack at the end, and `cu_seqlens`: all that can
    be made before the wait for the lengths, in few kernels, so that the device has less to wait for after it.
    """
    running = kept.cumsum(1)
    counts = running[:, -1]
    indices = kept.flatten().nonzero_static(size=kept.numel(), fill_value=0)[:, 0]
    positions = running.flatten().index_select(0, indices) - 1
    return counts, (indices, positions, functional.pad(counts.cumsum(0, dtype=torch.int32), (1, 0)))


def _packing(waiting: tuple[Tensor, Tensor, Tensor], lengths: tuple[int, ...], width: int) -> Packing:
    tokens = sum(lengths)
    indices, positions, cu_seqlens = waiting
    return Packing(indices[:tokens], cu_seqlens, positions[:tokens].unsqueeze(0), lengths, width)


def _slots(packing: Packing) -> Slots:
    rows, longest = max(packing.rows, 2), max(packing.longest, 2)
    ends = packing.cu_seqlens[1:].long()
    row = torch.bucketize(torch.arange(packing.tokens, device=ends.device), ends, right=True)
    indices = row * longest + packing.position_ids[0]
    mask = torch.zeros(rows * longest, dtype=torch.bool, device=ends.device).index_fill(0, indices, True)
    return Slots(indices, mask.view(rows, 1, 1, longest), rows, longest)
