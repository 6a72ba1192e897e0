"""What one portion adds up to."""

from __future__ import annotations

import numpy as np
import pytest

from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging.tally import Tally
from gte_surgery.contract.scan.summary import FileFault, Offender, Summary, Sums, empty
from tests.corpora import CONTRACT, plain


def tally(has_counts: bool = True) -> Tally:
    return Tally(CONTRACT, "a.npz", 3, has_counts)


@pytest.mark.parametrize("has_counts", [True, False])
def test_nothing_seen_is_the_summary_of_nothing(has_counts: bool) -> None:
    def all_of(summary: Summary) -> object:
        return plain(summary), summary.lengths.dtype, summary.lengths.size, summary.uses.size

    found = tally(has_counts).summary()
    assert all_of(found) == all_of(empty(CONTRACT.vocab_size, CONTRACT.max_length))
    assert found.uses.dtype == (np.int64 if has_counts else bool)


@pytest.mark.parametrize(("has_counts", "uses"), [(True, [1, 0, 3]), (False, [True, False, True])])
def test_ids_are_counted_or_noted(has_counts: bool, uses: list[int]) -> None:
    noted = tally(has_counts)
    noted.use(np.array([2, 2, 0]))
    noted.summary()
    noted.use(np.array([2]))
    assert noted.summary().uses.tolist() == [*uses, *[0] * (CONTRACT.vocab_size - 3)]


def test_a_fault_of_a_file_is_in_one_place_and_no_row() -> None:
    told = tally()
    told.report_file(Fault.UNREADABLE, "torn")
    assert told.summary().faults == (FileFault(3, "a.npz", Fault.UNREADABLE, Sums(1, 0), (Offender(-1, -1, "torn"),)),)
