"""A scan sees in every format, cut into blocks and portions in any way, what a plain look at each row sees."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gte_surgery.contract import strategies
from gte_surgery.contract.batch.check import check_batch
from gte_surgery.contract.scan import portions
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging import blocks
from gte_surgery.contract.scan.readers import arrays, json_lines, parquet
from gte_surgery.contract.scan.summary import Summary, merged
from gte_surgery.contract.scan.work import Request, plan
from gte_surgery.contract.scan.work import scan as scan_portion
from gte_surgery.contract.spec import IdContract
from tests.corpora import CONTRACT, LIST_WRITERS, NAMES, WRITERS, Row, Writer, judged, plain, scan, tidy_rows, wild_rows

LEFT = IdContract(vocab_size=12, pad_token_id=1, type_vocab_size=0, max_length=6, padding_side="left")
SIZES = st.sampled_from([1, 2, 5, 1 << 17])

FEWER = settings(max_examples=max(20, settings().max_examples // 4))
"""For what is tried with every format."""


@contextmanager
def cut_by(block: int, piece: int, portion: int) -> Iterator[None]:
    """Blocks, pieces and portions of other sizes than usual."""
    with (
        patch.object(parquet, "BLOCK", block),
        patch.object(arrays, "BLOCK", block),
        patch.object(json_lines, "CHUNK", block * 8),
        patch.object(blocks, "PIECE", piece),
        patch.object(portions, "PORTION", portion),
        patch.object(arrays, "PORTION", portion),
        patch.object(json_lines, "PORTION", portion),
    ):
        yield


def columns_of(rows: list[Row]) -> Columns:
    """Labels and positions are asked for only where they are, for what is asked for must be there."""
    names = {name for row in rows for name in row}
    return Columns(
        labels="labels" if "labels" in names else None,
        positions="position_ids" if "position_ids" in names else None,
    )


def seen(rows: list[Row], writer: Writer, contract: IdContract, at_once: int) -> tuple[dict[str, object], str]:
    with tempfile.TemporaryDirectory() as folder:
        path = writer(rows, Path(folder), at_once)
        report = scan(contract, path, columns=columns_of(rows), counts=True)
        assert len(report.findings) == len(report.summary.faults)
        return plain(report.summary), str(path)


@pytest.mark.parametrize("writer", WRITERS)
@FEWER
@given(rows=tidy_rows(), at_once=SIZES, block=SIZES, piece=SIZES, portion=st.sampled_from([1, 100, 1 << 24]))
def test_every_format_shows_the_same(
    writer: Writer, rows: list[Row], at_once: int, block: int, piece: int, portion: int
) -> None:
    with cut_by(block, piece, portion):
        found, path = seen(rows, writer, CONTRACT, at_once)
    assert found == judged(rows, CONTRACT, path)


@pytest.mark.parametrize("writer", LIST_WRITERS)
@FEWER
@given(rows=wild_rows(), at_once=SIZES, block=SIZES, piece=SIZES, portion=st.sampled_from([1, 100, 1 << 24]))
def test_rows_without_a_shape_are_told_and_left_out(
    writer: Writer, rows: list[Row], at_once: int, block: int, piece: int, portion: int
) -> None:
    with cut_by(block, piece, portion):
        found, path = seen(rows, writer, CONTRACT, at_once)
    assert found == judged(rows, CONTRACT, path)


@given(rows=tidy_rows(LEFT), at_once=SIZES)
def test_padding_on_the_left_and_no_token_types(rows: list[Row], at_once: int) -> None:
    found, path = seen(rows, WRITERS[0], LEFT, at_once)
    assert found == judged(rows, LEFT, path)


@pytest.mark.parametrize("contract", [CONTRACT, LEFT], ids=["right", "left"])
@given(data=st.data())
def test_a_row_has_the_findings_that_it_has_as_a_batch(contract: IdContract, data: st.DataObject) -> None:
    """But for what is said of batches alone: that one is empty, has pads and no mask, or no label."""
    for row in data.draw(tidy_rows(contract)):
        if not row["input_ids"] or ("attention_mask" not in row and contract.pad_token_id in row["input_ids"]):
            continue
        found, _ = seen([row], WRITERS[0], contract, 1)
        batch = check_batch({name: [values] for name, values in row.items()}, contract)
        sums = set(found["sums"])  # type: ignore[call-overload]
        assert sums == {finding.code for finding in batch.findings} - {"GTE454"}


def stored(batch: Mapping[str, object]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """The members of a batch that a corpus can have: [rows, columns], not labels of rows or vectors in place of ids."""
    arrays = {name: value for name, value in batch.items() if name in NAMES and isinstance(value, np.ndarray)}
    arrays = {name: array for name, array in arrays.items() if array.ndim == 2}
    assume("input_ids" in arrays)
    of_all_rows = [name for name, array in arrays.items() if len(array) == 1 < len(arrays["input_ids"])]
    assume(not of_all_rows)
    return arrays


def found_in(arrays: dict[str, np.ndarray], contract: IdContract) -> set[str]:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "a.npz", **arrays)
        columns = columns_of([arrays])
        return {finding.code for finding in scan(contract, folder, columns=columns).findings}


@given(batch=strategies.batches(CONTRACT, "numpy", with_embeds=False))
def test_a_valid_batch_is_a_corpus_without_findings(batch: Mapping[str, object]) -> None:
    assert found_in(stored(batch), CONTRACT) == set()


@given(broken=strategies.broken_batches(CONTRACT, "numpy"))
def test_a_batch_broken_in_one_way_is_a_corpus_with_that_finding(broken: strategies.BrokenBatch) -> None:
    assume(broken.code in {fault.value for fault in Fault} and isinstance(broken.batch, Mapping))
    arrays = stored(broken.batch)
    if broken.code == "GTE450":
        arrays["labels"] = broken.batch["labels"]
    of_rows_without_pads = {"GTE423", "GTE428"} if broken.code in ("GTE424", "GTE426") else set()
    assert found_in(arrays, CONTRACT) - of_rows_without_pads == {broken.code}


@given(rows=wild_rows(), seed=st.integers(0, 1000))
def test_summaries_add_up_in_any_order(rows: list[Row], seed: int) -> None:
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, cut_by(1 << 20, 1 << 17, 1):
        path = WRITERS[0](rows, Path(folder), 1)
        request = Request(CONTRACT, columns_of(rows), True, 2)
        parts: list[Summary] = [scan_portion(request, each) for each in plan(request, str(path), 0).portions]
        in_order = merged(parts, 2)
    while len(parts) > 1:
        draw.shuffle(parts)
        count = draw.randint(2, len(parts))
        parts = [merged(parts[:count], 2), *parts[count:]]
    assert plain(merged(parts, 2)) == plain(in_order)
    assert len(in_order.faults) <= 2
