"""Parquet files: row groups as spans, and rows in batches of about as many ids."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gte_surgery.contract.scan import portions
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.portions import Format, Source, Span
from gte_surgery.contract.scan.readers import parquet
from gte_surgery.contract.scan.readers.parquet import plan, read
from tests.unit.contract.raw_blocks import all_columns


def file(folder: Path, group: int, **columns: object) -> Source:
    path = str(folder / "a.parquet")
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return Source("a", path, 0, Format.PARQUET, 300)


def test_row_groups_are_planned_by_their_share_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PORTION", 100)
    source = file(tmp_path, 2, input_ids=[[5, 6]] * 6)
    assert plan(source, Columns()) == [Span(0, 1, 0, 2, 100), Span(1, 2, 2, 2, 100), Span(2, 3, 4, 2, 100)]
    longer = file(tmp_path, 2, input_ids=[[5, 6]] * 2 + [list(range(500))] * 2)
    assert plan(longer, Columns()) == [Span(0, 2, 0, 4, 300)]


def test_a_span_is_read_alone_and_its_rows_go_on_from_the_first(tmp_path: Path) -> None:
    source = file(tmp_path, 2, text=["x"] * 6, attention_mask=[[1]] * 6, input_ids=[[row] for row in range(6)])
    assert all_columns(read(source, Span(1, 3, 2, 4, 0), Columns())) == [
        {"rows": [2, 3, 4, 5], "ids": [[2], [3], [4], [5]], "mask": [[1]] * 4}
    ]


def test_only_the_wanted_columns_are_read(tmp_path: Path) -> None:
    """One that is torn does not matter then."""
    source = file(tmp_path, 2, input_ids=[[5]], text=["x"])
    path = Path(source.path)
    chunk = pq.read_metadata(path).row_group(0).column(1)
    begin = chunk.dictionary_page_offset
    path.write_bytes(path.read_bytes()[:begin] + b"\xff" * 9 + path.read_bytes()[begin + 9 :])
    with pytest.raises(OSError, match="Deserializing page header failed"):
        pq.read_table(path)
    assert all_columns(read(source, Span(0, 1, 0, 1, 0), Columns())) == [{"rows": [0], "ids": [[5]]}]


@pytest.mark.parametrize("name", ["input_ids", "data.input_ids"])
@pytest.mark.parametrize(("block", "sizes"), [(1, [1] * 6), (7, [1] * 6), (10, [2, 2, 2]), (11, [3, 3]), (99, [6])])
def test_a_batch_has_as_many_rows_as_have_so_many_ids(
    name: str, block: int, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids of 4 a row, in 6 rows; other columns and row groups do not count."""
    monkeypatch.setattr(parquet, "BLOCK", block)
    columns = {f"{name}_before": [[0] * 99] * 12, name: [[1, 2, 3, 4]] * 9 + [[0] * 99] * 3, "mask": [[1] * 99] * 12}
    source = file(tmp_path, 3, **columns)
    batches = all_columns(read(source, Span(1, 3, 3, 6, 0), Columns(ids=name)))
    assert [len(batch["rows"]) for batch in batches] == sizes
    assert [row for batch in batches for row in batch["rows"]] == [3, 4, 5, 6, 7, 8]


def test_rows_without_ids_are_read_as_well(tmp_path: Path) -> None:
    source = file(tmp_path, 2, input_ids=pa.array([[], None], pa.list_(pa.int64())))
    assert all_columns(read(source, Span(0, 1, 0, 2, 0), Columns())) == [{"rows": [0, 1], "ids": [[], None]}]


def test_a_file_without_the_columns_is_refused_however_it_is_met(tmp_path: Path) -> None:
    source = file(tmp_path, 2, text=["x"])
    for meeting in (lambda: plan(source, Columns()), lambda: list(read(source, Span(0, 1, 0, 1, 0), Columns()))):
        with pytest.raises(CorpusError) as raised:
            meeting()
        assert raised.value.args == (Fault.NO_COLUMN, "no column 'input_ids' for ids, there are text")
