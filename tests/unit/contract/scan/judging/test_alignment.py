"""Rows as they were read become rows that can be judged, and the others are told, each under one fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging.alignment import aligned
from gte_surgery.contract.scan.judging.blocks import Array, Block, Ragged, RawBlock, Unread

Lists = Sequence[Sequence["float | None"] | None]
BAD = "offsets do not cut the ids"

Told = list[tuple[Fault, list[int], str]]


def ragged(lists: Lists, dtype: Any = np.int64) -> Ragged:
    """Lists as one column; None is a list that is absent, or an element that is null."""
    values = [value for each in lists for value in each or ()]
    nulls = [place for place, value in enumerate(values) if value is None]
    return Ragged(
        np.array([value or 0 for value in values], dtype),
        np.array([len(each or ()) for each in lists]),
        np.array([each is not None for each in lists]) if None in lists else None,
        np.array(nulls) if nulls else None,
    )


def align(raw: RawBlock) -> tuple[list[dict[str, Any]], Told]:
    """What the blocks hold, and what was told."""
    told: Told = []

    def report(fault: Fault, rows: Array, value: str) -> None:
        told.append((fault, rows.tolist(), value))

    return [shown(block) for block in aligned(raw, report)], told


def shown(block: Block) -> dict[str, Any]:
    assert {block.rows.dtype, block.begins.dtype, block.offsets.dtype} == {np.dtype(np.int64)}
    ends = block.offsets[1:-1]
    cut = {name: [part.tolist() for part in np.split(values, ends)] for name, values in block.columns()}
    return cut | {"rows": block.rows.tolist(), "begins": block.begins.tolist()}


def rows_of(ids: Lists, offsets: Lists | None = None, **others: Ragged) -> RawBlock:
    """Rows numbered from 10, by twos."""
    numbers = np.arange(10, 10 + 2 * len(ids), 2)
    return RawBlock(numbers, ragged(ids), others, None if offsets is None else ragged(offsets))


def test_rows_that_are_all_right_are_one_block() -> None:
    mask = ragged([[1, 1], [1, 0, 0]], bool)
    assert align(rows_of([[5, 6], [7, 1, 1]], mask=mask)) == (
        [
            {
                "rows": [10, 12],
                "begins": [0, 0],
                "ids": [[5, 6], [7, 1, 1]],
                "mask": [[True, True], [True, False, False]],
            }
        ],
        [],
    )


IDS = [[5, 6], [7, 8, 9], [3, 4]]


@pytest.mark.parametrize(
    ("raw", "told", "left"),
    [
        (rows_of([[5], None, [3, 4]]), (Fault.BAD_ROW, [12], "ids are null"), [10, 14]),
        (rows_of([[5], [None, 3], [4, None, None]]), (Fault.BAD_ROW, [12, 14], "a null in ids"), [10]),
        (rows_of(IDS, types=ragged([[0, None], [0] * 3, [0, 0]])), (Fault.BAD_ROW, [10], "a null in types"), [12, 14]),
        (rows_of(IDS, mask=ragged([[1], [1] * 3, None])), (Fault.MASK_SHAPE, [10], ""), [12, 14]),
        (rows_of(IDS, types=ragged([[1], [1] * 4, [0] * 2])), (Fault.TYPES_SHAPE, [10, 12], ""), [14]),
        (rows_of(IDS, labels=ragged([[1], [1] * 3, [0] * 2])), (Fault.LABELS_SHAPE, [10], ""), [12, 14]),
        (rows_of(IDS, positions=ragged([[1], [1] * 3, [0] * 2])), (Fault.POSITIONS_SHAPE, [10], ""), [12, 14]),
        (rows_of(IDS, mask=ragged([[1, 1], [1] * 3, None], float)),
         (Fault.MASK_TYPE, [10, 12], "mask is float64"), [14]),
        (rows_of(IDS, types=ragged([[1, 1], None, [1, 1]], float)),
         (Fault.NOT_INTEGERS, [10, 14], "types is float64"), [12]),
        (rows_of(IDS, types=ragged([[1, 1], None, [1, 1]], bool)),
         (Fault.NOT_INTEGERS, [10, 14], "types is bool"), [12]),
        (rows_of(IDS, [[0, 1, 2], [0, 1, 2, 2], [0, 2]]), (Fault.BAD_OFFSETS, [12], BAD),
         [10, 10, 14]),
    ],
)  # fmt: skip
def test_a_row_without_a_shape_is_told_and_left_out(
    raw: RawBlock, told: tuple[Fault, list[int], str], left: list[int]
) -> None:
    blocks, found = align(raw)
    assert found == [told]
    assert sorted(row for block in blocks for row in block["rows"]) == left


def test_a_row_is_told_once_under_the_first_of_its_faults() -> None:
    ids: Lists = [None, [1, None], [5, 6], [5, 6], [5, 6]]
    types: Lists = [[0], [0], [0, None], [0], [0, 0]]
    assert align(rows_of(ids, mask=ragged([[1]] * 4 + [[1, 1]]), types=ragged(types)))[1] == [
        (Fault.BAD_ROW, [10], "ids are null"),
        (Fault.BAD_ROW, [12], "a null in ids"),
        (Fault.MASK_SHAPE, [14, 16], ""),
    ]


def test_ids_that_are_no_integers_leave_no_row() -> None:
    raw = RawBlock(np.array([10, 12]), ragged([[5], [6]], float), {"mask": ragged([[1], [1]])})
    assert align(raw) == ([], [(Fault.NOT_INTEGERS, [10, 12], "ids are float64")])


def test_rows_that_could_not_be_read_are_told() -> None:
    unread = Unread(11, Fault.BAD_ROW, "no JSON"), Unread(13, Fault.MASK_TYPE)
    raw = RawBlock(np.array([12]), ragged([[5]]), unread=unread)
    told = [(Fault.BAD_ROW, [11], "no JSON"), (Fault.MASK_TYPE, [13], "")]
    assert align(raw) == ([{"rows": [12], "begins": [0], "ids": [[5]]}], told)


@pytest.mark.parametrize(
    ("mask", "fault"),
    [
        ([0, -1000, 0], Fault.MASK_ADDITIVE),
        ([0, -1e9, -np.inf], Fault.MASK_ADDITIVE),
        ([0, -999, 0], Fault.MASK_TYPE),
        ([-1e9, -1e9, -1e9], Fault.MASK_TYPE),
        ([0, 0, 0], Fault.MASK_TYPE),
        ([0, 1, -1e9], Fault.MASK_TYPE),
    ],
)
def test_a_mask_of_floats_is_additive_if_it_holds_zeros_and_low_values_alone(mask: list[float], fault: Fault) -> None:
    blocks, told = align(rows_of([[5], [6, 7, 8], [9]], mask=ragged([None, mask, None], float)))
    assert [block["rows"] for block in blocks] == [[10, 14]]
    assert told == [(fault, [12], "" if fault is Fault.MASK_ADDITIVE else "mask is float64")]


@pytest.mark.parametrize(
    "rises",
    [[0, 3], [0, 0, 3], [0, 1, 1, 3, 3]],
)
def test_offsets_take_a_row_apart(rises: list[int]) -> None:
    (block,), told = align(
        rows_of([[5], [6, 7, 8], [9]], [[0, 1], rises, [0, 0, 1]], labels=ragged([[1], [2, 3, 4], [5]]))
    )
    ids, labels = ([values[a:b] for a, b in pairwise(rises)] for values in ([6, 7, 8], [2, 3, 4]))
    assert told == []
    assert block == {
        "rows": [10, *[12] * len(ids), 14, 14], "begins": [0, *rises[:-1], 0, 0],
        "ids": [[5], *ids, [], [9]], "labels": [[1], *labels, [], [5]],
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [[], None, [0], [1, 3], [0, 2], [0, 4], [0, 2, 1, 3], [0, 3, 2], [2, 3, 3], [0, None, 3], [None, 3], [0, -1, 3]],
)
def test_offsets_that_do_not_rise_from_0_to_the_number_of_ids_are_told(wrong: list[int | None] | None) -> None:
    blocks, told = align(rows_of([[5], [6, 7, 8], [9]], [[0, 1], wrong, [0, 0, 1]]))
    assert told == [(Fault.BAD_OFFSETS, [12], BAD)]
    assert blocks == [{"rows": [10, 14, 14], "begins": [0, 0, 0], "ids": [[5], [], [9]]}]


def test_offsets_that_are_no_integers_cut_nothing() -> None:
    raw = RawBlock(np.array([10, 12]), ragged([[5], [6]]), offsets=ragged([[0, 1], [0, 1]], float))
    assert align(raw) == ([], [(Fault.BAD_OFFSETS, [10, 12], BAD)])


@pytest.mark.parametrize("kind", [np.uint16, np.uint64, np.int32])
def test_offsets_may_be_of_any_integers(kind: type) -> None:
    raw = RawBlock(np.array([10]), ragged([[5] * 300]), offsets=ragged([[0, 200, 250, 300]], kind))
    (block,), told = align(raw)
    assert ([len(ids) for ids in block["ids"]], told) == ([200, 50, 50], [])
    assert align(replace(raw, offsets=ragged([[0, 250, 200, 300]], kind))) == ([], [(Fault.BAD_OFFSETS, [10], BAD)])


def test_rows_with_other_columns_are_blocks_of_their_own() -> None:
    mask, types = ragged([[1], None, [1], None]), ragged([[0], [0], None, None])
    blocks, told = align(rows_of([[5], [6], [7], [8]], mask=mask, types=types))
    assert told == []
    assert sorted(blocks, key=lambda block: block["rows"]) == [
        {"rows": [10], "begins": [0], "ids": [[5]], "mask": [[1]], "types": [[0]]},
        {"rows": [12], "begins": [0], "ids": [[6]], "types": [[0]]},
        {"rows": [14], "begins": [0], "ids": [[7]], "mask": [[1]]},
        {"rows": [16], "begins": [0], "ids": [[8]]},
    ]
