"""Files of maps: every form says the same, and every fault is refused with its line."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.vocabulary.map_files import read_keep, read_map
from gte_surgery.vocabulary.row_map import RowMap, keep_of, map_of


def pairs(found: RowMap) -> dict[int, int]:
    return dict(zip(found.new, found.old, strict=True))


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


MAPS = st.dictionaries(st.integers(0, 99), st.integers(0, 2**31 - 1), min_size=1)


@given(wanted=MAPS, indent=st.sampled_from([None, 0, 3]), end=st.sampled_from(["\n", "\r\n"]))
def test_every_form_of_a_map_says_the_same(
    wanted: dict[int, int], indent: int | None, end: str, tmp_path: Path
) -> None:
    lines = end.join(f"{new}\t{old}" for new, old in wanted.items())
    ids = np.full(max(wanted) + 1, -1)
    ids[list(wanted)] = list(wanted.values())
    np.save(tmp_path / "map.npy", ids)
    maps = [
        read_map(written(tmp_path, "map.json", json.dumps(wanted, indent=indent)), True),
        read_map(written(tmp_path, "map.tsv", lines), True),
        read_map(written(tmp_path, "map.tsv", lines + end), True),
        read_map(tmp_path / "map.npy", True),
        map_of(wanted, True),
    ]
    for found in maps:
        assert pairs(found) == wanted
        assert list(found.new) == sorted(wanted)
        assert found.rows == max(wanted) + 1
        assert list(found.offsets) == list(range(len(wanted) + 1))


@given(wanted=st.lists(st.integers(0, 2**31 - 1), min_size=1, unique=True), indent=st.sampled_from([None, 2]))
def test_every_form_of_a_list_says_the_same(wanted: list[int], indent: int | None, tmp_path: Path) -> None:
    np.save(tmp_path / "keep.npy", np.array(wanted))
    lists = [
        read_keep(written(tmp_path, "keep.json", json.dumps(wanted, indent=indent))),
        read_keep(written(tmp_path, "keep.txt", "".join(f"{old}\n" for old in wanted))),
        read_keep(tmp_path / "keep.npy"),
        keep_of(wanted),
    ]
    for found in lists:
        assert pairs(found) == dict(enumerate(wanted))


def test_the_end_of_an_array_may_have_no_origin(tmp_path: Path) -> None:
    np.save(tmp_path / "map.npy", np.array([4, -1, 2, -1, -1], np.int32))
    found = read_map(tmp_path / "map.npy")
    assert pairs(found) == {0: 4, 2: 2}
    assert found.rows == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0\t5\n1\t6\n0\t7\n", "map:3: new id 0 is there already, line 1"),
        ("0\t5\n1\t5\n", "map:2: old id 5 is there already, line 1"),
        ("0\t5\n1\n", "map:2: '1', must be new id, tab, old id"),
        ("0\t5\n\n", "map:2: '', must be new id, tab, old id"),
        ("0\t5\t9\n", "map:1: '0\\\\t5\\\\t9', must be new id, tab, old id"),
        ("0 5\n", "map:1: '0 5', must be"),
        ("new\told\n0\t5\n", "map:1: 'new\\\\told', must be"),
        ("0\t-1\n", "map:1: '0\\\\t-1', must be"),
        ("0\t05\n", "map:1: '0\\\\t05', must be"),
        ("0\t2147483648\n", "map:1: id 2147483648, must be from 0 to 2147483647"),
        ("0\t5\n1\t" + "9" * 5000 + "\n", "map:2: id 9{40}, must be from 0"),
        ("0\t٣\n", "map:1: byte 0xd9, must be ASCII digits"),
        ("", "map: names no row"),
        ("{}", "map: names no row"),
        ('{"0": 5,\n "1": 6,\n "0": 7}', "map:3: new id 0 is there already, line 1"),
        ('{"0": 5,\n "1": 5}', "map:2: old id 5 is there already, line 1"),
        ('{"0": 5,\n "1": "6"}', 'map:2: \'"1": "6"}\', must be "new id": old id'),
        ('{"0": 5,\n\n "1": 6.0}', "map:3: "),
        ('{"0": 5,\n}', "map:2: '}', must be"),
        ('{"0": 5\n "1": 6}', "map:1: "),
        ('{"0": 5}\n}', "map:2: '}', must be the end of the file"),
        ('{"0": [5]}', "map:1: "),
        ('{"0": 5', "map:1: "),
        ('{"a": 5}', "map:1: "),
        ('{"0": 5000000000}', "map:1: id 5000000000, must be from 0 to 2147483647"),
        ('\n\n{"0": 5,\n"0": 4}', "map:4: new id 0 is there already, line 3"),
    ],
)
def test_a_fault_of_a_map_is_refused_with_its_line(
    content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match=f"^{message}"):
        read_map(written(tmp_path, "map", content).relative_to(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("5\n6\n5\n", "keep:3: old id 5 is there already, line 1"),
        ("5\nsix\n", "keep:2: 'six', must be one id"),
        ("5\n 6\n", "keep:2: ' 6', must be one id"),
        ("5\n\n6\n", "keep:2: '', must be one id"),
        ("5\t6\n", "keep:1: "),
        ("", "keep: names no row"),
        ("[]", "keep: names no row"),
        ("[5,\n6,\n5]", "keep:3: old id 5 is there already, line 1"),
        ("[5,\n6,\n]", "keep:3: ']', must be an id"),
        ("[5, null]", "keep:1: 'null\\]', must be an id"),
        ("[5] 6", "keep:1: '6', must be the end of the file"),
    ],
)
def test_a_fault_of_a_list_is_refused_with_its_line(
    content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match=f"^{message}"):
        read_keep(written(tmp_path, "keep", content).relative_to(tmp_path))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([3, 4, 3]), "element 2: old id 3 is there already, element 0"),
        (np.array([3, -2]), "element 1: id -2"),
        (np.array([3, 2**31]), "element 1: id 2147483648"),
        (np.array([2**64 - 1], np.uint64), "element 0: id 18446744073709551615"),
        (np.array([3.0, 4.0]), "float64 of shape \\[2\\], must be whole numbers in one dimension"),
        (np.array([[3, 4]]), "int64 of shape \\[1, 2\\]"),
        (np.array([True]), "bool of shape"),
        (np.array([-1, -1]), "names no row"),
        (np.array([object()]), "not a readable .npy array: .*Python objects|not a readable .npy array: .*allow_pickle"),
    ],
)
def test_a_fault_of_an_array_is_refused_with_its_element(ids: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "map.npy", ids, allow_pickle=True)
    with pytest.raises(RefusedError, match=message):
        read_map(tmp_path / "map.npy")


@pytest.mark.parametrize(("ids", "at"), [([3, -1, 4], 1), ([-1, 3], 0), ([3, 4, -1], 2)])
def test_a_list_to_keep_has_no_holes(ids: list[int], at: int, tmp_path: Path) -> None:
    np.save(tmp_path / "keep.npy", np.array(ids))
    with pytest.raises(RefusedError, match=f"element {at}: id -1"):
        read_keep(tmp_path / "keep.npy")


def test_a_damaged_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "map.npy", np.arange(100))
    raw = (tmp_path / "map.npy").read_bytes()
    for size in (7, 40, len(raw) - 8):
        with pytest.raises(RefusedError, match="not a readable"):
            read_map(written(tmp_path, "cut.npy", raw[:size]))


@given(raw=st.binary(max_size=60) | st.text('[]{}":,0123 \n\t-n', max_size=40).map(str.encode))
def test_any_bytes_are_a_map_or_a_refusal(raw: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, "any", raw)
    for read in (read_map, read_keep):
        refused = ""
        try:
            assert read(path, True).new
        except RefusedError as error:
            refused = error.message
        assert not refused or str(path) in refused


def test_a_file_that_is_none_is_a_usage_error_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "pipe"):
        with pytest.raises(UsageError):
            read_map(path)


@pytest.mark.parametrize("ids", [[-1], [2**31], [5, 5]])
def test_lists_in_python_are_held_to_the_same(ids: list[int]) -> None:
    with pytest.raises(RefusedError, match=r"keep: entry"):
        keep_of(ids)
    with pytest.raises(RefusedError, match=r"map: entry"):
        map_of(dict(enumerate(ids)))


@given(wanted=MAPS, first=st.integers(0, 50), count=st.integers(0, 60))
def test_stretches_tile_the_rows_and_tell_what_lies_side_by_side(
    wanted: dict[int, int], first: int, count: int
) -> None:
    found, stop = map_of(wanted, True), first + count
    stretches = list(found.stretches(first, stop))
    assert [row for begin, end, _ in stretches for row in range(begin, end)] == list(range(first, stop))
    for begin, end, has_origin in stretches:
        rows = [wanted.get(new) for new in range(begin, end)]
        assert rows == ([wanted[begin] + step for step in range(end - begin)] if has_origin else [None] * (end - begin))
    for (_, _, one), (at, _, other) in pairwise(stretches):
        assert one != other or (one and wanted[at] != wanted[at - 1] + 1)
