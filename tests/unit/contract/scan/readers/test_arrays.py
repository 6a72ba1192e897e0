"""Rows out of plain arrays: how they are shared out, read and, where the arrays do not go together, refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.judging.blocks import Array
from gte_surgery.contract.scan.portions import Format, Source, Span
from gte_surgery.contract.scan.readers import arrays
from gte_surgery.contract.scan.readers.array_files import FileArray
from gte_surgery.contract.scan.readers.arrays import chosen, rows_of, spans_of
from tests.unit.contract.raw_blocks import all_columns

NAMED = Columns(labels="labels", positions="position_ids")


@dataclass
class InMemory:
    """An array in no file, which notes what is read of it, and how to open it."""

    array: Array
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.array.dtype

    def __call__(self) -> InMemory:
        return self

    def read(self, begin: int, end: int) -> Array:
        self.reads.append((begin, end))
        return self.array.reshape(-1)[begin:end]


def stored(**found: object) -> dict[str, InMemory]:
    return {name: InMemory(np.asarray(values)) for name, values in found.items()}


def source(nbytes: int) -> Source:
    return Source("a", "/a", 0, Format.NPY, nbytes)


def whole(rows: int) -> Span:
    return Span(0, rows, 0, rows, 0)


@pytest.mark.parametrize(
    ("nbytes", "rows", "spans"),
    [
        (0, 10, [Span(0, 10, 0, 10, 0)]),
        (149, 10, [Span(0, 10, 0, 10, 149)]),
        (155, 10, [Span(0, 5, 0, 5, 77), Span(5, 10, 5, 5, 77)]),
        (400, 10, [Span(0, 2, 0, 2, 80), Span(2, 5, 2, 3, 120), Span(5, 7, 5, 2, 80), Span(7, 10, 7, 3, 120)]),
        (400, 2, [Span(0, 1, 0, 1, 200), Span(1, 2, 1, 1, 200)]),
        (400, 0, [Span(0, 0, 0, 0, 400)]),
    ],
)
@pytest.mark.parametrize("is_flat", [False, True])
def test_rows_are_shared_out_by_bytes_on_disk(
    nbytes: int, rows: int, spans: list[Span], is_flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "PORTION", 100)
    if is_flat:
        found = stored(input_ids=np.zeros(rows), offsets=np.arange(rows + 1))
    else:
        found = stored(input_ids=np.zeros((rows, 3)))
    assert spans_of(found, source(nbytes), Columns()) == spans


def test_rectangles_are_read_a_few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 7)
    ids = np.arange(18).reshape(6, 3)
    found = stored(input_ids=ids, attention_mask=ids + 100)
    assert all_columns(rows_of(found, Span(1, 6, 1, 5, 0), Columns())) == [
        {"rows": [1, 2], "ids": [[3, 4, 5], [6, 7, 8]], "mask": [[103, 104, 105], [106, 107, 108]]},
        {"rows": [3, 4], "ids": [[9, 10, 11], [12, 13, 14]], "mask": [[109, 110, 111], [112, 113, 114]]},
        {"rows": [5], "ids": [[15, 16, 17]], "mask": [[115, 116, 117]]},
    ]
    assert found["input_ids"].reads == found["attention_mask"].reads == [(3, 9), (9, 15), (15, 18)]


def test_rows_wider_than_a_block_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 2)
    found = stored(input_ids=[[0, 1, 2], [3, 4, 5]])
    assert all_columns(rows_of(found, whole(2), Columns())) == [
        {"rows": [0], "ids": [[0, 1, 2]]}, {"rows": [1], "ids": [[3, 4, 5]]},
    ]  # fmt: skip


def test_rows_without_columns_are_refused_where_a_block_cannot_hold_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header of a few bytes can promise any number of them."""
    monkeypatch.setattr(arrays, "BLOCK", 2)
    assert all_columns(rows_of(stored(input_ids=np.zeros((2, 0))), whole(2), Columns())) == [
        {"rows": [0, 1], "ids": [[], []]}
    ]
    with pytest.raises(CorpusError, match=r"shape \[3, 0\], rows must have columns"):
        list(rows_of(stored(input_ids=np.zeros((3, 0))), whole(3), Columns()))


def test_a_column_beside_the_ids_may_be_wider_than_they_are() -> None:
    """Which is then a finding, not a misread row."""
    found = stored(input_ids=[[1], [2]], attention_mask=[[1, 2, 3], [4, 5, 6]])
    assert all_columns(rows_of(found, whole(2), Columns())) == [
        {"rows": [0, 1], "ids": [[1], [2]], "mask": [[1, 2, 3], [4, 5, 6]]}
    ]


