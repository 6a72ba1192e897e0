"""Arrow files and streams: which record batches are read, on their own or after what they need."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from gte_surgery.contract.scan import portions
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.portions import Format, Source, Span
from gte_surgery.contract.scan.readers.arrow import plan, read
from tests.unit.contract.raw_blocks import all_columns

TEXT = pa.array([f"text {n}" for n in range(5)])
CODED = TEXT.dictionary_encode()
IDS = [[4, 5], [6], [], [7, 8, 9], [10]]


def file(folder: Path, *, is_stream: bool, **columns: object) -> Source:
    """Five rows in batches of two."""
    table = pa.table(columns)
    path = str(folder / "a.arrow")
    with (pa.ipc.new_stream if is_stream else pa.ipc.new_file)(path, table.schema) as writer:
        writer.write_table(table, 2)
    return Source("a", path, 0, Format.ARROW, 250)


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PORTION", 100)


def test_batches_of_a_file_are_planned_by_their_number(tmp_path: Path) -> None:
    source = file(tmp_path, is_stream=False, text=CODED, input_ids=IDS)
    assert plan(source, Columns()) == [Span(0, 1, 0, 2, 100), Span(1, 2, 2, 2, 100), Span(2, 3, 4, 1, 50)]


def test_batches_of_a_stream_are_planned_by_where_they_lie(tmp_path: Path) -> None:
    source = file(tmp_path, is_stream=True, text=TEXT, input_ids=IDS)
    spans = plan(source, Columns())
    assert [(span.first_row, span.rows, span.nbytes) for span in spans] == [(0, 2, 100), (2, 2, 100), (4, 1, 50)]
    edges = [span.begin for span in spans] + [spans[-1].end]
    assert [span.end for span in spans] == edges[1:]
    content = Path(source.path).read_bytes()
    assert content[edges[-1] :] == b"\xff\xff\xff\xff\x00\x00\x00\x00"
    assert all(content[edge : edge + 4] == b"\xff\xff\xff\xff" for edge in edges)


@pytest.mark.parametrize(
    "text",
    [CODED, pa.StructArray.from_arrays([CODED], ["x"]), pa.ListArray.from_arrays([0, 1, 2, 3, 4, 5], CODED)],
    ids=["alone", "in a struct", "in a list"],
)
def test_a_stream_with_dictionaries_is_read_from_its_beginning(text: pa.Array, tmp_path: Path) -> None:
    source = file(tmp_path, is_stream=True, input_ids=IDS, text=text)
    assert plan(source, Columns()) == [Span(0, 0, 0, 5, 250)]
    assert all_columns(read(source, Span(0, 0, 0, 5, 250), Columns())) == [
        {"rows": [0, 1], "ids": [[4, 5], [6]]}, {"rows": [2, 3], "ids": [[], [7, 8, 9]]}, {"rows": [4], "ids": [[10]]},
    ]  # fmt: skip


@pytest.mark.parametrize("is_stream", [False, True])
def test_each_span_is_read_on_its_own(is_stream: bool, tmp_path: Path) -> None:
    source = file(tmp_path, is_stream=is_stream, text=TEXT, attention_mask=IDS, input_ids=IDS, labels=IDS)
    columns = Columns(labels="labels")
    found = [all_columns(read(source, span, columns)) for span in plan(source, columns)]
    assert found == [
        [{"rows": rows, **{role: [IDS[row] for row in rows] for role in ("ids", "mask", "labels")}}]
        for rows in ([0, 1], [2, 3], [4])
    ]


@pytest.mark.parametrize("is_stream", [False, True])
def test_spans_of_several_batches_have_a_block_for_each(
    is_stream: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "PORTION", 150)
    source = file(tmp_path, is_stream=is_stream, input_ids=IDS)
    spans = plan(source, Columns())
    assert [(span.first_row, span.rows) for span in spans] == [(0, 4), (4, 1)]
    assert [block["rows"] for block in all_columns(read(source, spans[0], Columns()))] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_file_without_the_columns_is_refused(is_stream: bool, tmp_path: Path) -> None:
    source = file(tmp_path, is_stream=is_stream, text=TEXT)
    with pytest.raises(CorpusError) as raised:
        plan(source, Columns())
    assert raised.value.args == (Fault.NO_COLUMN, "no column 'input_ids' for ids, there are text")


def torn(folder: Path, column: int, *, is_stream: bool = False) -> Source:
    """A row of ids, a mask and text, of which one can no longer be unpacked."""
    table = pa.table({"input_ids": [list(range(999))], "attention_mask": [[1] * 999], "text": ["x" * 999]})
    path, options = folder / "a.arrow", pa.ipc.IpcWriteOptions(compression="zstd")
    with (pa.ipc.new_stream if is_stream else pa.ipc.new_file)(str(path), table.schema, options=options) as writer:
        writer.write_table(table)
    magic = b"\x28\xb5\x2f\xfd"
    at = 2 * column + 2  # two buffers a column, and what precedes the first
    parts = path.read_bytes().split(magic)
    path.write_bytes(magic.join(parts[:at]) + b"torn" + magic.join(parts[at:]))
    return Source("a", str(path), 0, Format.ARROW, 50)


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("is_stream", [False, True])
def test_planning_reads_no_column(column: int, is_stream: bool, tmp_path: Path) -> None:
    (span,) = plan(torn(tmp_path, column, is_stream=is_stream), Columns())
    assert (span.first_row, span.rows) == (0, 1)


def test_columns_that_nobody_wants_are_not_read(tmp_path: Path) -> None:
    (block,) = read(torn(tmp_path, 2), Span(0, 1, 0, 1, 50), Columns())
    assert list(block.others) == ["mask"]
    with pytest.raises(OSError, match="ZSTD"):
        list(read(torn(tmp_path, 1), Span(0, 1, 0, 1, 50), Columns()))


def test_a_stream_of_no_batches_has_no_spans(tmp_path: Path) -> None:
    schema = pa.schema([("input_ids", pa.list_(pa.int64()))])
    pa.ipc.new_stream(str(tmp_path / "a.arrow"), schema).close()
    assert plan(Source("a", str(tmp_path / "a.arrow"), 0, Format.ARROW, 250), Columns()) == []
