"""The shape of rows: what is told of rows of tokens (t), CLS tokens (c) and pads (.), in every order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging.blocks import Block, offsets_of
from gte_surgery.contract.scan.judging.judge import judge_shape
from gte_surgery.contract.scan.judging.tally import Tally
from gte_surgery.contract.scan.summary import Offender, Summary
from gte_surgery.contract.spec import IdContract

RIGHT = IdContract(vocab_size=12, pad_token_id=1, type_vocab_size=0, max_length=6, cls_token_id=0)
LEFT = replace(RIGHT, padding_side="left")
LETTERS = {"c": 0, ".": 1, "t": 7}


def judged(rows: list[str], contract: IdContract) -> Summary:
    """Of rows numbered from 100, each of which begins at column 10 of what it is packed in."""
    ids = np.array([LETTERS[letter] for row in rows for letter in row], np.int64)
    numbers = np.arange(100, 100 + len(rows))
    block = Block(numbers, np.full(len(rows), 10), offsets_of(np.array([len(row) for row in rows])), ids)
    tally = Tally(contract, "a", 0, has_counts=False)
    judge_shape(block, ids != 1, contract, tally)
    return tally.summary()


def seen(rows: list[str], contract: IdContract) -> list[tuple[Fault, tuple[Offender, ...]]]:
    return [(fault.fault, fault.offenders) for fault in judged(rows, contract).faults]


def expected(row: str, contract: IdContract) -> Iterator[tuple[Fault, int, str]]:
    """(fault, place in the row, value) of each fault of a row, without arrays."""
    tokens = row.strip(".")
    if not tokens:
        yield Fault.EMPTY_ROW, 0, ""
        return
    before, behind = len(row) - len(row.lstrip(".")), len(row) - len(row.rstrip("."))
    pads = before if contract.padding_side == "right" else behind
    if "." in tokens:
        yield Fault.HOLE, row.index(".", before), ""
    elif pads:
        yield Fault.WRONG_SIDE, 0, str(pads)
    if contract.cls_token_id is not None and tokens[0] != "c":
        yield Fault.WRONG_CLS, 0, str(LETTERS[tokens[0]])


def all_expected(rows: list[str], contract: IdContract) -> dict[Fault, list[Offender]]:
    found: dict[Fault, list[Offender]] = {}
    for number, row in enumerate(rows, 100):
        for fault, place, value in expected(row, contract):
            found.setdefault(fault, []).append(Offender(number, 10 + place, value))
    return found


ROWS = ["".join(row) for width in range(5) for row in product("t.", repeat=width)]
EDGES = ["", ".", "c", "ct", "c.", ".c", "c.t", "..", "tt"]


@pytest.mark.parametrize("contract", [RIGHT, LEFT, replace(RIGHT, cls_token_id=None)], ids=["right", "left", "no CLS"])
@pytest.mark.parametrize("before", [[], *([edge] for edge in EDGES)], ids=str)
def test_a_row_is_judged_the_same_whatever_stands_beside_it(before: list[str], contract: IdContract) -> None:
    for row, behind in product(ROWS, ([], ["c"], ["."], ["ct."], [""])):
        rows = [*before, row, *behind]
        summary = judged(rows, contract)
        assert {fault.fault: list(fault.offenders) for fault in summary.faults} == all_expected(rows, contract), rows
        counts = [len(row.replace(".", "")) for row in rows]
        assert summary.lengths.tolist() == [counts.count(length) for length in range(8)]
        assert (summary.real_tokens, summary.longest) == (sum(counts), max(counts))


def test_rows_may_have_no_faults() -> None:
    assert seen(["c", "ct", "ctt..", "c."], RIGHT) == []
    assert seen(["c", "ct", "..ctt", ".c"], LEFT) == []
    assert seen([], RIGHT) == []


def test_every_fault_says_where_and_what() -> None:
    assert seen(["ctt", "..tt", "...", ".c.t."], RIGHT) == [
        (Fault.WRONG_CLS, (Offender(101, 10, "7"),)),
        (Fault.EMPTY_ROW, (Offender(102, 10),)),
        (Fault.HOLE, (Offender(103, 12),)),
        (Fault.WRONG_SIDE, (Offender(101, 10, "2"),)),
    ]
    assert seen(["ctt", "ct..", "c..t."], LEFT) == [
        (Fault.HOLE, (Offender(102, 11),)),
        (Fault.WRONG_SIDE, (Offender(101, 10, "2"),)),
    ]
