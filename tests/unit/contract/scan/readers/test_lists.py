"""Arrow's lists as flat arrays, and which columns of a file are read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.readers.lists import number_type, ragged, wanted
from tests.unit.contract.raw_blocks import lists


@pytest.mark.parametrize(
    ("kind", "rows", "values"),
    [
        (pa.int8(), [[3, None], None, [], [4]], np.array([3, 0, 4], np.int8)),
        (pa.bool_(), [[True, None], [False]], np.array([True, False, False])),
        (pa.float32(), [[None, -1.5]], np.array([0, -1.5], np.float32)),
        (pa.null(), [[None], [], [None, None]], np.array([0, 0, 0])),
    ],
)
def test_what_is_null_is_named_and_filled(kind: pa.DataType, rows: list[list[object]], values: np.ndarray) -> None:  # type: ignore[type-arg]
    column = ragged(pa.array(rows, pa.list_(kind)))
    assert lists(column) == rows
    assert (column.values.tolist(), column.values.dtype) == (values.tolist(), values.dtype)


def test_tensors_of_one_shape_are_lists() -> None:
    kind = pa.fixed_shape_tensor(pa.int64(), [2])
    column = pa.ExtensionArray.from_storage(kind, pa.array([[3, 4], [5, 6]], pa.list_(pa.int64(), 2)))
    assert number_type(kind) == pa.int64()
    assert lists(ragged(column)) == [[3, 4], [5, 6]]


def test_where_nothing_is_null_nothing_is_named() -> None:
    column = ragged(pa.array([[3, 4], [5]]))
    assert lists(column) == [[3, 4], [5]]
    assert (column.present, column.nulls) == (None, None)


@pytest.mark.parametrize(
    ("fields", "fault", "reason"),
    [
        ({"tokens": pa.list_(pa.int64()), "text": pa.string()}, Fault.NO_COLUMN,
         "no column 'input_ids' for ids, there are tokens, text"),
        ({}, Fault.NO_COLUMN, "no column 'input_ids' for ids, there are none"),
        ({"input_ids": pa.int64()}, Fault.NOT_ROWS, "column 'input_ids' is int64, must be lists of integers"),
        ({"input_ids": pa.list_(pa.string())}, Fault.NOT_INTEGERS,
         f"column 'input_ids' is {pa.list_(pa.string())}, must be lists of integers"),
    ],
)  # fmt: skip
def test_columns_that_hold_no_rows_are_told(fields: dict[str, pa.DataType], fault: Fault, reason: str) -> None:
    with pytest.raises(CorpusError) as caught:
        wanted(pa.schema(list(fields.items())), Columns())
    assert (caught.value.fault, caught.value.reason) == (fault, reason)
