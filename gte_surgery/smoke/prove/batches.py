"""Batches over the ids that keep their meaning, in the ids after and in those before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LENGTHS = (1, 2, 3, 17, 64)
"""Tokens of the rows, beside one that is as long as may be."""
SEEDS = 3


@dataclass(frozen=True, slots=True)
class PairedBatch:
    """The same rows twice: `after` in the new ids, `before` in the old ones; [rows, width] int64, padded right."""

    after: dict[str, Tensor]
    before: dict[str, Tensor]

    @property
    def real(self) -> Tensor:
        """[rows, width] of booleans: where a token is."""
        return self.after["attention_mask"] == 1

    @property
    def tokens(self) -> int:
        return int(self.real.sum())


def paired_batches(
    new: Sequence[int], old: Sequence[int], pads: tuple[int, int], longest: int, types: int
) -> Iterator[PairedBatch]:
    """Batches of rows short and long, of one token, of the first ids, of the last, and of ids drawn from all of them.

    `new` and `old` are the ids that mean the same, `pads` the pad ids after and before, `types` the token types that
    both models have.
    """
    names = torch.tensor(new), torch.tensor(old)
    for seed in range(SEEDS):
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.tensor([longest, *(min(length, longest) for length in LENGTHS)])
        chosen = torch.randint(0, len(new), (len(lengths), longest), generator=generator)
        edge = min(longest, len(new))
        chosen[0, :edge] = torch.arange(edge) if seed % 2 == 0 else torch.arange(len(new) - edge, len(new))
        mask = (torch.arange(longest) < lengths.unsqueeze(1)).long()
        made = [
            {"input_ids": torch.where(mask == 1, ids[chosen], pad), "attention_mask": mask}
            for ids, pad in zip(names, pads, strict=True)
        ]
        if types > 1:
            segments = torch.randint(0, types, chosen.shape, generator=generator) * mask
            made = [{**batch, "token_type_ids": segments} for batch in made]
        yield PairedBatch(*made)
