"""A row map knows where each row comes from and goes, in stretches too, and names the entry that is wrong."""

from __future__ import annotations

from array import array
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.row_map import ID_LIMIT, Places, RowMap, keep_of, map_of, place, row_map

LINES = Places("map.tsv", "line", (1, 2, 3, 4))


def made(*origins: tuple[int, ...]) -> RowMap:
    """The map whose new row i is made of the old rows origins[i]."""
    named = [new for new, rows in enumerate(origins) if rows]
    old = array("q", (row for rows in origins for row in rows))
    offsets = array("q", accumulate((len(origins[new]) for new in named), initial=0))
    return RowMap(len(origins), array("q", named), old, offsets, LINES)


ORIGINS = st.lists(st.one_of(st.integers(0, 9).map(lambda row: (row,)), st.just(()), st.just((4, 5))), max_size=12)


@given(origins=ORIGINS)
def test_each_new_row_has_its_origin_and_others_none(origins: list[tuple[int, ...]]) -> None:
    found = made(*origins)
    assert [tuple(found.origin(new)) for new in range(len(origins))] == origins
    assert tuple(found.origin(len(origins))) == tuple(found.origin(-1)) == ()


@given(origins=ORIGINS, old=st.integers(0, 10))
def test_the_new_id_is_the_lowest_that_keeps_the_row_as_it_is(origins: list[tuple[int, ...]], old: int) -> None:
    wanted = next((new for new, rows in enumerate(origins) if rows == (old,)), None)
    assert made(*origins).new_id(old) == wanted


@given(origins=ORIGINS, bounds=st.tuples(st.integers(0, 14), st.integers(0, 14)).map(sorted))
def test_stretches_make_up_the_rows_and_are_as_long_as_can_be(
    origins: list[tuple[int, ...]], bounds: list[int]
) -> None:
    first, stop = bounds
    stretches = list(made(*origins).stretches(first, stop))
    padded = [*origins, *[()] * 20]
    assert [row for begin, end, _ in stretches for row in range(begin, end)] == list(range(first, stop))
    for begin, end, has_origin in stretches:
        rows = padded[begin:end]
        if not has_origin:
            assert not any(rows)
        elif len(rows) > 1:
            assert rows == [(rows[0][0] + at,) for at in range(len(rows))]
    for (begin, end, one), (_, far, other) in pairwise(stretches):
        whole = padded[begin:far]
        assert one or other
        assert not (one and other) or whole != [(whole[0][0] + at,) for at in range(len(whole))]
        assert end > begin


def test_the_new_id_passes_over_means_of_which_the_row_is_a_part() -> None:
    found = made((5, 4), (4,), (7, 6), (6, 7), (7, 7), (6,))
    assert [found.new_id(old) for old in (4, 5, 6, 7)] == [1, None, 5, None]


def test_stretches_by_example() -> None:
    found = made((5,), (6,), (9,), (), (), (1, 2), (2,), (3,))
    assert list(found.stretches(0, 10)) == [
        (0, 2, True), (2, 3, True), (3, 5, False), (5, 6, True), (6, 8, True), (8, 10, False),
    ]  # fmt: skip
    assert list(found.stretches(1, 4)) == [(1, 2, True), (2, 3, True), (3, 4, False)]
    assert list(found.stretches(4, 4)) == []
    apart = made((5,), (), (7,), (3, 4), (4, 5))
    assert list(apart.stretches(0, 5)) == [
        (0, 1, True), (1, 2, False), (2, 3, True), (3, 4, True), (4, 5, True),
    ]  # fmt: skip


def test_a_map_is_put_in_order_with_its_places() -> None:
    found = row_map((7, 0, 3), (5, 6, 4), Places("map.tsv", "line", (1, 2, 9)), {"map": "x"})
    assert (list(found.new), list(found.old), list(found.offsets)) == ([0, 3, 7], [6, 4, 5], [0, 1, 2, 3])
    assert [found.places[entry] for entry in range(3)] == ["map.tsv:2", "map.tsv:9", "map.tsv:1"]
    assert (found.rows, found.record, found.coverage) == (8, {"map": "x"}, ())
    assert row_map((0,), (5,), LINES, {}, rows=12).rows == 12


def test_repeats_are_refused_unless_they_are_allowed() -> None:
    with pytest.raises(RefusedError) as twice:
        row_map((0, 1, 2), (5, 6, 5), LINES, {})
    assert twice.value.message == "map.tsv:3: old id 5 is there already, line 1"
    assert twice.value.hint == "name each row once, or let several new ids share a row with --allow-repeats"
    assert list(row_map((0, 1, 2), (5, 6, 5), LINES, {}, allow_repeats=True).old) == [5, 6, 5]
    with pytest.raises(RefusedError) as again:
        row_map((3, 1, 3), (5, 6, 5), LINES, {}, allow_repeats=True)
    assert again.value.message == "map.tsv:3: new id 3 is there already, line 1"
    assert again.value.hint == "name each new id once"


def test_no_entry_is_no_map() -> None:
    with pytest.raises(RefusedError, match=r"^map\.tsv: names no row, must name at least one$"):
        row_map((), (), LINES, {})


@pytest.mark.parametrize("number", [-1, ID_LIMIT])
def test_ids_have_their_limits(number: int) -> None:
    with pytest.raises(RefusedError, match=f"^keep: entry 1: id {number}, must be from 0 to 2147483647$"):
        keep_of([0, number])
    with pytest.raises(RefusedError, match=f"^map: entry 1: id {number}, must be from 0 to 2147483647$"):
        map_of({0: 1, 1: number})
    with pytest.raises(RefusedError, match=f"^map: entry 0: id {number}, must be from 0 to 2147483647$"):
        map_of({number: 1})


def test_the_least_and_the_greatest_id_are_taken() -> None:
    assert list(keep_of([ID_LIMIT - 1, 0]).old) == [ID_LIMIT - 1, 0]
    assert keep_of([0]).record == {"keep": "given"}
    assert map_of({5: 0}).record == {"map": "given"}


def test_given_maps_may_repeat_where_allowed() -> None:
    assert list(keep_of([3, 3], allow_repeats=True).old) == list(map_of({0: 3, 1: 3}, allow_repeats=True).old) == [3, 3]
    for refused in (lambda: keep_of([3, 3]), lambda: map_of({0: 3, 1: 3})):
        with pytest.raises(RefusedError, match="old id 3 is there already, entry 0"):
            refused()


def test_places_in_words() -> None:
    assert (place("map.tsv", "line", 17), place("map.npy", "element", 16)) == ("map.tsv:17", "map.npy: element 16")
