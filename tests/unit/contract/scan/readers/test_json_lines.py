"""JSON lines: where they are cut, how they are counted, and that whole chunks are read at once wherever they may be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.judging.blocks import RawBlock
from gte_surgery.contract.scan.portions import Format, Source, Span
from gte_surgery.contract.scan.readers import json_lines
from gte_surgery.contract.scan.readers.json_lines import count, plan, read
from tests.unit.contract.raw_blocks import all_columns

FIVE = b"1111\n22\n\n33333\n4\n"
LINE = b'{"input_ids": [5]}\n'


def file(folder: Path, content: bytes) -> Source:
    path = folder / "a.jsonl"
    path.write_bytes(content)
    return Source("a", str(path), 0, Format.JSON_LINES, len(content))


def whole(source: Source) -> Span:
    return Span(0, source.nbytes, 0, None, source.nbytes)


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, "zstd", asbytes=True)
    return packed


@pytest.fixture
def only_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is read on its own."""

    def refuse(chunk: bytes, first_row: int, columns: Columns) -> RawBlock:
        raise AssertionError(f"line by line from {first_row} on")

    monkeypatch.setattr(json_lines, "read_lines", refuse)


@pytest.mark.parametrize(
    ("portion", "spans"),
    [
        (17, [Span(0, 17, 0, None, 17)]),
        (16, [Span(0, 17, 0, 5, 17)]),
        (14, [Span(0, 15, 0, 4, 15), Span(15, 17, 4, 1, 2)]),
        (5, [Span(0, 8, 0, 2, 8), Span(8, 15, 2, 2, 7), Span(15, 17, 4, 1, 2)]),
        (1, [Span(0, 5, 0, 1, 5), Span(5, 8, 1, 1, 3), Span(8, 15, 2, 2, 7), Span(15, 17, 4, 1, 2)]),
    ],
)
def test_a_file_is_cut_behind_lines(
    portion: int, spans: list[Span], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "PORTION", portion)
    assert plan(file(tmp_path, FIVE), Columns()) == spans


def test_the_last_line_may_lack_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "PORTION", 4)
    source = file(tmp_path, b"11\n22\n3")
    assert plan(source, Columns()) == [Span(0, 6, 0, 2, 6), Span(6, 7, 2, 1, 1)]
    assert count(source, Span(0, 6, 0, 2, 6), 99) == 2
    assert count(source, whole(source), 99) == 3


@pytest.mark.parametrize("packed", [gzip.compress(FIVE), zstd(FIVE)], ids=["gzip", "zstd"])
def test_a_compressed_file_is_one_span_and_has_the_lines_that_it_holds(
    packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "PORTION", 4)
    source = file(tmp_path, packed)
    assert plan(source, Columns()) == [Span(0, len(packed), 0, None, len(packed))]
    assert count(source, whole(source), 99) == 5


def test_only_the_beginning_says_that_a_file_is_compressed(tmp_path: Path) -> None:
    source = file(tmp_path, b"11\n\x1f\x8b\n")
    assert count(source, whole(source), 99) == 2


