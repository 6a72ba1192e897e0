"""What became of texts: both checkpoints embed them, one after the other, and their neighbours are compared:
cosines, neighbours and their order, and ranks of what is relevant, all in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.errors import RefusedError
from gte_surgery.model.load import load_encoder
from gte_surgery.smoke.against.texts import Corpus, Ids, Queries
from gte_surgery.smoke.batches import padded
from gte_surgery.smoke.ledger import watched
from gte_surgery.smoke.prove.memory import release
from gte_surgery.smoke.result import Quality, Retrieval, Worst

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


_TOKENS = {"cpu": 2048, "cuda": 65_536}
"""Tokens of a batch, pads included, by kind of device."""
_BINS = 20
_WORST = 10


def measure_quality(before: Checkpoint, after: Checkpoint, corpus: Corpus, device: torch.device, dtype: str) -> Quality:
    """The figures of a corpus whose texts both checkpoints embed. Raises as `load_encoder`, BrokenRunError where the
    device breaks, and RefusedError for an id that a table does not have.
    """
    one = embedded(before, corpus.before, device, dtype)
    other = embedded(after, corpus.after, device, dtype)
    count = min(NEAREST, corpus.documents - 1)
    documents, moved = one[: corpus.documents], other[: corpus.documents]
    near = cosines(documents, moved)
    was, now = nearest(documents, count), nearest(moved, count)
    common = shared(was, now)
    worst = near.sort(stable=True).indices[:_WORST].tolist()
    return Quality(
        texts=corpus.documents,
        left_out=corpus.left_out,
        cut=corpus.cut,
        longest=corpus.longest,
        tokens_before=sum(map(len, corpus.before[: corpus.documents])),
        tokens_after=sum(map(len, corpus.after[: corpus.documents])),
        cosine=float(near.mean()),
        least_cosine=float(near.min()),
        nearest=count,
        neighbours=float(common.mean()),
        tau=float(kendall(scores(documents, was), scores(moved, was)).mean()),
        histogram=tuple(histogram(near)),
        worst=tuple(Worst(corpus.shown[at], float(near[at]), float(common[at])) for at in worst),
        retrieval=_retrieval(one, other, corpus.documents, corpus.labels) if corpus.labels is not None else None,
    )


@torch.no_grad()
def embedded(checkpoint: Checkpoint, rows: Sequence[Ids], device: torch.device, dtype: str) -> Tensor:
    """Unit vectors of rows of ids, [rows, hidden] in double precision on the CPU; long rows with long ones, in batches
    that fill the device. The model is gone afterwards.
    """
    encoder = load_encoder(checkpoint, str(device), dtype, "auto", unpad=device.type == "cuda")
    table = len(encoder.input_table())
    pad = encoder.config.pad_token_id or 0
    largest = max(max(row) for row in rows)
    if largest >= table:
        raise RefusedError(f"{checkpoint.name}: id {largest} of a text, the table has {table} rows")
    vectors = torch.empty(len(rows), encoder.config.hidden_size, dtype=torch.float64)
    for places in batched([len(row) for row in rows], _TOKENS[device.type]):
        batch = padded([rows[at] for at in places], pad).to(device)
        with watched(batch, f"embedding texts by {checkpoint.name}"):
            vectors[places] = encoder.embed(batch.tensors).double().cpu()
    del encoder
    release(device)
    return functional.normalize(vectors, dim=-1)


def batched(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """The places of rows by their lengths, longest first, so many that a batch has at most `tokens`, one at least."""
    order = sorted(range(len(lengths)), key=lambda at: -lengths[at])
    while order:
        many = max(1, tokens // lengths[order[0]])
        yield order[:many]
        order = order[many:]


def histogram(near: Tensor) -> Iterator[tuple[float, float, int]]:
    """(from, to, texts) of bins of cosines, from the least to 1."""
    least = min(float(near.min()), 0.999)
    width = (1 - least) / _BINS
    places = ((near - least) / width).long().clamp(0, _BINS - 1)
    for at, count in enumerate(torch.bincount(places, minlength=_BINS).tolist()):
        yield least + at * width, least + (at + 1) * width if at + 1 < _BINS else 1.0, count


def _retrieval(before: Tensor, after: Tensor, documents: int, labels: Queries) -> Retrieval:
    found = []
    for vectors in (before, after):
        pairs = zip(labels.queries, labels.positives, strict=True)
        each = [ranked(vectors[query], vectors[:documents], relevant) for query, relevant in pairs]
        found += [sum(ndcg for ndcg, _ in each) / len(each), sum(recall for _, recall in each) / len(each)]
    return Retrieval(len(labels.queries), found[0], found[2], found[1], found[3])
