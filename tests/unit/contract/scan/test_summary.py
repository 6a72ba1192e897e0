"""What parts of a scan come to together, and the lengths of rows in it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.summary import (
    FileFault,
    Offender,
    Summary,
    Sums,
    empty,
    length_bins,
    length_within,
    merged,
)
from tests.corpora import plain


def fault(order: int, kind: Fault, sums: Sums, *rows: int) -> FileFault:
    return FileFault(order, f"{order}.npz", kind, sums, tuple(Offender(row, 0, "7") for row in rows))


def of_lengths(counts: Mapping[int, int], max_length: int) -> Summary:
    """So many rows of each length."""
    lengths = np.zeros(max_length + 2, np.int64)
    for length, count in counts.items():
        lengths[min(length, max_length + 1)] += count
    return replace(empty(10, max_length), lengths=lengths, longest=max(counts, default=0))


HOLE = fault(1, Fault.HOLE, Sums(2, 1), 4, 6)
A = Summary(
    rows=1, sequences=2, tokens=3, real_tokens=4, unmasked=5, max_id=6, longest=7,
    lengths=np.array([1, 2, 3]), uses=np.array([4, 5]),
    faults=(fault(0, Fault.HOLE, Sums(1, 1), 2), HOLE),
    sums={Fault.HOLE: Sums(3, 2)},
)  # fmt: skip
B = Summary(
    rows=10, sequences=20, tokens=30, real_tokens=40, unmasked=50, max_id=5, longest=8,
    lengths=np.array([10, 20, 30]), uses=np.array([40, 50]),
    faults=(fault(1, Fault.ID_BEYOND, Sums(1, 1), 0), fault(1, Fault.HOLE, Sums(5, 3), 1, 5, 7)),
    sums={Fault.ID_BEYOND: Sums(9, 8), Fault.HOLE: Sums(5, 3)},
)  # fmt: skip
BOTH = Summary(
    rows=11, sequences=22, tokens=33, real_tokens=44, unmasked=55, max_id=6, longest=8,
    lengths=np.array([11, 22, 33]), uses=np.array([44, 55]),
    faults=(
        fault(0, Fault.HOLE, Sums(1, 1), 2), fault(1, Fault.ID_BEYOND, Sums(1, 1), 0),
        fault(1, Fault.HOLE, Sums(7, 4), 1, 4, 5),
    ),
    sums={Fault.HOLE: Sums(8, 5), Fault.ID_BEYOND: Sums(9, 8)},
)  # fmt: skip


@pytest.mark.parametrize("parts", [(A, B), (B, A)], ids=["in order", "turned round"])
def test_numbers_and_faults_of_two_parts_add_up(parts: tuple[Summary, Summary]) -> None:
    both = merged(parts, 10)
    assert plain(both) == plain(BOTH)
    assert both.faults == BOTH.faults


def test_the_first_faults_in_order_of_file_and_code_are_kept_and_all_are_summed_up() -> None:
    assert merged((A, B), 2).faults == BOTH.faults[:2]
    assert merged((A,), 1).faults == A.faults[:1]
    assert merged((A, B), 0).sums == BOTH.sums


@pytest.mark.parametrize("has_counts", [True, False])
def test_nothing_changes_nothing(has_counts: bool) -> None:
    uses = np.array([3, 0, 1], np.int64 if has_counts else bool)
    whole = replace(A, lengths=np.array([1, 2, 3, 0]), uses=uses)
    for parts in ((whole, empty(3, 2)), (empty(3, 2), whole)):
        found = merged(parts, 10)
        assert (plain(found), found.uses.dtype) == (plain(whole), uses.dtype)
        assert found.lengths.dtype == np.int64


def test_sums_that_are_absent_count_as_none() -> None:
    without = replace(A, sums={})
    for parts, sums in (((A, without), A.sums), ((without, A), A.sums), ((without, without), {})):
        assert merged(parts, 0).sums == sums


@pytest.mark.parametrize(
    ("counts", "bins"),
    [
        ({}, []),
        ({0: 4, 1: 3}, [(0, 0, 4), (1, 1, 3)]),
        ({2: 1, 3: 2, 4: 4, 7: 8, 8: 16, 9: 32, 10: 64}, [(2, 3, 3), (4, 7, 12), (8, 10, 112)]),
        ({11: 1}, [(11, 11, 1)]),
        ({11: 1, 300: 2}, [(11, 300, 3)]),
    ],
)
def test_bins_double_up_to_the_longest_that_the_model_takes(
    counts: dict[int, int], bins: list[tuple[int, int, int]]
) -> None:
    assert length_bins(of_lengths(counts, 10)) == bins


def test_the_last_bin_may_be_one_length_wide() -> None:
    assert length_bins(of_lengths({7: 1, 8: 2, 9: 4}, 8)) == [(4, 7, 1), (8, 8, 2), (9, 9, 4)]


@pytest.mark.parametrize(
    ("counts", "share", "length"),
    [
        ({}, 0.5, 0),
        ({0: 3}, 1.0, 0),
        ({300: 3}, 0.5, 300),
        ({3: 1}, 0.5, 3),
        ({3: 5, 4: 5}, 0.5, 3),
        ({3: 5, 4: 5}, 0.51, 4),
        ({3: 5, 10: 5}, 1.0, 10),
        ({3: 5, 300: 5}, 1.0, 300),
        ({3: 5, 11: 2, 300: 3}, 0.6, 300),
    ],
)
def test_so_many_rows_are_no_longer(counts: dict[int, int], share: float, length: int) -> None:
    assert length_within(of_lengths(counts, 10), share) == length


def test_what_two_scans_saw_can_be_compared() -> None:
    again = pickle.loads(pickle.dumps(A))
    assert again == A
    assert A != B
    assert replace(A, uses=np.array([4, 6])) != A
    assert replace(A, sums={}) != A
