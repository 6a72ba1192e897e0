"""Which files a scan reads, and that a bad one is a finding with its name while the others are judged."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.corpus import CorpusReport
from gte_surgery.contract.scan.files import find, tell
from gte_surgery.contract.scan.portions import Format
from gte_surgery.errors import RefusedError, UsageError
from tests.corpora import CONTRACT, plain, scan

GOOD = [[0, 5, 7], [0, 3]]
FORMATS = "parquet, Arrow, JSON lines, .npy, .npz or safetensors"


def parquet(path: Path, ids: list[list[int]] | pa.Array = GOOD, name: str = "input_ids", **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: ids, **columns}), path)
    return path


def stream(path: Path, ids: list[list[int]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"input_ids": ids})
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)
    return path


def told(report: CorpusReport) -> list[tuple[str, str, str]]:
    return [(finding.code, Path(finding.location.file).name, finding.message) for finding in report.findings]


def test_folders_patterns_and_files_are_read_once_each(tmp_path: Path) -> None:
    for name in ("a/1.parquet", "a/b/2.parquet", ".cache/3.parquet", "a/notes.txt"):
        parquet(tmp_path / name)
    assert scan(CONTRACT, tmp_path).files == 2
    assert scan(CONTRACT, tmp_path / "a" / "*.parquet", tmp_path / "a").files == 2
    assert scan(CONTRACT, tmp_path / "**" / "*.parquet").summary.rows == 4


def tree(folder: Path, *names: str) -> None:
    """Empty files of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, *patterns: str) -> list[str]:
    names = find([str(folder / pattern) for pattern in patterns], Columns())
    return [str(Path(name).relative_to(folder)) for name in names]


def test_folders_are_walked_in_order_of_names_without_what_is_hidden(tmp_path: Path) -> None:
    tree(tmp_path, "c.parquet", "b/2.arrow", "b/1.jsonl", "b/a/0.npy", "a.npz", ".d.parquet", ".e/1.parquet", "README")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    (tmp_path / "d.parquet").symlink_to(tmp_path / "c.parquet")
    assert found(tmp_path, ".") == ["a.npz", "b/1.jsonl", "b/2.arrow", "b/a/0.npy", "c.parquet", "d.parquet"]


@pytest.mark.parametrize(
    "name",
    ["a.parquet", "a.pq", "a.arrow", "a.feather", "a.ipc", "a.jsonl", "a.ndjson", "a.npy", "a.npz", "a.safetensors",
     "a.jsonl.gz", "a.jsonl.zst", "a.ndjson.gz"],
)  # fmt: skip
def test_files_of_these_names_are_looked_for_in_folders(name: str, tmp_path: Path) -> None:
    tree(tmp_path, name, f"{name}.tmp", "a.json", "a.gz", "jsonl")
    assert found(tmp_path, ".") == [name]


def test_patterns_are_files_and_folders_in_order_of_names(tmp_path: Path) -> None:
    tree(tmp_path, "b/2.parquet", "b/c/1.parquet", "b/c/d/0.parquet", "a/3.parquet", "a/x.txt", "0.parquet")
    assert found(tmp_path, "?") == ["a/3.parquet", "b/2.parquet", "b/c/1.parquet", "b/c/d/0.parquet"]
    assert found(tmp_path, "*/*") == ["a/3.parquet", "a/x.txt", "b/2.parquet", "b/c/1.parquet", "b/c/d/0.parquet"]
    assert found(tmp_path, "b/**") == ["b/2.parquet", "b/c/1.parquet", "b/c/d/0.parquet"]
    assert found(tmp_path, "**/c") == ["b/c/1.parquet", "b/c/d/0.parquet"]
    assert found(tmp_path, "**/*.parquet") == [
        "0.parquet", "a/3.parquet", "b/2.parquet", "b/c/1.parquet", "b/c/d/0.parquet",
    ]  # fmt: skip


def test_files_come_in_the_order_in_which_they_are_asked_for_and_once(tmp_path: Path) -> None:
    tree(tmp_path, "b/2.parquet", "a/1.parquet", "x.any")
    assert found(tmp_path, "x.any", "b", "*/*.parquet", "b/2.parquet") == ["x.any", "b/2.parquet", "a/1.parquet"]


def test_columns_beside_ids_are_passed_over_unless_they_are_named(tmp_path: Path) -> None:
    tree(tmp_path, "a_input_ids.npy", "a_attention_mask.npy")
    assert found(tmp_path, ".") == found(tmp_path, "*.npy") == ["a_input_ids.npy"]
    assert found(tmp_path, "a_attention_mask.npy") == ["a_attention_mask.npy"]
    assert find([str(tmp_path)], Columns(mask="m")) == [
        str(tmp_path / "a_attention_mask.npy"), str(tmp_path / "a_input_ids.npy"),
    ]  # fmt: skip


