"""What was found is worded the same way everywhere: JSON, lists, shapes and counts."""

from __future__ import annotations

import pytest

from gte_surgery.gte.wording import LONGEST, counted, listed, shape, shown


@pytest.mark.parametrize(
    ("value", "text"), [("false", '"false"'), ([1, 2], "[1, 2]"), (None, "null"), (True, "true"), ("漢", '"漢"')]
)
def test_a_value_is_shown_as_json(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_long_value_is_cut() -> None:
    fits = "x" * (LONGEST - 2)
    assert shown(fits) == f'"{fits}"'
    assert shown(fits + "y") == f'"{fits}y…'


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (1, "a"), (3, "a, b, c"), (5, "a, b, c, d, e"), (6, "a, b, c, d, e and 1 more")],
)
def test_five_items_are_listed_and_the_rest_counted(count: int, text: str) -> None:
    assert listed("abcdefgh"[:count]) == text


def test_the_count_may_be_of_more_than_is_there() -> None:
    assert listed("abcdef", 1000) == "a, b, c, d, e and 995 more"
    assert listed("ab", 2) == "a, b"


def test_a_shape_and_a_count() -> None:
    assert (shape([]), shape([8]), shape([2304, 768])) == ("[]", "[8]", "[2304, 768]")
    assert [counted(count, "tensor") for count in (0, 1, 2, 1024)] == [
        "0 tensors",
        "1 tensor",
        "2 tensors",
        "1,024 tensors",
    ]
