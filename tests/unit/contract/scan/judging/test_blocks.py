"""Rows as flat arrays: cut off, picked out, taken to pieces, and found again by place."""

from __future__ import annotations

import numpy as np
import pytest

from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging import blocks
from gte_surgery.contract.scan.judging.blocks import (
    Block,
    Ragged,
    RawBlock,
    Unread,
    as_unsigned,
    count_in,
    is_within,
    offsets_of,
)
from tests.unit.contract.raw_blocks import columns

BLOCK = Block(
    rows=np.array([3, 3, 4, 6]),
    begins=np.array([0, 2, 0, 0]),
    offsets=np.array([0, 2, 5, 5, 6]),
    ids=np.array([10, 11, 12, 13, 14, 15]),
    mask=np.array([1, 1, 1, 1, 0, 1]),
    labels=np.array([20, 21, 22, 23, 24, 25]),
)


def shown(block: Block) -> dict[str, list[int]]:
    head = {name: getattr(block, name).tolist() for name in ("rows", "begins", "offsets")}
    return head | {name: values.tolist() for name, values in block.columns()}


def test_the_head_of_a_column_keeps_what_is_absent_and_null() -> None:
    column = Ragged(np.array([7, 0, 0, 8]), np.array([2, 0, 2]), np.array([True, False, True]), nulls=np.array([1, 2]))
    head = column.head(2)
    assert (head.values.tolist(), head.lengths.tolist()) == ([7, 0], [2, 0])
    assert head.present is not None
    assert head.present.tolist() == [True, False]
    assert head.nulls is not None
    assert head.nulls.tolist() == [1]
    bare = Ragged(np.array([7, 8]), np.array([1, 1])).head(1)
    assert (bare.values.tolist(), bare.lengths.tolist(), bare.present, bare.nulls) == ([7], [1], None, None)


def test_the_rows_before_a_row_are_those_with_lower_numbers() -> None:
    lengths = np.array([1, 2, 1])
    raw = RawBlock(
        rows=np.array([2, 4, 6]),
        ids=Ragged(np.array([10, 11, 12, 13]), lengths),
        others={"mask": Ragged(np.array([1, 1, 0, 1]), lengths), "types": Ragged(np.array([5, 6, 7, 8]), lengths)},
        offsets=Ragged(np.array([0, 1, 0, 2, 0, 1]), np.array([2, 2, 2])),
        unread=(Unread(3, Fault.BAD_ROW), Unread(5, Fault.BAD_ROW)),
    )
    before = raw.before(5)
    assert columns(before) == {
        "rows": [2, 4], "ids": [[10], [11, 12]], "mask": [[1], [1, 0]], "types": [[5], [6, 7]],
        "offsets": [[0, 1], [0, 2]],
    }  # fmt: skip
    assert before.unread == (Unread(3, Fault.BAD_ROW),)
    assert RawBlock(np.array([2]), Ragged(np.array([10]), np.array([1]))).before(3).offsets is None


def test_a_place_is_found_in_its_row_and_in_the_list_that_the_row_is_packed_in() -> None:
    index, column = BLOCK.where(np.array([0, 1, 2, 4, 5]))
    assert (index.tolist(), column.tolist()) == ([0, 0, 1, 1, 3], [0, 1, 2, 4, 0])


def test_rows_are_kept_with_all_that_is_theirs() -> None:
    assert shown(BLOCK.kept(np.array([False, True, True, False]))) == {
        "rows": [3, 4], "begins": [2, 0], "offsets": [0, 3, 3], "ids": [12, 13, 14], "mask": [1, 1, 0],
        "labels": [22, 23, 24],
    }  # fmt: skip
    assert BLOCK.kept(np.ones(4, bool)) is BLOCK


def test_rows_that_have_a_position_and_the_first_of_each() -> None:
    is_so = np.array([False, True, True, True, False, True])
    assert BLOCK.widths.tolist() == [2, 3, 0, 1]
    assert count_in(is_so, BLOCK.offsets).tolist() == [1, 2, 0, 1]
    assert BLOCK.having(is_so).tolist() == [True, True, False, True]
    assert BLOCK.having(BLOCK.ids == 10).tolist() == [True, False, False, False]
    assert BLOCK.first_of(is_so).tolist() == [False, True, True, False, False, True]


@pytest.mark.parametrize(
    ("piece", "rows"),
    [(1, [[0], [1, 2], [3]]), (2, [[0], [1, 2, 3]]), (3, [[0], [1, 2, 3]]), (5, [[0, 1, 2], [3]]),
     (6, [[0, 1, 2, 3]]), (1000, [[0, 1, 2, 3]])],
)  # fmt: skip
def test_pieces_are_whole_rows(piece: int, rows: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PIECE", piece)
    wanted = [shown(BLOCK.kept(np.isin(np.arange(4), kept))) for kept in rows]
    assert [shown(each) for each in BLOCK.pieces()] == wanted


def test_a_block_of_empty_rows_is_one_piece() -> None:
    empty = BLOCK.kept(np.array([False, False, True, False]))
    assert [shown(each) for each in empty.pieces()] == [shown(empty)]


def test_offsets_are_of_64_bits_whatever_is_counted() -> None:
    assert offsets_of(np.array([3, 0, 2])).tolist() == [0, 3, 3, 5]
    assert offsets_of(np.array([200, 100], np.uint8)).tolist() == [0, 200, 300]
    assert offsets_of(np.ones(300, bool))[-1] == 300


def test_one_maximum_finds_what_is_negative() -> None:
    assert as_unsigned(np.array([3, -1], np.int8)).tolist() == [3, 255]
    assert as_unsigned(np.array([3, -2])).max() == 2**64 - 2
    assert as_unsigned(np.array([3, 255], np.uint8)).tolist() == [3, 255]
    assert as_unsigned(np.array([True])).dtype == bool


@pytest.mark.parametrize(
    ("values", "dtype", "size", "wanted"),
    [
        ([], "i8", 1, True),
        ([0, 4], "i8", 5, True), ([0, 5], "i8", 5, False), ([-1, 4], "i8", 5, False),
        ([127], "i1", 128, True), ([-128], "i1", 128, False), ([-128], "i1", 129, False), ([127], "i1", 300, True),
        ([-1], "i1", 300, False), ([-1], "i2", 250048, False), ([255], "u1", 300, True), ([255], "u1", 255, False),
    ],
)  # fmt: skip
def test_values_are_within_a_size_whatever_their_dtype(values: list[int], dtype: str, size: int, wanted: bool) -> None:
    assert is_within(np.array(values, dtype), size) is wanted
