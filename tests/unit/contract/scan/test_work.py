"""What is planned for a file, what is seen in a portion of it, and how a file that cannot be read is told."""

from __future__ import annotations

import gzip
import lzma
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gte_surgery import __version__
from gte_surgery.contract.scan import portions, work
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.portions import Format, Portion, Source, Span
from gte_surgery.contract.scan.readers import json_lines
from gte_surgery.contract.scan.summary import FileFault, Offender, Summary, Sums
from gte_surgery.contract.scan.work import Planned, Request, plan, scan
from gte_surgery.errors import CheckpointError, RefusedError
from tests.corpora import CONTRACT

REQUEST = Request(CONTRACT, Columns(), has_counts=False, most=9)
LINE = b'{"input_ids": [0, 5]}\n'
EMPTY = "no row, some were to be expected"


def write(folder: Path, content: bytes, name: str = "a.jsonl") -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def whole_file(name: str, fault: Fault, value: str, order: int = 3) -> tuple[FileFault, ...]:
    """The only fault of a file, which is so of all of it."""
    return (FileFault(order, name, fault, Sums(1, 0), (Offender(-1, value=value),)),)


def of_one_span(name: str, rows: int | None = None, first_row: int = 0) -> Portion:
    size = Path(name).stat().st_size
    return Portion(Source(name, name, 3, Format.JSON_LINES, size), Span(0, size, first_row, rows, size), True)


def numbers(summary: Summary) -> tuple[int, int]:
    return summary.rows, summary.sequences


def test_a_small_file_is_one_portion_which_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, LINE)
    monkeypatch.chdir(tmp_path)
    source = Source("a.jsonl", str(tmp_path / "a.jsonl"), 3, Format.JSON_LINES, 22)
    assert plan(REQUEST, "a.jsonl", 3) == Planned((Portion(source, Span(0, 22, 0, None, 22), True),))


def test_a_larger_file_has_portions_which_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "PORTION", 20)
    found = plan(REQUEST, write(tmp_path, LINE * 2), 3).portions
    assert [(portion.span, portion.is_whole) for portion in found] == [
        (Span(0, 22, 0, 1, 22), False), (Span(22, 44, 1, 1, 22), False),
    ]  # fmt: skip


@pytest.mark.parametrize(("limit", "rows"), [(None, None), (1, 1), (2, 2), (3, 3), (4, 3)])
def test_rows_are_counted_only_where_a_limit_asks_for_them(limit: int | None, rows: int | None, tmp_path: Path) -> None:
    (portion,) = plan(replace(REQUEST, limit=limit), write(tmp_path, LINE * 3), 3).portions
    assert portion.span == Span(0, 66, 0, rows, 66)


def test_a_limit_leaves_spans_whose_rows_are_known_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PORTION", 1)
    table = pa.table({"input_ids": [[0, 5]] * 5})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table, 3)
    found = plan(replace(REQUEST, limit=1), str(tmp_path / "a.arrow"), 3).portions
    assert [portion.span.rows for portion in found] == [3, 2]