SUFFIXES = ".parquet, .pq, .arrow, .feather, .ipc, .jsonl, .ndjson, .npy, .npz, .safetensors"


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [("nowhere", "a file, a folder or a pattern"), ("*.x", "a file, a folder or a pattern"), ("empty", SUFFIXES)],
)
def test_what_would_be_scanned_is_told_where_there_is_nothing(pattern: str, wanted: str, tmp_path: Path) -> None:
    tree(tmp_path, "empty/README", "a.parquet")
    with pytest.raises(RefusedError) as raised:
        find([str(tmp_path / "a.parquet"), str(tmp_path / pattern)], Columns())
    assert raised.value.message == f"{tmp_path / pattern}: no file to scan, must be {wanted}"


@pytest.mark.parametrize(
    ("name", "content", "is_what"),
    [
        ("a", b"PAR1....", Format.PARQUET),
        ("a", b"ARROW1\x00\x00", Format.ARROW),
        ("a", b"\xff\xff\xff\xff....", Format.ARROW),
        ("a", b"\x93NUMPY\x01\x00", Format.NPY),
        ("a", b"PK\x03\x04....", Format.NPZ),
        ("a", b"PK\x05\x06", Format.NPZ),
        ("a", b"\x1f\x8b\x08....", Format.JSON_LINES),
        ("a", b"\x28\xb5\x2f\xfd....", Format.JSON_LINES),
        ("a", b"\x02\0\0\0\0\0\0\0{}", Format.SAFETENSORS),
        ("a", b'{"input_ids": [0]}', Format.JSON_LINES),
        ("a", b'\xef\xbb\xbf\r\n\t {"input_ids": [0]}', Format.JSON_LINES),
        ("a.jsonl", b"nonsense", Format.JSON_LINES),
        ("a.ndjson", b"nonsense", Format.JSON_LINES),
        ("a.json", b"nonsense", Format.JSON_LINES),
        ("a.jsonl.gz", b"nonsense", Format.JSON_LINES),
        ("a.parquet", b"nonsense", "of unknown content, must be ids and masks: " + FORMATS),
        ("a.jsonl", b"", "empty"),
        ("a.jsonl", b"[{}]", "a JSON array, must be one object a line"),
        ("a", b"\xef\xbb\xbf\r\n\t [{}]", "a JSON array, must be one object a line"),
        ("a.npz", b"PK\x03\x04....archive/data.pkl", "a PyTorch zip archive holding a pickle"),
        ("a.jsonl", b"<html>", "an HTML or XML page"),
        ("a.npy", b"\x80\x04", "a Python pickle"),
    ],
)
def test_what_a_file_is_is_told_by_how_it_begins(
    name: str, content: bytes, is_what: Format | str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    expected = (is_what, len(content)) if isinstance(is_what, Format) else is_what
    assert tell(str(tmp_path / name)) == expected


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert tell(str(tmp_path)) == tell(str(tmp_path / "pipe")) == "not a regular file"


def test_a_pattern_may_be_the_name_of_a_file(tmp_path: Path) -> None:
    assert scan(CONTRACT, parquet(tmp_path / "part[0].parquet")).files == 1


@pytest.mark.parametrize("name", ["nowhere.parquet", "*.parquet", "empty"])
def test_a_path_that_stands_for_nothing_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RefusedError, match="no file to scan"):
        scan(CONTRACT, tmp_path / name)


def test_a_datasets_folder_is_what_its_state_names(tmp_path: Path) -> None:
    for split, ids in (("train", GOOD), ("test", [[0, 99]])):
        stream(tmp_path / split / "data-00000-of-00001.arrow", ids)
        stream(tmp_path / split / "cache-1234.arrow", [[-5]])
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": split}
        (tmp_path / split / "state.json").write_text(json.dumps(state))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    report = scan(CONTRACT, tmp_path)
    assert (report.files, report.summary.rows) == (2, 3)
    assert [finding.code for finding in report.findings] == ["GTE414"]


def test_files_of_a_state_come_in_its_order_behind_what_lies_in_folders(tmp_path: Path) -> None:
    tree(tmp_path, "set/a.arrow", "set/b.arrow", "set/c.arrow", "set/z/d.arrow")
    (tmp_path / "set" / "state.json").write_text('{"_data_files": [{"filename": "b.arrow"}, {"filename": "a.arrow"}]}')
    assert found(tmp_path, "set") == ["set/z/d.arrow", "set/b.arrow", "set/a.arrow"]