@pytest.mark.parametrize(
    ("span", "rows", "reads"),
    [
        (Span(0, 6, 0, 6, 0), [[0, 1], [2], [3, 4, 5]], [(0, 4), (4, 10), (10, 14)]),
        (Span(1, 4, 1, 3, 0), [[1], [2], [3]], [(2, 4), (4, 10), (10, 10)]),
        (Span(3, 5, 3, 2, 0), [[3, 4]], [(10, 13)]),
    ],
)
def test_flat_ids_are_read_as_many_rows_at_once_as_fit(
    span: Span, rows: list[list[int]], reads: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 4)
    ids = [[0, 1], [2, 3], [4, 5, 6, 7, 8, 9], [], [10, 11, 12], [13]]
    found = stored(input_ids=np.arange(14), labels=np.arange(14), offsets=[0, 2, 4, 10, 10, 13, 14])
    assert all_columns(rows_of(found, span, Columns(labels="labels"))) == [
        {"rows": block, "ids": [ids[row] for row in block], "labels": [ids[row] for row in block]} for block in rows
    ]
    assert found["input_ids"].reads == found["labels"].reads == reads


def test_flat_arrays_of_no_rows_have_no_block() -> None:
    assert list(rows_of(stored(input_ids=np.zeros(0), offsets=[0]), whole(0), Columns())) == []


@pytest.mark.parametrize(
    ("columns", "there", "cut_by"),
    [
        (Columns(), ("offsets", "cu_seqlens"), "offsets"),
        (Columns(), ("cu_seqlens",), "cu_seqlens"),
        (Columns(offsets="cuts"), ("cuts", "offsets"), "cuts"),
    ],
)
def test_offsets_are_those_that_are_named_or_else_of_a_usual_name(
    columns: Columns, there: tuple[str, ...], cut_by: str
) -> None:
    found = stored(input_ids=[5, 6], **{name: [0, 2] for name in there})
    assert chosen(found, columns) == {"ids": found["input_ids"], "offsets": found[cut_by]}


def test_rectangles_need_no_offsets_and_arrays_that_nobody_asked_for_are_left_alone() -> None:
    found = stored(input_ids=[[5]], token_type_ids=[[0]], labels=[[1]], offsets=[0, 1])
    assert chosen(found, Columns()) == {"ids": found["input_ids"], "types": found["token_type_ids"]}


FLAT = {"input_ids": [4, 5, 6], "offsets": [0, 3]}
MUST = "must be a flat array of integers that begins with 0"


