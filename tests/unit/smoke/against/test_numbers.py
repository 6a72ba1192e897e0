"""The figures are those of independent computations, tie for tie."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

torch = pytest.importorskip("torch")

from gte_surgery.smoke.against.quality import batched, cosines, histogram, kendall, nearest, ranked, scores, shared  # noqa: E402  # noqa: E402


def unit(rows: int, seed: int, width: int = 8) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((rows, width))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def tau_b(one: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau-b, pair by pair."""
    concordant = discordant = one_ties = other_ties = 0
    for i in range(len(one)):
        for j in range(i):
            a, b = np.sign(one[i] - one[j]), np.sign(other[i] - other[j])
            concordant += a * b > 0
            discordant += a * b < 0
            one_ties += a == 0
            other_ties += b == 0
    pairs = len(one) * (len(one) - 1) / 2
    return (concordant - discordant) / math.sqrt((pairs - one_ties) * (pairs - other_ties))


def test_cosines_are_numpys_and_exactly_1_for_equal_vectors() -> None:
    one, other = unit(50, 1), unit(50, 2)
    wanted = (one * other).sum(1)
    assert np.allclose(cosines(torch.tensor(one), torch.tensor(other)).numpy(), wanted, atol=1e-14)
    assert cosines(torch.tensor(one), torch.tensor(one)).tolist() == [1.0] * 50


@pytest.mark.parametrize("rows", [11, 1500])
def test_neighbours_are_those_of_a_full_sort(rows: int) -> None:
    vectors = unit(rows, 3)
    vectors[7] = vectors[4]
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    wanted = np.argsort(-near, axis=1, kind="stable")[:, :10]
    found = nearest(torch.tensor(vectors), 10)
    assert (found.numpy() == wanted).mean() > 0.999  # equally near rows may come out a rounding apart
    gaps = scores(torch.tensor(vectors), found).numpy() - np.take_along_axis(near, wanted, 1)
    assert np.abs(gaps).max() < 1e-12


def test_the_share_in_common_is_that_of_sets() -> None:
    one, other = nearest(torch.tensor(unit(60, 4)), 10), nearest(torch.tensor(unit(60, 5)), 10)
    wanted = [len({*a} & {*b}) / 10 for a, b in zip(one.tolist(), other.tolist(), strict=True)]
    assert shared(one, other).tolist() == pytest.approx(wanted)


def test_kendall_is_that_of_the_pairs_with_ties() -> None:
    generator = np.random.default_rng(6)
    one, other = generator.integers(0, 6, (40, 10)).astype(float), generator.integers(0, 6, (40, 10)).astype(float)
    wanted = [tau_b(*pair) for pair in zip(one, other, strict=True)]
    assert kendall(torch.tensor(one), torch.tensor(other)).tolist() == pytest.approx(wanted)
    flat = torch.zeros(1, 10, dtype=torch.float64)
    assert kendall(flat, flat).tolist() == [1.0]
    assert kendall(flat, torch.tensor(one[:1])).tolist() == [0.0]
    assert kendall(torch.tensor(one[:1]), -torch.tensor(one[:1])).tolist() == [-1.0]


@pytest.mark.parametrize("relevant", [(3,), (1, 5, 9), tuple(range(14))])
def test_ndcg_is_scikit_learns_and_recall_counts(relevant: tuple[int, ...]) -> None:
    documents, query = unit(40, 7), unit(1, 8)[0]
    near = documents @ query
    truth = np.isin(np.arange(40), relevant).astype(float)
    ndcg, recall = ranked(torch.tensor(query), torch.tensor(documents), relevant)
    assert ndcg == pytest.approx(ndcg_score([truth], [near], k=10))
    assert recall == pytest.approx(truth[np.argsort(-near)[:10]].sum() / len(relevant))


def test_bins_hold_every_text_and_end_at_1() -> None:
    near = torch.tensor([0.2, 0.5, 0.999, 1.0, 1.0], dtype=torch.float64)
    bins = list(histogram(near))
    assert sum(texts for *_, texts in bins) == 5
    assert (bins[0][0], bins[-1][1], bins[0][2], bins[-1][2]) == (0.2, 1.0, 1, 3)
    assert [texts for *_, texts in histogram(torch.ones(3, dtype=torch.float64))][-1] == 3


def test_batches_hold_every_row_once_and_no_more_tokens_than_may_be() -> None:
    lengths = [5, 1, 9, 3, 3, 20]
    found = list(batched(lengths, 10))
    assert sorted(at for places in found for at in places) == list(range(6))
    assert all(len(places) == 1 or len(places) * max(lengths[at] for at in places) <= 10 for places in found)
