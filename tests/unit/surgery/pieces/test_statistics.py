"""The mean and covariance of a table, measured in one pass: numpy's numbers, and the same bits in any order of work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gte_surgery.errors import RefusedError
from gte_surgery.surgery.pieces.correlation import cholesky, correlated, moments_of
from gte_surgery.surgery.pieces.evaluate import decode, encode, evaluate
from gte_surgery.surgery.pieces.piece import AddRow, CopyRange, Correlated, Fill, LikeTable, Normal, Overlay, Table
from gte_surgery.surgery.pieces.statistics import ROWS, mean_and_covariance, settle

Read = Callable[[str, int, int], bytes]


def stored(values: np.ndarray, dtype: str = "F32") -> tuple[Table, Read]:
    """The values as a table that begins at byte 24 of a file, and a way to read them."""
    raw = bytes(24) + encode(values, dtype)
    table = Table("weights", 24, *values.shape, dtype)

    def read(source: str, offset: int, count: int) -> bytes:
        assert source == "weights"
        assert 24 <= offset <= offset + count <= len(raw)
        return raw[offset : offset + count]

    return table, read


def measured(values: np.ndarray, dtype: str = "F32", threads: int = 2) -> tuple[np.ndarray, np.ndarray]:
    with ThreadPoolExecutor(threads) as pool:
        mean, covariance = mean_and_covariance(*stored(values, dtype), pool, True)
    assert covariance is not None
    return mean, covariance


def sample(rows: int, width: int, seed: int = 0) -> np.ndarray:
    """Rows with a mean and columns that go together, some large and some small."""
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((width, width)) * np.geomspace(1e-3, 10, width)
    return generator.standard_normal((rows, width)) @ mixing + generator.standard_normal(width)


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
@pytest.mark.parametrize("rows", [1, 2, 40, ROWS, ROWS + 1, 3 * ROWS - 1])
def test_mean_and_covariance_are_those_of_numpy(rows: int, dtype: str) -> None:
    values = decode(encode(sample(rows, 12), dtype), dtype).astype(np.float64).reshape(rows, 12)
    mean, covariance = measured(values, dtype)
    assert (abs(mean - values.mean(axis=0)) <= 1e-12 * abs(values).max(axis=0)).all()
    if rows == 1:
        assert not covariance.any()
        return
    wanted = np.cov(values.T)
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert (abs(covariance - wanted) <= 1e-5 * scale).all()
    assert (covariance == covariance.T).all()


def test_a_common_offset_costs_no_precision() -> None:
    values = sample(3000, 6)
    _, near = measured(values, "F64")
    mean, far = measured(values + 1e5, "F64")
    assert np.allclose(mean, values.mean(axis=0) + 1e5, rtol=1e-14)
    assert np.allclose(near, far, rtol=1e-5, atol=1e-8)


@given(
    values=arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-1e3, 1e3, width=32))
)
def test_any_table_has_a_symmetric_covariance_that_factorises(values: np.ndarray) -> None:
    mean, covariance = measured(values)
    wide = values.astype(np.float64)
    assert np.allclose(mean, wide.mean(axis=0), rtol=1e-9, atol=1e-9)
    if len(values) > 1:
        spread = np.abs(wide).max(axis=0) + 1e-300
        assert (abs(covariance - np.cov(wide.T).reshape(covariance.shape)) <= 1e-5 * np.outer(spread, spread)).all()
    factor = cholesky(covariance)
    assert (np.triu(factor, 1) == 0).all()
    assert np.allclose(factor @ factor.T, covariance, atol=1e-5 * (np.trace(covariance) + 1e-300))


SCRIPT = """
import hashlib, sys
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from tests.unit.surgery.pieces.test_statistics import sample, stored, settle
from gte_surgery.surgery.pieces.piece import LikeTable, Normal
from gte_surgery.surgery.pieces.evaluate import evaluate
table, read = stored(sample(4000, 64), "F32")
with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    piece, = settle([LikeTable(table, Normal("t", 3, 1.0, "F32", 0, 64 * 50), True)], read, pool)
print(hashlib.sha256(evaluate(piece, read)).hexdigest())
"""


@pytest.mark.slow
def test_neither_our_threads_nor_those_of_blas_change_a_bit() -> None:
    """Nor the kernels that BLAS chooses for another processor."""
    cases = [("1", {}), ("3", {"OPENBLAS_NUM_THREADS": "1"}), ("2", {"OPENBLAS_CORETYPE": "Prescott"})]
    cases += [("2", {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"})]
    digests = set()
    for threads, environment in cases:
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, threads],
            env={"PATH": "", **environment}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(ran.stdout)
    assert len(digests) == 1


def test_the_rows_drawn_like_a_table_are_pinned() -> None:
    """The bytes that seed 0 gives are a promise: the same on every machine and in every later version."""
    table, read = stored(np.arange(40).reshape(10, 4) % 7 / 8)
    with ThreadPoolExecutor(1) as pool:
        (piece,) = settle([LikeTable(table, Normal("t", 0, 1.0, "F32", 0, 4), True)], read, pool)
    assert evaluate(piece, read).hex() == "45d54a3effd7e23cda864f3e542daa3e"


def test_draws_have_the_mean_and_covariance_of_the_table() -> None:
    values = sample(5000, 5)
    count = 200_000
    moments = moments_of(*measured(values))
    noise = np.frombuffer(evaluate(Normal("t", 1, 1.0, "F32", 0, 5 * count), lambda *_: b""), "<f4")
    drawn = correlated(moments, noise)
    wanted = np.cov(values.T)
    deviations = np.sqrt(np.diag(wanted))
    assert (abs(drawn.mean(axis=0) - values.mean(axis=0)) < 5 * deviations / np.sqrt(count)).all()
    assert (abs(np.cov(drawn.T) - wanted) < 7 * np.outer(deviations, deviations) / np.sqrt(count)).all()


def test_the_product_with_the_factor_is_that_of_float64() -> None:
    covariance = np.cov(sample(900, 33).T)
    noise = np.random.default_rng(4).standard_normal((7, 33)).astype(np.float32)
    found = correlated(moments_of(np.ones(33), covariance), noise.ravel())
    wanted = 1 + noise.astype(np.float64) @ np.linalg.cholesky(covariance).T
    assert np.allclose(found, wanted, rtol=1e-4, atol=2e-5 * np.sqrt(np.diag(covariance)))


def test_the_factor_is_lapacks() -> None:
    covariance = np.cov(sample(300, 40).T)
    assert np.allclose(cholesky(covariance), np.linalg.cholesky(covariance), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_fewer_rows_than_columns_are_factorised_with_jitter(rows: int) -> None:
    _, covariance = measured(sample(rows, 9))
    factor = cholesky(covariance)
    assert np.allclose(factor @ factor.T, covariance, atol=1e-5 * (np.trace(covariance) + 1e-300))
    assert np.isfinite(factor).all()


@pytest.mark.parametrize("has_covariance", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_holds_no_number_is_refused_by_name(bad: float, has_covariance: bool) -> None:
    values = sample(3 * ROWS, 4)
    values[2 * ROWS + 17, 2] = bad
    with (
        ThreadPoolExecutor(2) as pool,
        pytest.raises(RefusedError, match=rf"weights: row {2 * ROWS + 17} of the table holds NaN or infinity"),
    ):
        mean_and_covariance(*stored(values), pool, has_covariance)


def test_numbers_too_large_for_a_covariance_are_refused() -> None:
    with ThreadPoolExecutor(2) as pool, pytest.raises(RefusedError, match="too large"):
        mean_and_covariance(*stored(1e300 * sample(50, 3), "F64"), pool, True)


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_settled_pieces_hold_the_mean_wherever_they_are(dtype: str) -> None:
    values = sample(70, 4)
    table, read = stored(values, dtype)
    like = LikeTable(table, Normal("t", 0, 1.0, "F32", 0, 12), False)
    over = Overlay(like, Fill(bytes(table.row_bytes), 1), (1,), table.row_bytes)
    with ThreadPoolExecutor(1) as pool:
        alone, added, laid = settle(
            [like, AddRow(like, CopyRange("weights", 24, 24 + table.row_bytes), dtype), over], read, pool
        )
    exact = decode(read("weights", 24, table.nbytes), dtype).astype(np.float64).reshape(70, 4).mean(axis=0)
    row = evaluate(alone, read)[: table.row_bytes]
    assert np.allclose(decode(row, dtype), exact, rtol=1e-11) if dtype == "F64" else row == encode(exact, dtype)
    assert evaluate(alone, read) == 3 * row
    assert evaluate(laid, read) == row + bytes(len(row)) + row
    first = decode(read("weights", 24, table.row_bytes), dtype)
    assert evaluate(added, read) == 3 * encode(decode(row, dtype) + first, dtype)


def test_a_plan_without_such_pieces_is_left_alone_and_reads_nothing() -> None:
    pieces = (CopyRange("weights", 0, 8), Fill(b"\0", 3), Normal("t", 0, 1.0, "F32", 0, 3))
    with ThreadPoolExecutor(1) as pool:
        assert settle(pieces, lambda *_: pytest.fail("read"), pool) is pieces


def test_an_unsettled_piece_cannot_be_evaluated() -> None:
    table, read = stored(sample(3, 2))
    with pytest.raises(ValueError, match="not measured"):
        evaluate(LikeTable(table, Normal("t", 0, 1.0, "F32", 0, 2), False), read)


def test_a_table_is_read_once_for_all_pieces_that_ask_for_it() -> None:
    table, read = stored(sample(10, 2))
    reads: list[int] = []

    def counting(source: str, offset: int, count: int) -> bytes:
        reads.append(count)
        return read(source, offset, count)

    pieces = [LikeTable(table, Normal("t", 0, 1.0, "F32", at, 2), at > 0) for at in (0, 2, 4)]
    with ThreadPoolExecutor(1) as pool:
        settled = settle(pieces, counting, pool)
    assert [type(piece) for piece in settled] == [Fill, Correlated, Correlated]
    assert len(reads) == 2  # the first block once more, for the origin