def test_a_state_may_begin_with_a_mark_and_name_files_in_any_language(tmp_path: Path) -> None:
    tree(tmp_path, "ä.arrow", "b.arrow")
    state = '{"_data_files": [{"filename": "ä.arrow"}]}'
    (tmp_path / "state.json").write_text(state, encoding="utf-8-sig")
    assert found(tmp_path, ".") == ["ä.arrow"]


@pytest.mark.parametrize(
    "state",
    ["nonsense", "[]", "{}", '{"_data_files": [{}]}', '{"_data_files": 5}', '{"_data_files": [{"filename": 5}]}',
     '{"_data_files": [{"filename": "a.arrow"}, {"filename": "/a.arrow"}]}', b"\xff\xfe\xff"],
)  # fmt: skip
def test_a_state_that_names_no_files_of_its_folder_is_none(state: str | bytes, tmp_path: Path) -> None:
    tree(tmp_path, "a.arrow", "b.arrow")
    (tmp_path / "state.json").write_bytes(state if isinstance(state, bytes) else state.encode())
    assert found(tmp_path, ".") == ["a.arrow", "b.arrow"]


def test_a_state_that_leads_out_of_its_folder_is_not_followed(tmp_path: Path) -> None:
    stream(tmp_path / "outside.arrow", [[-5]])
    stream(tmp_path / "set" / "inside.arrow", GOOD)
    (tmp_path / "set" / "state.json").write_text('{"_data_files": [{"filename": "../outside.arrow"}]}')
    assert scan(CONTRACT, tmp_path / "set").findings == ()


def test_numpy_files_that_are_columns_of_others_are_not_ids(tmp_path: Path) -> None:
    np.save(tmp_path / "train_input_ids.npy", np.array([[0, 5], [0, 1]]))
    np.save(tmp_path / "train_attention_mask.npy", np.array([[1, 1], [1, 1]]))
    np.save(tmp_path / "other.npy", np.array([[0, 7]], np.int16))
    report = scan(CONTRACT, tmp_path)
    assert (report.files, report.summary.rows, report.summary.unmasked) == (2, 3, 1)
    assert [finding.code for finding in report.findings] == ["GTE427"]


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("cut.parquet", lambda good: good[:-20], "Parquet magic bytes not found"),
        ("pointer.parquet", lambda good: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("page.parquet", lambda good: b"<!DOCTYPE html><html>", "HTML"),
        ("nothing.parquet", lambda good: b"", "empty"),
        ("text.parquet", lambda good: b"hello", "unknown content"),
        ("array.jsonl", lambda good: b'[{"input_ids": [0]}]', "JSON array"),
        ("cut.jsonl.gz", lambda good: gzip.compress(b'{"input_ids": [0]}\n' * 999)[:-9], "Truncated"),
        ("zip.npz", lambda good: b"PK\x03\x04 not really", "zip"),
        ("cut.npy", lambda good: b"\x93NUMPY\x01\x00", "EOF"),
        ("bad.safetensors", lambda good: (60).to_bytes(8, "little") + b'{"x":{"dtype":"I64"}' + b" " * 40, "x"),
        ("stream.arrow", lambda good: b"\xff\xff\xff\xff\x10\x00\x00\x00", ""),
    ],
)
def test_a_bad_file_is_a_finding_with_its_name_and_the_next_is_judged(
    name: str, content: object, fragment: str, tmp_path: Path
) -> None:
    good = parquet(tmp_path / "z_good.parquet")
    (tmp_path / name).write_bytes(content(good.read_bytes()))  # type: ignore[operator]
    report = scan(CONTRACT, tmp_path)
    ((code, file, message),) = told(report)
    assert (code, file) == ("GTE480", name)
    assert fragment in message
    assert "\n" not in message
    assert report.summary.rows >= 2


def test_a_torn_page_in_the_middle_of_a_parquet_file_is_a_finding(tmp_path: Path) -> None:
    path = parquet(tmp_path / "torn.parquet", [[0, 5, 7]] * 5000)
    raw = bytearray(path.read_bytes())
    raw[4:60] = b"\xff" * 56
    path.write_bytes(raw)
    assert [code for code, *_ in told(scan(CONTRACT, path))] == ["GTE480"]


