"""What a fault of a file reads like as a finding."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.summary import FileFault, Offender, Sums
from gte_surgery.contract.scan.wording import worded
from gte_surgery.contract.spec import IdContract
from gte_surgery.findings import Finding, Location, Severity
from tests.corpora import scan

CONTRACT = IdContract(vocab_size=100, pad_token_id=1, type_vocab_size=2, max_length=8, cls_token_id=0)


def message(fault: Fault, sums: Sums, *offenders: Offender) -> str:
    return worded(FileFault(0, "a.npz", fault, sums, offenders), CONTRACT, 120).message


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.BAD_ROW, "7 in row 1, must be a row of numbers"),
        (Fault.BAD_OFFSETS, "7 in row 1, must rise from 0 to the number of ids"),
        (Fault.NOT_INTEGERS, "7 in row 1, must be integers"),
        (Fault.TOO_LONG, "7 positions in row 1, must be at most max_length 8"),
        (Fault.MASK_TYPE, "7 in row 1, must be integers or booleans"),
        (Fault.MASK_SHAPE, "mask of another number of values than ids in row 1, must be one for each id"),
        (Fault.MASK_ADDITIVE, "an additive mask in row 1, must be 1 for tokens and 0 for pads"),
        (Fault.MASK_INVERTED, "1 at pads and 0 at tokens in row 1, must be the other way round"),
        (Fault.TYPES_SHAPE, "token types of another number of values than ids in row 1, must be one for each id"),
        (Fault.LABELS_SHAPE, "labels of another number of values than ids in row 1, must be one for each id"),
        (Fault.POSITIONS_SHAPE, "positions of another number of values than ids in row 1, must be one for each id"),
        (Fault.PAD_KEPT, "1 for the pad id 1 in row 1, must be 0"),
    ],
)
def test_what_no_batch_has_in_one_row_has_words_of_its_own(fault: Fault, words: str) -> None:
    assert message(fault, Sums(1, 1), Offender(1, value="7")) == words


def test_a_finding_has_the_code_the_file_and_the_hint_for_both() -> None:
    def finding(fault: Fault) -> Finding:
        return worded(FileFault(0, "a.npz", fault, Sums(1, 0), (Offender(-1, value="why"),)), CONTRACT, 120)

    named = "the ids are found under `input_ids`, unless --ids NAME says otherwise"
    file = Location(file="a.npz")
    assert finding(Fault.NO_COLUMN) == Finding("GTE481", Severity.ERROR, file, "why", named)
    assert finding(Fault.BAD_ROW) == Finding("GTE482", Severity.ERROR, file, "why", named)
    assert finding(Fault.WRONG_SIDE).hint == "set padding_side of the tokenizer"
    assert finding(Fault.NO_ROWS) == Finding("GTE484", Severity.WARNING, file, "why", "")


def test_a_place_is_a_row_and_a_column_that_is_counted_from_0() -> None:
    assert message(Fault.ID_BEYOND, Sums(1, 1), Offender(0, 0, "100")) == (
        "100 at row 0, column 0, must be below vocab_size 100"
    )
    assert message(Fault.ID_BEYOND, Sums(1, 1), Offender(1234567, 12345, "100")) == (
        "100 at row 1,234,567, column 12,345, must be below vocab_size 100"
    )
    assert message(Fault.TOO_LONG, Sums(1, 1), Offender(1234567, 0, "12345")) == (
        "12345 positions in row 1,234,567, must be at most max_length 8"
    )


@pytest.mark.parametrize(
    ("fault", "sums", "offenders", "others"),
    [
        (Fault.ID_BEYOND, Sums(2, 1), [(1, 0), (1, 3)], "2 such in 1 row: [1, 0], [1, 3]"),
        (Fault.ID_BEYOND, Sums(12345, 1234), [(1, 0), (1, 3)], "12,345 such in 1,234 rows: [1, 0], [1, 3], …"),
        (Fault.EMPTY_ROW, Sums(2, 2), [(1, 0), (3, 0)], "2 such in 2 rows: [1], [3]"),
        (Fault.BAD_ROW, Sums(3, 3), [(1, -1), (3, -1)], "3 such in 3 rows: [1], [3], …"),
    ],
)
def test_more_than_one_are_counted_and_the_first_named(
    fault: Fault, sums: Sums, offenders: list[tuple[int, int]], others: str
) -> None:
    alone = message(fault, Sums(1, 1), Offender(*offenders[0], "7"))
    assert message(fault, sums, *(Offender(*at, "7") for at in offenders)) == f"{alone} ({others})"


@pytest.mark.parametrize(
    ("cuts", "found"),
    [
        (5, "cuts is no list"),
        ([0, "a"], 'cuts holds "a"'),
        ([0, 3], "offsets do not cut the ids"),
        (None, "offsets do not cut the ids"),
    ],
)
def test_offsets_in_lines_are_told_for_what_they_are(cuts: object, found: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"input_ids": [0, 5], "cuts": cuts}))
    (finding,) = scan(CONTRACT, tmp_path, columns=Columns(offsets="cuts")).findings
    assert finding.message == f"{found} in row 0, must rise from 0 to the number of ids"


def test_a_hint_says_how_many_rows_the_greatest_value_asks_for() -> None:
    def hint(fault: Fault, most: int, value: str) -> str:
        return worded(FileFault(0, "a.npz", fault, Sums(1, 1), (Offender(0, 0, value),)), contract, most).hint

    contract = replace(CONTRACT, checkpoint="my ckpt")

    more = "gives the table more rows"
    assert hint(Fault.ID_BEYOND, 120, "100") == f"`gte-surgery resize 'my ckpt' --vocab 121 --pad 1` {more}"
    assert (
        hint(Fault.ID_BEYOND, 2**31 - 2, "100") == f"`gte-surgery resize 'my ckpt' --vocab {2**31 - 1} --pad 1` {more}"
    )
    assert hint(Fault.ID_BEYOND, 2**31 - 1, "100") == "no model has so many: is it an id at all?"
    types = f"`gte-surgery resize 'my ckpt' --vocab 100 --pad 1 --type-vocab 5` {more}"
    assert hint(Fault.TYPE_BEYOND, 120, "4") == types
