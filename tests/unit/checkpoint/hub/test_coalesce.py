"""The requests hold every byte that is needed, none twice, little besides, and none is too long."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checkpoint.hub import coalesce
from gte_surgery.checkpoint.hub.coalesce import GAP, LONGEST, WASTE, coalesced, union, without

RANGES = st.lists(st.tuples(st.integers(0, 1 << 26), st.integers(0, 1 << 18)).map(lambda at: (at[0], at[0] + at[1])))
SMALL = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)).map(lambda at: (at[0], at[0] + at[1])), max_size=8)


@given(RANGES)
def test_requests_cover_what_is_needed_and_little_more(ranges: list[tuple[int, int]]) -> None:
    requests = coalesced(ranges)
    assert list(without(ranges, requests)) == []
    assert all(end - begin <= LONGEST for begin, end in requests)
    assert all(before[1] <= after[0] for before, after in pairwise(requests))
    wanted, asked = (sum(end - begin for begin, end in each) for each in (union(ranges), requests))
    assert asked <= (1 + WASTE) * wanted


def test_gaps_are_bridged_up_to_their_bound_and_long_ranges_are_cut() -> None:
    large = 4 * GAP
    assert coalesced([(0, large), (large + GAP - 1, 2 * large)]) == [(0, 2 * large)]
    assert coalesced([(0, large), (large + GAP, 3 * large)]) == [(0, large), (large + GAP, 3 * large)]
    assert coalesced([(5, 5 + 2 * LONGEST + 3)]) == [
        (5, 5 + (2 * LONGEST + 5) // 3), (5 + (2 * LONGEST + 5) // 3, 5 + 2 * ((2 * LONGEST + 5) // 3)),
        (5 + 2 * ((2 * LONGEST + 5) // 3), 8 + 2 * LONGEST),
    ]  # fmt: skip
    assert coalesce.coalesced([]) == []


@given(SMALL, SMALL)
def test_ranges_are_sets_of_bytes(ranges: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    def held(each: list[tuple[int, int]]) -> set[int]:
        return {byte for begin, end in each for byte in range(begin, end)}

    assert held(list(union(ranges))) == held(ranges)
    left = list(without(ranges, taken))
    assert held(left) == held(ranges) - held(taken)
    assert sum(end - begin for begin, end in left) == len(held(left))