def test_what_cannot_be_opened_is_a_finding(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "gone.parquet").symlink_to(tmp_path / "nowhere")
    parquet(tmp_path / "z.parquet")
    assert [(code, name) for code, name, _ in told(scan(CONTRACT, tmp_path))] == [
        ("GTE480", "gone.parquet"), ("GTE480", "pipe.parquet"),
    ]  # fmt: skip


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[0, None]], object), allow_pickle=True)
    ((code, _, message),) = told(scan(CONTRACT, tmp_path))
    assert code == "GTE480"
    assert "Python objects" in message


def test_no_rows_is_a_warning_for_a_file_and_an_error_for_all(tmp_path: Path) -> None:
    parquet(tmp_path / "empty.parquet", pa.array([], pa.list_(pa.int64())))
    (tmp_path / "blank.jsonl").write_bytes(b"\n\n")
    schema = pa.schema([("input_ids", pa.list_(pa.int64()))])
    pa.ipc.new_stream(str(tmp_path / "stream.arrow"), schema).close()
    pa.ipc.new_file(str(tmp_path / "file.arrow"), schema).close()
    np.save(tmp_path / "none.npy", np.zeros((0, 4), np.int64))
    report = scan(CONTRACT, tmp_path)
    assert sorted((code, name) for code, name, _ in told(report)) == [
        ("GTE484", "blank.jsonl"), ("GTE484", "empty.parquet"), ("GTE484", "file.arrow"), ("GTE484", "none.npy"),
        ("GTE484", "stream.arrow"), ("GTE485", "blank.jsonl"),
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [Columns(ids="tokens"), Columns(mask="my_mask"), Columns(offsets="cuts")])
def test_a_column_that_is_asked_for_must_be_there(columns: Columns, tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet")
    ((code, name, message),) = told(scan(CONTRACT, tmp_path, columns=columns))
    assert (code, name) == ("GTE481", "a.parquet")
    assert message.endswith("there are input_ids")


def test_columns_of_other_names_are_found_by_them(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", name="tokens", keep=[[True] * 3, [True] * 2], labels=[1, 0])
    report = scan(CONTRACT, tmp_path, columns=Columns(ids="tokens", mask="keep"))
    assert (report.findings, report.summary.unmasked) == ((), 0)


def test_one_name_for_two_columns_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        Columns(mask="input_ids")


@pytest.mark.parametrize(
    ("ids", "code", "fragment"),
    [
        (pa.array([["a"]]), "GTE411", "list<"),
        (pa.array([1, 2]), "GTE410", "int64, must be lists"),
        (pa.array([[0.0, 1.5]]), "GTE411", "ids are float64 in row 0"),
    ],
)
def test_a_column_of_another_type_is_a_finding(ids: pa.Array, code: str, fragment: str, tmp_path: Path) -> None:
    ((found, _, message),) = told(scan(CONTRACT, parquet(tmp_path / "a.parquet", ids)))
    assert found == code
    assert fragment in message


@pytest.mark.parametrize(
    ("mask", "code"),
    [
        (pa.array([[1.0, 1.0, 1.0], [1.0, 1.0]]), "GTE423"),
        (pa.array([[0.0, 0.0, float("-inf")], [0.0, -1e9]]), "GTE424"),
    ],
)
def test_a_floating_point_mask_is_told_for_what_it_is(mask: pa.Array, code: str, tmp_path: Path) -> None:
    report = scan(CONTRACT, parquet(tmp_path / "a.parquet", attention_mask=mask))
    assert {fault.value: sums.rows for fault, sums in report.summary.sums.items()} == {code: 2}
    (tmp_path / "a.jsonl").write_text(
        "".join(
            json.dumps({"input_ids": ids, "attention_mask": values.as_py()}) + "\n"
            for ids, values in zip(GOOD, mask, strict=True)
        )
    )
    assert plain(scan(CONTRACT, tmp_path / "a.jsonl").summary)["sums"] == {code: (2, 2)}


@pytest.mark.parametrize(
    "line",
    ['{"input_ids": [0, 5.5]}', '{"input_ids": ["0"]}', '{"input_ids": 5}', '{"input_ids": [true]}',
     '{"input_ids": [99999999999999999999]}'],
)  # fmt: skip
def test_lines_that_hold_no_integers_are_told_with_their_number(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"input_ids": [0, 5]}}\n\n{line}\n{{"input_ids": [0, 6]}}')
    report = scan(CONTRACT, tmp_path)
    assert [(fault.fault.value, fault.offenders[0].row) for fault in report.summary.faults] == [("GTE411", 2)]
    assert (report.summary.rows, report.summary.sequences) == (3, 2)


def test_blank_lines_are_counted_but_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"input_ids": [0, 5]}\n\n{"input_ids": [0, 99]}\n')
    summary = scan(CONTRACT, tmp_path).summary
    assert (summary.rows, [fault.offenders[0].row for fault in summary.faults]) == (2, [3])


