"""Sizes are read as people write them."""

from __future__ import annotations

import click
import pytest

from gte_surgery.cli.options import size


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("1000000", 10**6), ("5GB", 5 * 10**9), ("5gib", 5 * 2**30), ("1.5 MB", 1_500_000), ("500MiB", 500 * 2**20)],
)
def test_a_size_is_a_number_with_an_optional_unit(text: str, nbytes: int) -> None:
    assert size(text) == nbytes


@pytest.mark.parametrize("text", ["", "GB", "-5GB", "5 parsecs", "1e9", "٣GB", "nan"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="5GB"):
        size(text)
