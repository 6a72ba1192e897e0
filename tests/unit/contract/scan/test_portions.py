"""Portions of about so many bytes on disk, made of units that are never cut."""

from __future__ import annotations

import numpy as np
import pytest

from gte_surgery.contract.scan import portions
from gte_surgery.contract.scan.portions import Span, grouped, numbered


@pytest.mark.parametrize(
    ("sizes", "nbytes", "spans"),
    [
        ([], 500, []),
        ([(7, 1)], 50, [Span(0, 1, 0, 7, 50)]),
        ([(7, 0)], 50, [Span(0, 1, 0, 7, 0)]),
        ([(0, 0), (0, 0)], 50, [Span(0, 2, 0, 0, 0)]),
        ([(7, 1), (8, 1)], 99, [Span(0, 2, 0, 15, 99)]),
        ([(7, 1), (8, 1)], 200, [Span(0, 1, 0, 7, 100), Span(1, 2, 7, 8, 100)]),
        ([(7, 1), (8, 1)], 199, [Span(0, 2, 0, 15, 199)]),
        ([(7, 1000), (8, 200), (9, 300), (3, 900)], 240,
         [Span(0, 1, 0, 7, 100), Span(1, 4, 7, 20, 140)]),
        ([(7, 1000), (8, 200), (9, 300), (3, 600), (2, 0), (1, 50)], 215,
         [Span(0, 1, 0, 7, 100), Span(1, 4, 7, 20, 110), Span(4, 6, 27, 3, 5)]),
        ([(1, 1), (1, 1), (1, 1)], 50, [Span(0, 3, 0, 3, 50)]),
    ],
)  # fmt: skip
def test_units_are_put_together_until_they_make_a_portion(
    sizes: list[tuple[int, int]], nbytes: int, spans: list[Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "PORTION", 100)
    assert grouped(sizes, nbytes) == spans


def test_rows_are_numbered_one_by_one() -> None:
    assert numbered(5, 3).tolist() == [5, 6, 7]
    assert numbered(5, 0).dtype == np.int64
