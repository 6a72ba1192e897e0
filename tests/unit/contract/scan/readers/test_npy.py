"""NumPy files: what lies beside which, what their headers allow, and what a zip of them holds."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.judging.blocks import Array
from gte_surgery.contract.scan.portions import Format, Source, Span
from gte_surgery.contract.scan.readers import arrays
from gte_surgery.contract.scan.readers.array_files import is_companion, plan, read
from tests.unit.contract.raw_blocks import all_columns

IDS = np.arange(12).reshape(4, 3)


def source(path: Path, nbytes: int = 200) -> Source:
    return Source(path.name, str(path), 0, Format.NPZ if path.suffix == ".npz" else Format.NPY, nbytes)


def whole(rows: int) -> Span:
    return Span(0, rows, 0, rows, 0)


def save(folder: Path, **found: object) -> None:
    for name, values in found.items():
        np.save(folder / f"{name}.npy", np.asarray(values))


def reason(path: Path) -> tuple[object, ...]:
    with pytest.raises(CorpusError) as raised:
        plan(source(path), Columns())
    return raised.value.args


def test_an_array_has_a_span_for_each_portion_and_a_zip_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "PORTION", 100)
    np.save(tmp_path / "a.npy", IDS)
    np.savez(tmp_path / "a.npz", input_ids=IDS)
    assert plan(source(tmp_path / "a.npy"), Columns()) == [Span(0, 2, 0, 2, 100), Span(2, 4, 2, 2, 100)]
    assert plan(source(tmp_path / "a.npz", 400), Columns()) == [Span(0, 4, 0, 4, 400)]


def test_the_columns_of_an_array_lie_beside_it_under_the_same_beginning(tmp_path: Path) -> None:
    save(
        tmp_path,
        a_input_ids=[[5, 6]],
        a_attention_mask=[[1, 1]],
        b_token_type_ids=[[7, 7]],
        a_labels=[[3, 3]],
        labels=[[4, 4]],
        input_ids=[[8, 9]],
        position_ids=[[0, 1]],
    )
    asked = Columns(labels="labels")
    assert all_columns(read(source(tmp_path / "a_input_ids.npy"), whole(1), asked)) == [
        {"rows": [0], "ids": [[5, 6]], "mask": [[1, 1]], "labels": [[3, 3]]}
    ]
    assert all_columns(read(source(tmp_path / "input_ids.npy"), whole(1), asked)) == [
        {"rows": [0], "ids": [[8, 9]], "labels": [[4, 4]]}
    ]


def test_a_file_of_another_name_holds_ids_alone(tmp_path: Path) -> None:
    save(tmp_path, ids=[[5, 6]], attention_mask=[[1, 1]], idsattention_mask=[[1, 1]])
    assert all_columns(read(source(tmp_path / "ids.npy"), whole(1), Columns())) == [{"rows": [0], "ids": [[5, 6]]}]


@pytest.mark.parametrize(("columns", "name"), [(Columns(), "cu_seqlens"), (Columns(offsets="cuts"), "cuts")])
def test_offsets_lie_beside_flat_ids_as_well(columns: Columns, name: str, tmp_path: Path) -> None:
    save(tmp_path, x_input_ids=[5, 6, 7], **{f"x_{name}": [0, 1, 3]})
    path = tmp_path / "x_input_ids.npy"
    assert plan(source(path), columns) == [Span(0, 2, 0, 2, 200)]
    assert all_columns(read(source(path), whole(2), columns)) == [{"rows": [0, 1], "ids": [[5], [6, 7]]}]


@pytest.mark.parametrize(
    ("name", "columns", "is_one"),
    [
        ("a_attention_mask.npy", Columns(), True),
        ("a_token_type_ids.npy", Columns(), True),
        ("a_offsets.npy", Columns(), True),
        ("a_cu_seqlens.npy", Columns(), True),
        ("attention_mask.npy", Columns(), False),
        ("b_attention_mask.npy", Columns(), False),
        ("a_input_ids.npy", Columns(), False),
        ("a_labels.npy", Columns(), False),
        ("a_labels.npy", Columns(labels="labels"), True),
        ("a_offsets.npy", Columns(offsets="cuts"), False),
        ("a_cuts.npy", Columns(offsets="cuts"), True),
        ("a_attention_mask.npy", Columns(mask="m"), False),
        ("a_attention_mask.npy", Columns(mask="attention_mask", types="mask"), True),
        ("a_attention_mask.npy", Columns(mask="mask", types="attention_mask"), True),
        ("a_attention_mask", Columns(), False),
        ("a_attention_mask.npz", Columns(), False),
        ("t_offsets.npy", Columns(ids="tokens"), False),
        ("t_offsets.npy", Columns(ids="okens"), True),
    ],
)
def test_a_column_beside_ids_is_told_by_its_name(name: str, columns: Columns, is_one: bool, tmp_path: Path) -> None:
    for there in ("a_input_ids.npy", "t_okens.npy"):
        (tmp_path / there).touch()
    assert is_companion(str(tmp_path / name), columns) is is_one


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["<i8", ">i2", "|b1"])
def test_headers_of_every_version_are_read(version: tuple[int, int], dtype: str, tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, (IDS % 2).astype(dtype), version)
    (block,) = read(source(tmp_path / "a.npy"), whole(4), Columns())
    assert all_columns([block]) == [{"rows": [0, 1, 2, 3], "ids": (IDS % 2).tolist()}]
    assert block.ids.values.dtype == np.dtype(dtype).newbyteorder("=")


def test_a_matrix_in_fortran_order_is_refused(tmp_path: Path) -> None:
    save(tmp_path, a=np.asfortranarray(IDS))
    assert reason(tmp_path / "a.npy") == (Fault.UNREADABLE, "in Fortran order; save np.ascontiguousarray of it")


def test_flat_ids_are_in_either_order(tmp_path: Path) -> None:
    with (tmp_path / "a_input_ids.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": True, "shape": (2,)})
        file.write(np.array([5, 6], "<i8").tobytes())
    save(tmp_path, a_offsets=[0, 2])
    path = tmp_path / "a_input_ids.npy"
    assert all_columns(read(source(path), whole(1), Columns())) == [{"rows": [0], "ids": [[5, 6]]}]


def test_python_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[None]]), allow_pickle=True)
    told = "holds Python objects, which are never unpickled; must be integers"
    assert reason(tmp_path / "a.npy") == (Fault.UNREADABLE, told)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<i8", ">u2"])
def test_a_zip_holds_all_columns_and_is_read_block_by_block(
    save: object, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 6)
    path = tmp_path / "a.npz"
    save(path, input_ids=IDS.astype(dtype), attention_mask=IDS + 20, other=[1])  # type: ignore[operator]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("token_type_ids", b"no array")
        archive.writestr("read.me", b"no array")
    blocks = list(read(source(path), whole(4), Columns()))
    assert all_columns(blocks) == [
        {"rows": [0, 1], "ids": [[0, 1, 2], [3, 4, 5]], "mask": [[20, 21, 22], [23, 24, 25]]},
        {"rows": [2, 3], "ids": [[6, 7, 8], [9, 10, 11]], "mask": [[26, 27, 28], [29, 30, 31]]},
    ]
    assert {block.ids.values.dtype for block in blocks} == {np.dtype(dtype).newbyteorder("=")}


def test_flat_ids_in_a_zip_are_read_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 2)
    np.savez(tmp_path / "a.npz", input_ids=[5, 6, 7, 8], offsets=[0, 1, 3, 3, 4])
    assert all_columns(read(source(tmp_path / "a.npz"), whole(4), Columns())) == [
        {"rows": [0], "ids": [[5]]}, {"rows": [1, 2], "ids": [[6, 7], []]}, {"rows": [3], "ids": [[8]]},
    ]  # fmt: skip


@pytest.mark.parametrize("missing", [1, 8, 9])
def test_an_array_in_a_zip_that_ends_early_is_told(missing: int, tmp_path: Path) -> None:
    whole_array = io.BytesIO()
    np.save(whole_array, IDS)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("input_ids.npy", whole_array.getvalue()[:-missing])
    with pytest.raises(CorpusError) as raised:
        list(read(source(tmp_path / "a.npz"), whole(4), Columns()))
    assert raised.value.args == (Fault.UNREADABLE, "an array ends before its header says")


@pytest.mark.parametrize("other", [np.array(["a", "b"], object), np.asfortranarray(IDS), np.zeros(2, "i8,f4")])
def test_what_nobody_asks_for_in_a_zip_may_be_anything(other: Array, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", input_ids=IDS, texts=other)
    assert all_columns(read(source(tmp_path / "a.npz"), whole(4), Columns())) == [
        {"rows": [0, 1, 2, 3], "ids": IDS.tolist()}
    ]
    with pytest.raises(CorpusError, match="no array 'attention' for mask, there are input_ids, texts"):
        plan(source(tmp_path / "a.npz"), Columns(mask="attention"))
