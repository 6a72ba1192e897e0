"""Whole numbers are taken as Python's and numpy's integers, and nothing else in their stead."""

from __future__ import annotations

import numpy as np
import pytest

from gte_surgery import Expectations
from gte_surgery.errors import UsageError
from gte_surgery.surgery.edits import New, Resize


@pytest.mark.parametrize("number", [7, np.int64(7), np.uint8(7), np.int32(7)])
def test_an_integer_of_any_make_is_one(number: int) -> None:
    resize = Resize(vocab=number, pad=np.int16(0))  # type: ignore[arg-type]
    assert (type(resize.vocab), resize.vocab, type(resize.pad)) == (int, 7, int)
    assert type(Expectations(vocab=number).vocab) is int
    assert type(New("gte-base-en-v1.5", vocab=number).vocab) is int


@pytest.mark.parametrize("value", [True, False, 7.0, np.float32(7), np.True_, "7", 7.5])
def test_anything_else_is_refused_at_the_door(value: object) -> None:
    with pytest.raises(UsageError, match="must be a whole number"):
        Resize(vocab=value, pad=0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"type-vocab: .* must be a whole number"):
        Expectations(type_vocab=value)  # type: ignore[arg-type]