@pytest.mark.parametrize("most", [1, 2, 4])
def test_nobody_looks_for_more_lines_than_are_wanted(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is cut off behind them is none the worse."""
    monkeypatch.setattr(json_lines, "CHUNK", 5)
    source = file(tmp_path, gzip.compress(b"11\n22\n33333\n44\n")[:-4])
    assert count(source, whole(source), most) == most
    with pytest.raises(OSError, match="Truncated compressed stream"):
        count(source, whole(source), 99)


@pytest.mark.parametrize("chunk", [1, 19, 20, 38, 1000])
@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.usefixtures("only_fast")
def test_lines_are_whole_however_much_is_read_at_once(
    chunk: int, is_compressed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "CHUNK", chunk)
    lines = LINE * 4 + LINE.rstrip()
    source = file(tmp_path, gzip.compress(lines) if is_compressed else lines)
    blocks = all_columns(read(source, whole(source), Columns()))
    rows = [block["rows"] for block in blocks]
    assert (
        rows
        == {
            1: [[0], [1], [2], [3], [4]],
            19: [[0], [1], [2], [3], [4]],
            20: [[0], [1], [2], [3], [4]],
            38: [[0, 1], [2, 3], [4]],
            1000: [[0, 1, 2, 3], [4]],
        }[chunk]
    )
    assert [ids for block in blocks for ids in block["ids"]] == [[5]] * 5


@pytest.mark.usefixtures("only_fast")
def test_a_span_is_read_alone_and_its_rows_go_on_from_the_first(tmp_path: Path) -> None:
    source = file(tmp_path, b'nonsense\n{"input_ids": [6]}\n{"input_ids": [7]}\n{"input_ids": [8]}\n')
    assert all_columns(read(source, Span(9, 47, 1, 2, 38), Columns())) == [
        {"rows": [1, 2], "ids": [[6], [7]], "mask": [None, None], "types": [None, None]}
    ]


def test_the_last_byte_of_a_span_is_a_line_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "CHUNK", 5)
    source = file(tmp_path, b"1111\n2")
    assert count(source, whole(source), 99) == 2


def test_a_line_longer_than_memory_should_hold_ends_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "CHUNK", 5)
    monkeypatch.setattr(json_lines, "LONGEST_LINE", 1003)
    source = file(tmp_path, b"1\n" + b"x" * 1012 + b"\n3\n")
    assert count(source, whole(source), 99) == 3
    source = file(tmp_path, b"1\n" + b"x" * 1013 + b"\n3\n")
    with pytest.raises(CorpusError) as raised:
        count(source, whole(source), 99)
    assert raised.value.args == (Fault.UNREADABLE, "a line of more than 1,003 bytes")


def test_planning_holds_no_more_of_a_line_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "PORTION", 4)
    monkeypatch.setattr(json_lines, "LONGEST_LINE", 10)
    source = file(tmp_path, b"1\n2\n3\n" + b"x" * 20 + b"\n4\n")
    spans = plan(source, Columns())
    assert spans == [Span(0, 6, 0, 3, 6), Span(6, 29, 3, 1, 23)]
    monkeypatch.setattr(json_lines, "CHUNK", 4)
    with pytest.raises(CorpusError) as raised:
        list(read(source, spans[1], Columns()))
    assert raised.value.args == (Fault.UNREADABLE, "a line of more than 10 bytes")


ALL = Columns(labels="labels", positions="at", offsets="cuts")


@pytest.mark.parametrize(
    ("rows", "columns", "found"),
    [
        ([{"input_ids": [1, 2]}, {"input_ids": []}], Columns(),
         {"ids": [[1, 2], []], "mask": [None, None], "types": [None, None]}),
        ([{"text": "a", "input_ids": [1]}, {"input_ids": None, "other": [[]]}, {}], Columns(mask="m", types="t"),
         {"ids": [[1], None, None], "mask": [None] * 3, "types": [None] * 3}),
        ([{"input_ids": [1, 2], "attention_mask": [True, False]}, {"attention_mask": []}], Columns(),
         {"ids": [[1, 2], None], "mask": [[True, False], []], "types": [None, None]}),
        ([{"input_ids": [1, 2], "attention_mask": [1, 0]}, {"attention_mask": None}], Columns(),
         {"ids": [[1, 2], None], "mask": [[1, 0], None], "types": [None, None]}),
        ([{"attention_mask": []}, {"attention_mask": [1]}], Columns(),
         {"ids": [None, None], "mask": [[], [1]], "types": [None, None]}),
        ([{"i": [1], "labels": [-100], "at": [0], "cuts": [0, 1], "token_type_ids": [1]}],
         Columns("i", labels="labels", positions="at", offsets="cuts"),
         {"ids": [[1]], "mask": [None], "types": [[1]], "labels": [[-100]], "positions": [[0]], "offsets": [[0, 1]]}),
        ([{"input_ids": [1], "text": "x" * (2 << 20)}, {"input_ids": [2], "text": 5}], Columns(),
         {"ids": [[1], [2]], "mask": [None, None], "types": [None, None]}),
        ([{"input_ids": [2**63 - 1, -(2**63)]}], Columns(),
         {"ids": [[2**63 - 1, -(2**63)]], "mask": [None], "types": [None]}),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("only_fast")
def test_tidy_lines_are_read_at_once(
    rows: list[object], columns: Columns, found: dict[str, object], tmp_path: Path
) -> None:
    source = file(tmp_path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    (block,) = read(source, whole(source), columns)
    assert all_columns([block]) == [{"rows": list(range(len(rows))), **found}]
    assert block.ids.values.dtype == np.int64


def test_a_mask_is_of_booleans_where_its_first_row_is(tmp_path: Path) -> None:
    source = file(tmp_path, b'{"attention_mask": [true]}\n{"attention_mask": [false]}\n')
    (block,) = read(source, whole(source), Columns())
    assert (block.others["mask"].values.dtype, block.others["types"].values.dtype) == (np.bool_, np.int64)


@pytest.mark.parametrize(
    ("lines", "rows", "unread"),
    [
        ([LINE, b"nonsense", LINE], [7, 9], [8]),
        ([b"nonsense", LINE], [8], [7]),
        ([b"[5]", LINE], [8], [7]),
        ([b"{", b'"input_ids": [5]}', LINE], [9], [7, 8]),
        ([LINE, b"", LINE], [7, 9], []),
        ([LINE, LINE.rstrip() + LINE], [7], [8]),
        ([LINE, b'{"input_ids": [5.5]}'], [7], [8]),
        ([b'{"input_ids": [true]}', LINE], [8], [7]),
        ([b'{"text": ' + b"[" * 99999, LINE], [8], [7]),
        ([b'{"text": "\xff"}', LINE], [7, 8], []),
    ],
    ids=["nonsense", "first", "array", "broken", "blank", "two", "fraction", "boolean", "deep", "bytes"],
)
def test_other_lines_are_read_one_by_one_under_the_same_numbers(
    lines: list[bytes], rows: list[int], unread: list[int], tmp_path: Path
) -> None:
    source = file(tmp_path, b"".join(line.rstrip() + b"\n" for line in lines))
    blocks = list(read(source, Span(0, source.nbytes, 7, None, 0), Columns()))
    assert [row for block in blocks for row in block.rows.tolist()] == rows
    assert [each.row for block in blocks for each in block.unread] == unread


def test_only_the_lines_around_an_odd_one_are_read_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "SLOW", 3 * len(LINE))
    asked: list[bytes] = []
    slow = json_lines.read_lines
    monkeypatch.setattr(json_lines, "read_lines", lambda chunk, *rest: (asked.append(chunk), slow(chunk, *rest))[1])
    source = file(tmp_path, LINE * 41 + b"nonsense\n" + LINE * 22)
    blocks = list(read(source, whole(source), Columns()))
    assert [row for block in blocks for row in block.rows.tolist()] == [*range(41), *range(42, 64)]
    assert [each.row for block in blocks for each in block.unread] == [41]
    assert sum(chunk.count(b"\n") for chunk in asked) <= 3


def test_a_file_of_lines_that_are_no_rows_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "SLOW", 10)
    monkeypatch.setattr(json_lines, "MOST_UNREAD", 7)
    source = file(tmp_path, b"1\n" * 100)
    found = read(source, whole(source), Columns())
    with pytest.raises(CorpusError) as raised:
        [next(found) for _ in range(9)]
    assert raised.value.args == (Fault.UNREADABLE, "more than 7 lines hold no row")


def test_what_comes_behind_lines_read_one_by_one_goes_on_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "CHUNK", 3)
    source = file(tmp_path, b"\n\n\n" + LINE)
    assert [block.rows.tolist() for block in read(source, whole(source), Columns())] == [[3]]
