"""Row maps: which old rows make which new rows, as a plain value that names no row twice. Files that hold one are read
in `map_files`, maps between tokenizers are made in `token_map`; what becomes of the rows is for `remap`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import NamedTuple

from gte_surgery.errors import RefusedError
from gte_surgery.whole import whole

ID_LIMIT = 2**31
"""Ids are below this."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the entries of a map stand, for messages: `at[i]` is the place of entry i in `source`.

    A "line" is counted from 1 and shown as "map.tsv:17", any other unit as "map.npy: element 16".
    """

    source: str
    unit: str
    at: Sequence[int]

    def __getitem__(self, entry: int) -> str:
        return place(self.source, self.unit, self.at[entry])


class Point(NamedTuple):
    """A point of the curve of a vocabulary: the `size` asked for, the tokens `kept` then, and the share of all counted
    ones that those are, `coverage`; how many `parameters` and `nbytes` the tables have fewer.
    """

    size: int
    kept: int
    coverage: float
    parameters: int = 0
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class RowMap:
    """New row `new[i]` is made of the old rows `old[offsets[i]:offsets[i + 1]]`: one is kept as it is, of several the
    mean is taken. New rows that `new` does not name have no origin. `new` ascends and names none twice.

    `rows` is the size of the new vocabulary as far as the map knows it, `places` where each entry stands. `record` is
    what a receipt says of the map, `coverage` what a plan says, in words; `curve` is what other sizes would come to.
    """

    rows: int
    new: Sequence[int]
    old: Sequence[int]
    offsets: Sequence[int]
    places: Places
    record: Mapping[str, object] = field(default_factory=dict)
    coverage: tuple[str, ...] = ()
    curve: tuple[Point, ...] = ()

    def origin(self, new: int) -> Sequence[int]:
        """The old rows of which a new row is made; none when it has no origin."""
        at = bisect_left(self.new, new)
        if at == len(self.new) or self.new[at] != new:
            return ()
        return self.old[self.offsets[at] : self.offsets[at + 1]]

    def new_id(self, old: int) -> int | None:
        """The new id of an old row that is kept as it is, the lowest where there are several; None when it is not."""
        at = _index(self.old, old, 0)
        while at is not None:
            entry = bisect_right(self.offsets, at) - 1
            if self.offsets[entry + 1] - self.offsets[entry] == 1:
                return self.new[entry]
            at = _index(self.old, old, at + 1)
        return None

    def kept(self) -> Iterator[tuple[int, int]]:
        """(new id, old id) of the rows that are kept as they are, in ascending order of the new ids."""
        for new, begin, end in zip(self.new, self.offsets, islice(self.offsets, 1, None), strict=False):
            if end - begin == 1:
                yield new, self.old[begin]

    def new_ids(self) -> dict[int, int]:
        """The new ids by old ones of the rows that are kept as they are; of several the lowest."""
        found: dict[int, int] = {}
        for new, old in self.kept():
            found.setdefault(old, new)
        return found

    def stretches(self, first: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """(begin, end, whether it has an origin) of the stretches that make up new rows [first, stop): old rows kept
        side by side, or rows without an origin. A mean of several is a stretch of its own.
        """
        begin = at = first
        before: int | None = None
        for entry in range(bisect_left(self.new, first), bisect_left(self.new, stop)):
            new, origin = self.new[entry], self.offsets[entry]
            distance = self.old[origin] - new if self.offsets[entry + 1] - origin == 1 else None
            if begin < at and (new > at or distance is None or distance != before):
                yield begin, at, True
                begin = at
            if at < new:
                yield at, new, False
                begin = new
            before, at = distance, new + 1
        if begin < at:
            yield begin, at, True
        if at < stop:
            yield at, stop, False


def kept_rows(count: int) -> RowMap:
    """The map that keeps the first `count` rows where they are."""
    return RowMap(count, range(count), range(count), range(count + 1), Places("", "row", range(count)))


def row_map(
    new: Sequence[int],
    old: Sequence[int],
    places: Places,
    record: Mapping[str, object],
    *,
    rows: int | None = None,
    allow_repeats: bool = False,
) -> RowMap:
    """The map that makes row `new[i]` of row `old[i]`, in any order; `rows` as far as the highest new id if not given.

    Raises RefusedError for no entry at all, a new id named twice, and an old id named twice unless `allow_repeats`.
    """
    if not new:
        raise RefusedError(f"{places.source}: names no row, must name at least one")
    if not allow_repeats:
        hint = "name each row once, or let several new ids share a row with --allow-repeats"
        _refuse_twice("old id", old, places, hint)
    order = _refuse_twice("new id", new, places, "name each new id once")
    ordered = (array("q", map(kept.__getitem__, order)) for kept in (new, old, places.at))
    ascending, origins, at = ordered
    rows = ascending[-1] + 1 if rows is None else rows
    offsets = array("q", range(len(new) + 1))
    return RowMap(rows, ascending, origins, offsets, Places(places.source, places.unit, at), record)


def map_of(pairs: Mapping[int, int], allow_repeats: bool = False) -> RowMap:
    """The map {new id: old id}; raises RefusedError as `row_map`, and for numbers that are no ids."""
    places = Places("map", "entry", range(len(pairs)))
    return row_map(
        _ids(pairs, places), _ids(pairs.values(), places), places, {"map": "given"}, allow_repeats=allow_repeats
    )


def keep_of(ids: Iterable[int], allow_repeats: bool = False) -> RowMap:
    """The map that keeps these old ids in their order; raises RefusedError as `map_of`."""
    listed = list(ids)
    places = Places("keep", "entry", range(len(listed)))
    old = _ids(listed, places)
    return row_map(range(len(old)), old, places, {"keep": "given"}, allow_repeats=allow_repeats)


def place(source: str, unit: str, at: int) -> str:
    """A place in words: "map.tsv:17", or "map.npy: element 16"."""
    return f"{source}:{at}" if unit == "line" else f"{source}: {unit} {at}"


def refused_id(where: str, found: object) -> RefusedError:
    """What is raised for a number that is no id."""
    return RefusedError(f"{where}: id {found}, must be from 0 to {ID_LIMIT - 1}")


def _ids(numbers: Iterable[int], places: Places) -> array[int]:
    ids = array("q")
    for entry, number in enumerate(numbers):
        number = number if type(number) is int else whole(places[entry], number)
        if not 0 <= number < ID_LIMIT:
            raise refused_id(places[entry], number)
        ids.append(number)
    return ids


def _index(ids: Sequence[int], wanted: int, first: int) -> int | None:
    """Where a sequence holds an id, from place `first` on; None for nowhere."""
    try:
        return ids.index(wanted, first)
    except ValueError:
        return None


def _refuse_twice(kind: str, ids: Sequence[int], places: Places, hint: str) -> Sequence[int]:
    """The entries in ascending order of their ids; raises RefusedError when two of them are the same."""
    if all(one < other for one, other in pairwise(ids)):
        return range(len(ids))
    order = array("q", sorted(range(len(ids)), key=ids.__getitem__))
    for one, other in pairwise(order):
        if ids[one] == ids[other]:
            first = f"{places.unit} {places.at[one]}"
            raise RefusedError(f"{places[other]}: {kind} {ids[other]} is there already, {first}", hint)
    return order