@pytest.mark.parametrize("kind", ["fixed", "large", "sliced"])
def test_lists_of_every_kind_may_be_null(kind: str, tmp_path: Path) -> None:
    rows = [[0, 5], None, [0, 99]]
    lists = {"fixed": pa.list_(pa.int64(), 2), "large": pa.large_list(pa.int64()), "sliced": pa.list_(pa.int64())}[kind]
    table = pa.table({"input_ids": pa.array([[7, 7], *rows], lists)}).slice(1)
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, tmp_path / "b.parquet")
    summary = scan(CONTRACT, tmp_path).summary
    assert (summary.rows, summary.sequences, summary.tokens) == (6, 4, 8)
    assert [(fault.order, fault.fault.value, fault.offenders[0].row) for fault in summary.faults] == [
        (0, "GTE414", 2), (0, "GTE482", 1), (1, "GTE414", 2), (1, "GTE482", 1),
    ]  # fmt: skip


def test_lines_may_be_broken_long_or_marked(tmp_path: Path) -> None:
    lines = [
        '\ufeff{"input_ids": [0, 5]}',
        "nonsense",
        "[1]",
        '{"text": "x"}',
        '{"input_ids": [0], "text": "' + "x" * 10**6,
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + '"}', encoding="utf-8")
    report = scan(CONTRACT, tmp_path)
    ((fault),) = report.summary.faults
    assert (fault.fault.value, [at.row for at in fault.offenders]) == ("GTE482", [1, 2, 3])
    assert report.summary.sequences == 2


@pytest.mark.parametrize("writer", ["parquet", "jsonl"])
def test_offsets_take_rows_apart_that_are_packed_in_lists(writer: str, tmp_path: Path) -> None:
    rows = {
        "input_ids": [[0, 5, 0, 99, 3], [0, 7], [0], [0, 2], [0, 2]],
        "cuts": [[0, 2, 5], [0, 2], [0, 2], [0, 2, 1, 2], [1, 2]],
    }
    if writer == "parquet":
        pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    else:
        packed = zip(*rows.values(), strict=True)
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"input_ids": i, "cuts": c}) + "\n" for i, c in packed))
    summary = scan(CONTRACT, tmp_path, columns=Columns(offsets="cuts")).summary
    assert (summary.rows, summary.sequences, summary.tokens) == (5, 3, 7)
    assert {fault.value: sums.rows for fault, sums in summary.sums.items()} == {"GTE414": 1, "GTE483": 3}
    assert [(fault.fault.value, fault.offenders[0].row, fault.offenders[0].column) for fault in summary.faults] == [
        ("GTE414", 0, 3), ("GTE483", 2, -1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("offsets", "fragment"),
    [([0, 3], "end with 3"), ([1, 4], "begin with 1"), ([0, 3, 2, 4], "fall from 3 to 2"), ([], "flat array")],
)
def test_offsets_of_flat_arrays_must_cut_them(offsets: list[int], fragment: str, tmp_path: Path) -> None:
    flat = {"input_ids": np.array([0, 5, 6, 7]), "offsets": np.array(offsets, np.int64)}
    save_file(flat, tmp_path / "a.safetensors")
    ((code, _, message),) = told(scan(CONTRACT, tmp_path))
    assert code == "GTE483"
    assert fragment in message


def test_arrays_of_other_shapes_are_told(tmp_path: Path) -> None:
    ids = np.zeros((2, 3), np.int64)
    np.savez(tmp_path / "a.npz", input_ids=ids[None])
    np.savez(tmp_path / "b.npz", input_ids=ids, attention_mask=ids[:1])
    np.savez(tmp_path / "c.npz", input_ids=ids[0])
    np.savez(tmp_path / "d.npz", input_ids=ids, attention_mask=ids[:, :2])
    assert [(code, name) for code, name, _ in told(scan(CONTRACT, tmp_path))] == [
        ("GTE410", "a.npz"), ("GTE421", "b.npz"), ("GTE410", "c.npz"), ("GTE421", "d.npz"),
    ]  # fmt: skip


def test_big_endian_numbers_are_read_as_what_they_are(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, 5, 99]], ">i4"))
    assert [message for *_, message in told(scan(CONTRACT, tmp_path))] == [
        "99 at row 0, column 2, must be below vocab_size 12"
    ]