@pytest.mark.parametrize(
    ("name", "content", "fault", "value"),
    [
        ("a.jsonl", b"[{}]", Fault.UNREADABLE, "a JSON array, must be one object a line"),
        ("a.npz", b"PK\x03\x04 not really", Fault.UNREADABLE, "File is not a zip file"),
        ("a.safetensors", b"\x09\0\0\0\0\0\0\0{}", Fault.UNREADABLE, "header of 9 bytes in a file of 10 bytes"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_planned_is_told(
    name: str, content: bytes, fault: Fault, value: str, tmp_path: Path
) -> None:
    path = write(tmp_path, content, name)
    planned = plan(REQUEST, path, 3)
    assert planned.portions == ()
    assert planned.failed is not None
    assert planned.failed.faults == whole_file(path, fault, value)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    planned = plan(REQUEST, str(tmp_path / "gone"), 0)
    assert planned.failed is not None
    gone = whole_file(str(tmp_path / "gone"), Fault.UNREADABLE, "No such file or directory", 0)
    assert planned.failed.faults == gone


def test_a_file_without_columns_or_rows_is_told(tmp_path: Path) -> None:
    for ids, fault, value in (("x", Fault.NO_COLUMN, "no column 'input_ids' for ids, there are x"),
                              ("input_ids", Fault.NO_ROWS, EMPTY)):  # fmt: skip
        schema = pa.schema([(ids, pa.list_(pa.int64()))])
        path = str(tmp_path / "a.arrow")
        pa.ipc.new_stream(path, schema).close()
        planned = plan(REQUEST, path, 3)
        assert planned.failed is not None
        assert planned.failed.faults == whole_file(path, fault, value)


def test_a_summary_of_what_failed_fits_those_of_what_did_not(tmp_path: Path) -> None:
    for has_counts, dtype in ((True, np.int64), (False, np.bool_)):
        failed = plan(replace(REQUEST, has_counts=has_counts), str(tmp_path / "gone"), 3).failed
        seen = scan(replace(REQUEST, has_counts=has_counts), of_one_span(write(tmp_path, LINE)))
        assert failed is not None
        assert failed.uses.dtype == seen.uses.dtype == dtype
        assert failed.uses.shape == seen.uses.shape
        assert failed.lengths.shape == seen.lengths.shape


def test_a_portion_is_judged_by_the_contract_and_the_columns_of_the_request(tmp_path: Path) -> None:
    path = write(tmp_path, b'{"x": [0, 5, 99]}\n{"x": [0, 5]}\n')
    summary = scan(replace(REQUEST, columns=Columns(ids="x")), of_one_span(path))
    assert numbers(summary) == (2, 2)
    assert summary.faults == (FileFault(3, path, Fault.ID_BEYOND, Sums(1, 1), (Offender(0, 2, "99"),)),)


@pytest.mark.parametrize(("first_row", "rows", "seen"), [(0, 2, 2), (7, 2, 2), (0, 3, 3), (0, 5, 3), (0, None, 3)])
def test_no_more_rows_are_judged_than_the_span_has(first_row: int, rows: int | None, seen: int, tmp_path: Path) -> None:
    portion = of_one_span(write(tmp_path, LINE * 3), rows, first_row)
    assert numbers(scan(REQUEST, portion)) == (seen, seen)


@pytest.mark.parametrize(("rows", "is_told"), [(1, False), (2, False), (3, True), (None, True)])
def test_what_comes_behind_the_last_row_is_not_read(
    rows: int | None, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is cut off there is none the worse."""
    monkeypatch.setattr(json_lines, "CHUNK", 22)
    path = write(tmp_path, gzip.compress(LINE * 2, mtime=0)[:-4])
    summary = scan(REQUEST, of_one_span(path, rows))
    assert numbers(summary) == ((1, 1) if rows == 1 else (2, 2))
    told = whole_file(path, Fault.UNREADABLE, "Truncated compressed stream")
    assert summary.faults == (told if is_told else ())


def test_blank_lines_come_before_the_last_row_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "CHUNK", 2)
    assert numbers(scan(REQUEST, of_one_span(write(tmp_path, b"\n\n" + LINE * 2), rows=3))) == (1, 1)


@pytest.mark.parametrize(
    ("content", "is_whole", "is_told"),
    [(b"\n\n", True, True), (b"\n\n", False, False), (LINE, True, False), (b"nonsense", True, False)],
)
def test_a_whole_file_without_rows_is_told(content: bytes, is_whole: bool, is_told: bool, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    faults = scan(REQUEST, replace(of_one_span(path), is_whole=is_whole)).faults
    assert (faults == whole_file(path, Fault.NO_ROWS, EMPTY)) is is_told


def test_a_file_that_could_not_be_read_is_not_told_to_be_empty(tmp_path: Path) -> None:
    path = write(tmp_path, LINE)
    portion = of_one_span(path)
    Path(path).unlink()
    told = whole_file(path, Fault.UNREADABLE, "No such file or directory")
    assert scan(REQUEST, portion).faults == told


def test_a_portion_is_refused_where_another_version_asks(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as raised:
        scan(replace(REQUEST, version="0.0"), of_one_span(write(tmp_path, LINE)))
    assert raised.value.message == f"gte-surgery {__version__} is on this node, must be the caller's 0.0"


@pytest.mark.parametrize(
    ("error", "fault", "reason"),
    [
        (CorpusError(Fault.BAD_OFFSETS, "they fall"), Fault.BAD_OFFSETS, "they fall"),
        (CheckpointError("a: cut off"), Fault.UNREADABLE, "a: cut off"),
        (FileNotFoundError(2, "No such file or directory", "a"), Fault.UNREADABLE, "No such file or directory"),
        (OSError("torn\nat byte 5"), Fault.UNREADABLE, "torn"),
        (ValueError("no header\n\nof any kind"), Fault.UNREADABLE, "no header"),
        (EOFError(), Fault.UNREADABLE, "EOFError"),
        (OverflowError("too large"), Fault.UNREADABLE, "too large"),
        (RuntimeError("a password is required"), Fault.UNREADABLE, "a password is required"),
        (zipfile.BadZipFile("no zip file"), Fault.UNREADABLE, "no zip file"),
        (lzma.LZMAError("Corrupt input"), Fault.UNREADABLE, "Corrupt input"),
        (RecursionError("too deep"), Fault.UNREADABLE, "too deep"),
        (zlib.error("Error -3"), Fault.UNREADABLE, "Error -3"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_file_raises_is_told_in_one_line(
    error: Exception, fault: Fault, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = write(tmp_path, LINE)
    monkeypatch.setattr(json_lines, "read", fail)
    assert scan(REQUEST, of_one_span(path)).faults == whole_file(path, fault, reason)
    monkeypatch.setattr(json_lines, "plan", fail)
    assert plan(REQUEST, path, 3).failed.faults == whole_file(path, fault, reason)  # type: ignore[union-attr]


def test_mistakes_of_ours_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("rows")

    monkeypatch.setattr(work, "judge", fail)
    with pytest.raises(KeyError):
        scan(REQUEST, of_one_span(write(tmp_path, LINE)))


def test_a_file_that_makes_more_of_itself_than_any_corpus_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "_LEAST", 200)
    monkeypatch.setattr(portions, "_RATIO", 1)
    path = str(tmp_path / "a.npz")
    np.savez_compressed(path, input_ids=np.zeros((1000, 100), np.int64))
    (portion,) = plan(REQUEST, path, 3).portions
    assert scan(REQUEST, portion).faults == whole_file(path, Fault.UNREADABLE, portions.EXPANDED)
