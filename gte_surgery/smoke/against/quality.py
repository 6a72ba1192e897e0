"""What became of texts: both checkpoints embed them, one after the other, and their neighbours are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.errors import RefusedError
from gte_surgery.model.load import load_encoder
from gte_surgery.smoke.against.numbers import NEAREST, cosines, kendall, nearest, ranked, scores, shared
from gte_surgery.smoke.against.texts import Corpus, Ids, Queries
from gte_surgery.smoke.batches import Batch
from gte_surgery.smoke.prove.memory import release
from gte_surgery.smoke.result import Quality, Retrieval, Worst
from gte_surgery.smoke.trouble import watched

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
        batch = _batch([rows[at] for at in places], pad).to(device)
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


def _batch(rows: Sequence[Ids], pad: int) -> Batch:
    lengths = tuple(map(len, rows))
    ids = torch.full((len(rows), max(lengths)), pad)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
    mask = (torch.arange(ids.shape[1]) < torch.tensor(lengths).unsqueeze(1)).long()
    return Batch({"input_ids": ids, "attention_mask": mask}, lengths, pad)


def _retrieval(before: Tensor, after: Tensor, documents: int, labels: Queries) -> Retrieval:
    found = []
    for vectors in (before, after):
        pairs = zip(labels.queries, labels.positives, strict=True)
        each = [ranked(vectors[query], vectors[:documents], relevant) for query, relevant in pairs]
        found += [sum(ndcg for ndcg, _ in each) / len(each), sum(recall for _, recall in each) / len(each)]
    return Retrieval(len(labels.queries), found[0], found[2], found[1], found[3])
