"""Sizes and lists of words are read as people write them."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from gte_surgery.cli.options import size, some_of


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


@click.command()
@click.option("--for", "words", multiple=True, callback=some_of(["vllm", "tei", "other"]))
def feed(words: tuple[str, ...]) -> None:
    click.echo(" ".join(words))


@pytest.mark.parametrize(
    ("line", "found"),
    [("", ""), ("--for tei", "tei"), ("--for vllm,tei", "vllm tei"), ("--for vllm --for tei,other", "vllm tei other")],
)
def test_some_words_come_comma_apart_or_one_by_one(line: str, found: str) -> None:
    assert CliRunner().invoke(feed, line).output == f"{found}\n"


@pytest.mark.parametrize("line", ["--for vlm", "--for vllm,", "--for vllm,tie", "--for="])
def test_a_word_that_is_none_of_them_is_refused(line: str) -> None:
    ran = CliRunner().invoke(feed, line)
    assert ran.exit_code == 2
    assert "is not one of 'vllm', 'tei', 'other'" in ran.output
