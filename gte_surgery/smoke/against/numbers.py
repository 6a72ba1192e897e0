"""How near two sets of embeddings of the same texts are: cosines, neighbours and their order, and ranks of what is
relevant. Tensors in, numbers out; all in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

NEAREST = 10
"""Neighbours of a text that are compared, and the depth of nDCG and recall."""
_BLOCK = 1024


def cosines(before: Tensor, after: Tensor) -> Tensor:
    """The cosine of each row with its counterpart, of unit vectors [texts, hidden]; 1 − ‖a − b‖² / 2, which is exactly
    1 for equal ones.
    """
    return (1 - (before - after).square().sum(1) / 2).clamp(-1, 1)


def nearest(vectors: Tensor, count: int) -> Tensor:
    """The `count` nearest other rows of each row, [texts, count], nearest first; of equally near ones the earlier."""
    found = []
    for begin in range(0, len(vectors), _BLOCK):
        near = vectors[begin : begin + _BLOCK] @ vectors.T
        near[torch.arange(len(near)), torch.arange(begin, begin + len(near))] = -math.inf
        found.append(near.sort(dim=1, descending=True, stable=True).indices[:, :count])
    return torch.cat(found)


def shared(before: Tensor, after: Tensor) -> Tensor:
    """The share of neighbours that two lists [texts, count] have in common, for each text."""
    return (before.unsqueeze(2) == after.unsqueeze(1)).any(2).double().mean(1)


def kendall(one: Tensor, other: Tensor) -> Tensor:
    """Kendall's tau-b of each row of two tables of scores [texts, count] [Kendall 1945]: 1 for the same order, −1 for
    the reverse; where all scores of a row are one, 1 if they are so in both, else 0.
    """
    first, second = ((each.unsqueeze(2) - each.unsqueeze(1)).sign() for each in (one, other))
    pairs = torch.triu(torch.ones(one.shape[1], one.shape[1], dtype=torch.bool), 1)
    first, second = first[:, pairs], second[:, pairs]
    scale = (first.square().sum(1) * second.square().sum(1)).sqrt()
    both_flat = (first.square().sum(1) == 0) & (second.square().sum(1) == 0)
    return torch.where(scale > 0, (first * second).sum(1) / scale.clamp_min(1), both_flat.double())


def scores(vectors: Tensor, neighbours: Tensor) -> Tensor:
    """The cosine of each row with each of its neighbours, [texts, count]."""
    blocks = range(0, len(vectors), _BLOCK)
    slices = [slice(begin, begin + _BLOCK) for begin in blocks]
    return torch.cat([torch.einsum("th,tnh->tn", vectors[each], vectors[neighbours[each]]) for each in slices])


def ranked(query: Tensor, documents: Tensor, relevant: Sequence[int]) -> tuple[float, float]:
    """(nDCG, recall) of the ten nearest documents to a query, with gains of 1 [Järvelin and Kekäläinen 2002]."""
    order = (documents @ query).sort(descending=True, stable=True).indices[:NEAREST].tolist()
    wanted = set(relevant)
    gained = sum(1 / math.log2(place + 2) for place, number in enumerate(order) if number in wanted)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(len(wanted), NEAREST)))
    return gained / ideal, sum(number in wanted for number in order) / len(wanted)
