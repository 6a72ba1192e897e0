"""Batches that a checkpoint must take: random ones of ids of its own vocabulary, rows long, short and of one token;
the same rows in the ids of two checkpoints; and rows that are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gte_surgery.gte.fields import LARGEST_SIZE, GteConfig
from gte_surgery.gte.wording import counted

Tensors = dict[str, Tensor]
MORE_PADDING = 16
PAIRED_LENGTHS = (1, 2, 3, 17, 64)
"""Tokens of the rows of two checkpoints, beside one that is as long as may be."""
PAIRED_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Ids:
    """Which ids a checkpoint's batches may hold: sizes of its tables, and the special ids that its tokenizer names."""

    vocab_size: int
    pad: int
    type_vocab_size: int
    max_length: int
    first: int | None = None
    mask: int | None = None

    @classmethod
    def of(cls, config: GteConfig, special: dict[str, int]) -> Ids:
        """From an effective config and the tokenizer's special ids, those that the table has."""
        named = {**special, "pad": config.pad_token_id or 0}
        known = {role: number for role, number in named.items() if 0 <= number < config.vocab_size}
        return cls(
            config.vocab_size,
            known.get("pad", 0),
            config.type_vocab_size,
            config.max_position_embeddings,
            known.get("cls"),
            known.get("mask"),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """`tensors` as the model takes them; `lengths` of the rows; `most` positions that the model has for one."""

    tensors: Tensors
    lengths: tuple[int, ...]
    pad: int
    most: int = LARGEST_SIZE

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def width(self) -> int:
        return int(self.tensors["input_ids"].shape[1])

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def real(self) -> Tensor:
        """[rows, width] of booleans: where a token is."""
        return self.tensors["attention_mask"] == 1

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})

    @property
    def has_room(self) -> bool:
        """Whether there may be more padding: a table of positions ends where it ends."""
        return self.width + self._room <= self.most

    @property
    def _room(self) -> int:
        return min(MORE_PADDING, self.most - 1)

    def shortened(self) -> Batch:
        """The same rows, the longest cut, so that there may be more padding."""
        width = self.most - self._room
        cut = {name: tensor[:, :width] for name, tensor in self.tensors.items()}
        return replace(self, tensors=cut, lengths=tuple(min(length, width) for length in self.lengths))

    def wider(self) -> Batch:
        """The same rows with more padding."""
        pads = {"input_ids": self.pad}
        wide = {
            name: torch.nn.functional.pad(tensor, (0, self._room), value=pads.get(name, 0))
            for name, tensor in self.tensors.items()
        }
        return replace(self, tensors=wide)

    def reversed(self) -> Batch:
        """The same rows, last first."""
        flipped = {name: tensor.flip(0) for name, tensor in self.tensors.items()}
        return replace(self, tensors=flipped, lengths=self.lengths[::-1])

    def described(self) -> str:
        """The batch in a few words, for a finding."""
        ids = self.tensors["input_ids"]
        size = f"{counted(self.rows, 'row')} × {self.width} ({counted(self.tokens, 'token')}"
        lengths = f"lengths {min(self.lengths)} to {max(self.lengths)})"
        return f"batch of {size}, {lengths}, ids {int(ids.min())} to {int(ids.max())}"


def make_batch(ids: Ids, rows: int, max_length: int, seed: int) -> Batch:
    """A valid batch on the CPU: the first row is as long as asked, the second has one token, the rest lie between.

    Every row begins with the CLS id where the tokenizer names one; the pad id occurs as padding only.
    """
    generator = torch.Generator().manual_seed(seed)
    longest = min(max_length, ids.max_length)
    lengths = torch.randint(1, longest + 1, (rows,), generator=generator)
    lengths[0], lengths[1:2] = longest, 1
    return fill(ids, lengths, generator)


def fill(ids: Ids, lengths: Tensor, generator: torch.Generator) -> Batch:
    """A batch with random ids in rows of these lengths, padded on the right."""
    rows, width = len(lengths), int(lengths.max())
    # One of the ids that are not the pad: those above it are counted one lower.
    drawn = torch.randint(0, max(ids.vocab_size - 1, 1), (rows, width), generator=generator)
    tokens = drawn + (drawn >= ids.pad) if ids.vocab_size > 1 else drawn
    if ids.first is not None:
        tokens[:, 0] = ids.first
    types = None
    if ids.type_vocab_size > 1:
        types = torch.randint(0, ids.type_vocab_size, (rows, width), generator=generator)
    return _batch(tokens, lengths, ids.pad, types, ids.max_length)


def paired(
    new: Sequence[int], old: Sequence[int], pads: tuple[int, int], longest: int, types: int
) -> Iterator[tuple[Batch, Batch]]:
    """The same rows after and before, in the ids `new` and `old` that mean the same: rows short and long, of one token,
    of the first ids, of the last, and of ids drawn from all of them.

    `pads` are the pad ids after and before, `types` the token types that both models have.
    """
    names = torch.tensor(new), torch.tensor(old)
    lengths = torch.tensor([longest, *(min(length, longest) for length in PAIRED_LENGTHS)])
    for seed in range(PAIRED_SEEDS):
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randint(0, len(new), (len(lengths), longest), generator=generator)
        edge = min(longest, len(new))
        chosen[0, :edge] = torch.arange(edge) if seed % 2 == 0 else torch.arange(len(new) - edge, len(new))
        segments = torch.randint(0, types, chosen.shape, generator=generator) if types > 1 else None
        after, before = (_batch(ids[chosen], lengths, pad, segments) for ids, pad in zip(names, pads, strict=True))
        yield after, before


def padded(rows: Sequence[Sequence[int]], pad: int) -> Batch:
    """A batch of rows of ids, on the CPU."""
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return _batch(ids, torch.tensor([len(row) for row in rows]), pad)


def _batch(ids: Tensor, lengths: Tensor, pad: int, types: Tensor | None = None, most: int = LARGEST_SIZE) -> Batch:
    """Of ids and types [rows, width] as many in each row as it is long."""
    mask = (torch.arange(ids.shape[1]) < lengths.unsqueeze(1)).long()
    tensors = {"input_ids": torch.where(mask == 1, ids, pad), "attention_mask": mask}
    if types is not None:
        tensors["token_type_ids"] = types * mask
    return Batch(tensors, tuple(lengths.tolist()), pad, most)
