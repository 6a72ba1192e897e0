"""Lines read one by one: what each of them holds, or what exactly is wrong with it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging.blocks import Unread
from gte_surgery.contract.scan.readers.line_by_line import read_lines
from tests.unit.contract.raw_blocks import columns

MASKED = Columns(mask="m", types="t", offsets="o")


def test_rows_have_the_numbers_of_their_lines_and_blank_lines_are_none() -> None:
    lines = b'{"input_ids": [4, 5]}\n\n \t\r\n{"input_ids": [6], "attention_mask": [1], "more": 1}\r\n'
    block = read_lines(lines, 10, Columns())
    assert columns(block) == {
        "rows": [10, 13], "ids": [[4, 5], [6]], "mask": [None, [1]], "types": [None, None],
    }  # fmt: skip
    assert block.unread == ()


def test_every_column_is_found_under_its_name_and_may_be_null_or_hold_nulls() -> None:
    lines = '{"i": [4, null], "m": [true, false, null], "t": [], "l": null, "p": [-1], "o": [0, 2]}\n{"i": null}'
    named = Columns("i", "m", "t", "l", "p", "o")
    assert columns(read_lines(lines.encode(), 0, named)) == {
        "rows": [0, 1],
        "ids": [[4, None], None],
        "mask": [[1, 0, None], None],
        "types": [[], None],
        "labels": [None, None],
        "positions": [[-1], None],
        "offsets": [[0, 2], None],
    }


@pytest.mark.parametrize("lines", [b"", b'{"input_ids": []}', b"{}", b"nonsense"])
def test_columns_without_values_are_of_integers_all_the_same(lines: bytes) -> None:
    block = read_lines(lines, 0, Columns(offsets="o"))
    assert block.offsets is not None
    for column in (block.ids, block.offsets, *block.others.values()):
        assert (column.values.dtype, column.lengths.dtype) == (np.int64, np.int64)
        assert column.present is not None
        assert column.present.dtype == np.bool_
        assert column.nulls is None
    assert block.rows.dtype == np.int64


def test_a_mark_in_front_and_bytes_that_are_no_text_are_passed_over() -> None:
    lines = b'\xef\xbb\xbf{"input_ids": [4], "text": "\xff"}'
    assert columns(read_lines(lines, 0, Columns()))["ids"] == [[4]]


def test_a_line_that_holds_no_row_does_not_move_the_others() -> None:
    block = read_lines(b'{"input_ids": [4]}\n[]\n{"input_ids": [5]}', 3, Columns())
    assert (block.rows.tolist(), block.unread) == ([3, 5], (Unread(4, Fault.BAD_ROW, "no JSON object"),))


LONG = "x" * 50


@pytest.mark.parametrize(
    ("line", "fault", "value"),
    [
        ("nonsense", Fault.BAD_ROW, "no JSON (Expecting value at character 0)"),
        ('{"input_ids": [5}', Fault.BAD_ROW, "no JSON (Expecting ',' delimiter at character 16)"),
        ("7", Fault.BAD_ROW, "no JSON object"),
        ('{"input_ids": 5}', Fault.NOT_INTEGERS, "input_ids is no list"),
        ('{"m": "1"}', Fault.MASK_TYPE, "m is no list"),
        ('{"o": {}}', Fault.BAD_OFFSETS, "o is no list"),
        ('{"input_ids": [4, 5.5, "x"]}', Fault.NOT_INTEGERS, "input_ids holds 5.5"),
        ('{"input_ids": [true]}', Fault.NOT_INTEGERS, "input_ids holds true"),
        ('{"t": [null, [1]]}', Fault.NOT_INTEGERS, "t holds [1]"),
        ('{"o": [0, false]}', Fault.BAD_OFFSETS, "o holds false"),
        ('{"m": [true, 1, null, 0.0]}', Fault.MASK_TYPE, "m holds 0.0"),
        (f'{{"m": ["{LONG}"]}}', Fault.MASK_TYPE, f'm holds "{LONG[:39]}'),
        (f'{{"input_ids": [{2**63 - 1}, {2**63}]}}', Fault.NOT_INTEGERS, f"input_ids holds {2**63}"),
        (f'{{"input_ids": [{-(2**63)}, {-(2**63) - 1}]}}', Fault.NOT_INTEGERS, f"input_ids holds {-(2**63) - 1}"),
        ('{"input_ids": ["first"], "m": 5}', Fault.NOT_INTEGERS, 'input_ids holds "first"'),
    ],
)
def test_a_line_is_told_by_what_is_wrong_with_it_first(line: str, fault: Fault, value: str) -> None:
    block = read_lines(line.encode(), 8, MASKED)
    assert block.unread == (Unread(8, fault, value),)
    assert block.rows.size == 0


@pytest.mark.parametrize(
    ("line", "begins"),
    [("[" * 99999, "no JSON (maximum recursion depth exceeded"), ("1" * 5000, "no JSON (Exceeds the limit")],
)
def test_what_python_does_not_read_is_told_in_its_words(line: str, begins: str) -> None:
    ((fault, value),) = [(each.fault, each.value) for each in read_lines(line.encode(), 0, Columns()).unread]
    assert fault is Fault.BAD_ROW
    assert value.startswith(begins)


@pytest.mark.parametrize(
    ("mask", "is_additive"),
    [
        ([0.0, -10000.0], True),
        ([0, -1000.0], True),
        ([0.0, -1000], True),
        ([False, -1e30, 0], True),
        ([0.0, float("-inf")], True),
        ([-10000.0], True),
        ([-10000.0, None], True),
        ([0.0, 0.0], False),
        ([0.0, -999.0], False),
        ([0.0, -10000.0, 1], False),
        ([0.5, -10000.0], False),
        ([0.0, -10000.0, True], False),
        ([], False),
    ],
)
def test_a_mask_of_0_and_hugely_negative_fractions_is_additive(mask: list[object], is_additive: bool) -> None:
    unread = read_lines(json.dumps({"m": mask}).encode(), 0, MASKED).unread
    assert (Unread(0, Fault.MASK_ADDITIVE, "m") in unread) == is_additive


def test_a_mask_of_integers_is_left_to_the_judge_and_other_columns_are_no_mask() -> None:
    assert read_lines(b'{"m": [0, -10000]}', 0, MASKED).unread == ()
    assert read_lines(b'{"t": [0.0, -1e9]}', 0, MASKED).unread == (Unread(0, Fault.NOT_INTEGERS, "t holds 0.0"),)
