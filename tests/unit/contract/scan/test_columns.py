"""Which columns are looked for, and which must be there."""

from __future__ import annotations

import pytest

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.errors import UsageError


def test_mask_and_types_are_looked_for_unasked() -> None:
    assert Columns().roles == {"ids": "input_ids", "mask": "attention_mask", "types": "token_type_ids"}
    assert Columns().required == {"ids": "input_ids"}


def test_what_is_named_is_looked_for_under_that_name_and_must_be_there() -> None:
    named = {"ids": "a", "mask": "b", "types": "c", "labels": "d", "positions": "e"}
    columns = Columns(**named, offsets="f")
    assert columns.roles == named
    assert columns.required == {**named, "offsets": "f"}


def test_labels_alone_may_be_named() -> None:
    assert Columns(labels="y").roles == {
        "ids": "input_ids", "mask": "attention_mask", "types": "token_type_ids", "labels": "y",
    }  # fmt: skip
    assert Columns(labels="y").required == {"ids": "input_ids", "labels": "y"}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"mask": "input_ids"}, "'input_ids', 'input_ids'"),
        ({"labels": "x", "offsets": "x"}, "'input_ids', 'x', 'x'"),
        ({"ids": ""}, "''"),
        ({"types": ""}, "'input_ids', ''"),
    ],
)
def test_columns_of_no_or_one_name_are_refused(names: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError) as raised:
        Columns(**names)
    assert raised.value.message == f"columns: {told}, must be different names"