@pytest.mark.parametrize(
    ("found", "columns", "fault", "reason"),
    [
        ({}, Columns(), Fault.NO_COLUMN, "no array 'input_ids' for ids, there are none"),
        ({"x": [[1]], "b": [[1]]}, Columns(), Fault.NO_COLUMN, "no array 'input_ids' for ids, there are b, x"),
        ({"input_ids": [[1]]}, NAMED, Fault.NO_COLUMN, "no array 'labels' for labels, there are input_ids"),
        (FLAT, Columns(offsets="cuts"), Fault.NO_COLUMN,
         "no array 'cuts' for offsets, there are input_ids, offsets"),
        ({"input_ids": [4, 5, 6]}, Columns(), Fault.NOT_ROWS, "flat ids of shape [3] without offsets to cut them"),
        ({"input_ids": 7}, Columns(), Fault.NOT_ROWS, "'input_ids' has shape [], must be [rows, columns]"),
        ({"t": [[[7]]]}, Columns(ids="t"), Fault.NOT_ROWS, "'t' has shape [1, 1, 1], must be [rows, columns]"),
        ({"input_ids": [[7, 7]], "attention_mask": [1, 1]}, Columns(), Fault.MASK_SHAPE,
         "mask has shape [2], the ids have [1, 2]"),
        ({"input_ids": [[7], [7]], "token_type_ids": [[1]]}, Columns(), Fault.TYPES_SHAPE,
         "types has shape [1, 1], the ids have [2, 1]"),
        (FLAT | {"labels": [1, 2]}, Columns(labels="labels"), Fault.LABELS_SHAPE,
         "labels has shape [2], the ids have [3]"),
        (FLAT | {"position_ids": [[1], [2], [3]]}, Columns(positions="position_ids"), Fault.POSITIONS_SHAPE,
         "positions has shape [3, 1], the ids have [3]"),
        (FLAT | {"offsets": [[0, 3]]}, Columns(), Fault.BAD_OFFSETS, f"offsets of shape [1, 2], int64, {MUST}"),
        (FLAT | {"offsets": np.zeros(0, np.uint8)}, Columns(), Fault.BAD_OFFSETS,
         f"offsets of shape [0], uint8, {MUST}"),
        (FLAT | {"offsets": [0.0, 3.0]}, Columns(), Fault.BAD_OFFSETS, f"offsets of shape [2], float64, {MUST}"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_go_together_are_refused_however_they_are_met(
    found: dict[str, object], columns: Columns, fault: Fault, reason: str
) -> None:
    """Also by a reader, for a file may change once it was planned."""
    with pytest.raises(CorpusError) as planning:
        spans_of(stored(**found), source(1), columns)
    with pytest.raises(CorpusError) as reading:
        next(rows_of(stored(**found), whole(1), columns))
    assert planning.value.args == reading.value.args == (fault, reason)


@pytest.mark.parametrize("dtype", ["i4", "u8"])
def test_offsets_may_be_of_any_integers(dtype: str) -> None:
    found = stored(input_ids=[4, 5, 6], offsets=np.array([0, 2, 3], dtype))
    assert spans_of(found, source(9), Columns()) == [Span(0, 2, 0, 2, 9)]
    assert all_columns(rows_of(found, whole(2), Columns())) == [{"rows": [0, 1], "ids": [[4, 5], [6]]}]


@pytest.mark.parametrize(
    ("offsets", "span", "reason"),
    [
        ([1, 3, 4], whole(2), "offsets begin with 1, must begin with 0"),
        ([0, 3, 3], whole(2), "offsets end with 3, there are 4 ids"),
        ([0, 3, 5], whole(2), "offsets end with 5, there are 4 ids"),
        ([0, 5, 6], Span(0, 1, 0, 1, 0), "offsets end with 5, there are 4 ids"),
        ([0, 3, 2, 4, 1], whole(4), "offsets fall from 3 to 2 at row 1"),
        ([0, 1, 3, 3, 2], Span(2, 4, 2, 2, 0), "offsets fall from 3 to 2 at row 3"),
        (np.array([0, 3, 2, 4], np.uint8), whole(3), "offsets fall from 3 to 2 at row 1"),
    ],
)
def test_offsets_that_do_not_rise_from_0_to_the_number_of_ids_are_refused(
    offsets: object, span: Span, reason: str
) -> None:
    with pytest.raises(CorpusError) as raised:
        list(rows_of(stored(input_ids=[5, 6, 7, 8], offsets=offsets), span, Columns()))
    assert raised.value.args == (Fault.BAD_OFFSETS, reason)


def test_offsets_of_a_stretch_need_neither_begin_with_0_nor_end_with_the_number_of_ids() -> None:
    found = stored(input_ids=[5, 6, 7, 8], offsets=[0, 1, 3, 4])
    assert all_columns(rows_of(found, Span(1, 2, 1, 1, 0), Columns())) == [{"rows": [1], "ids": [[6, 7]]}]


def test_a_stretch_may_end_with_the_last_id_before_the_last_row() -> None:
    found = stored(input_ids=[5, 6], offsets=[0, 2, 2])
    assert all_columns(rows_of(found, Span(0, 1, 0, 1, 0), Columns())) == [{"rows": [0], "ids": [[5, 6]]}]


@pytest.mark.parametrize("dtype", ["<i2", ">i2", ">u4", "u1"])
def test_an_array_in_a_file_is_read_from_its_offset_on(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"head!" + np.arange(10, dtype=dtype).tobytes() + b"tail")
    found = FileArray(str(path), 5, (5, 2), np.dtype(dtype)).read(3, 7)
    assert found.tolist() == [3, 4, 5, 6]
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.dtype.isnative


def test_an_array_whose_file_ends_before_it_does_is_told_with_where(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"head!" + bytes(9))
    array = FileArray(str(path), 5, (5, 2), np.dtype("<i2"))
    assert array.read(0, 4).tolist() == [0, 0, 0, 0]
    with pytest.raises(CorpusError) as raised:
        array.read(2, 5)
    assert raised.value.args == (Fault.UNREADABLE, "ends at byte 13, in the middle of the array")
