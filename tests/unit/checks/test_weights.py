"""The pass over the weights says of all numbers what numpy says of them, whatever their dtype and their blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checkpoint.files import FileEntry, entry_of
from gte_surgery.checkpoint.headers.header import Header, TensorEntry
from gte_surgery.checkpoint.shards import Content, Shard, StoredTensor
from gte_surgery.checks import block_reader
from gte_surgery.checks.block_reader import number_of
from gte_surgery.checks.statistics import TensorStatistics
from gte_surgery.checks.weights import MOST_ROWS, read_statistics
from tests.builder import build

FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<f4"}
LEAST_NORMAL = {"F64": 2.0**-1022, "F32": 2.0**-126, "BF16": 2.0**-126, "F16": 2.0**-14}
ODD = [0.0, -0.0, 1.0, -1.0, 65504.0, 65519.0, 65520.0, -1e5, 1e-5, -1e-7, 1e-30, 1e-40, np.inf, -np.inf, np.nan, 3e38]


def stored(path: Path, array: np.ndarray, dtype: str, name: str = "t") -> StoredTensor:
    """A tensor whose bytes are all of a file; BF16 is the upper half of float32."""
    raw = array.astype(FLOATS[dtype])
    content = (raw.view("<u4") >> 16).astype("<u2").tobytes() if dtype == "BF16" else raw.tobytes()
    (path / name).write_bytes(content)
    file: FileEntry = entry_of(name, path / name)
    entry = TensorEntry(name, dtype, array.shape, 0, len(content))
    return StoredTensor(Shard(file, Content.SAFETENSORS, Header(None, (entry,), 0, "")), entry)


def numbers_of(array: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers as they are stored, in float64."""
    with np.errstate(over="ignore"):
        raw = array.astype(FLOATS[dtype])
    return ((raw.view("<u4") & 0xFFFF0000).view("<f4") if dtype == "BF16" else raw).astype(np.float64)


def measured(path: Path, array: np.ndarray, dtype: str) -> TensorStatistics:
    with np.errstate(over="ignore"):
        return read_statistics([stored(path, array, dtype)], table="t")["t"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@given(
    dtype=st.sampled_from(list(FLOATS)),
    rows=st.integers(1, 9),
    width=st.integers(1, 7),
    block=st.sampled_from([8, 24, 64, 1 << 16]),
    odd=st.lists(st.sampled_from(ODD), max_size=12),
    seed=st.integers(0, 2**16),
)
def test_statistics_are_numpys(
    folder: Path, dtype: str, rows: int, width: int, block: int, odd: list[float], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    array = generator.standard_normal((rows, width))
    places = generator.integers(0, array.size, len(odd))
    array.flat[places] = odd
    with pytest.MonkeyPatch.context() as patch, np.errstate(over="ignore"):
        patch.setattr(block_reader, "BLOCK_BYTES", block)
        seen = measured(folder, array, dtype)
        wanted = numbers_of(array, dtype)
    sizes = np.abs(wanted)
    finite = sizes[np.isfinite(sizes)]
    flat = wanted.ravel()
    assert seen.count == array.size
    assert seen.nans == np.isnan(wanted).sum()
    assert seen.infinities == np.isinf(wanted).sum()
    assert seen.first_nan == next(iter(np.flatnonzero(np.isnan(flat))), -1)
    assert seen.first_infinity == next(iter(np.flatnonzero(np.isinf(flat))), -1)
    assert seen.largest == finite.max(initial=0)
    assert seen.subnormals == ((finite > 0) & (finite < LEAST_NORMAL[dtype])).sum()
    assert seen.overflowing == (0 if dtype == "F16" else (finite >= 65520).sum())
    if not seen.nans:  # of them, some have the same bits and some not
        assert (seen.constant is not None) == (len(set(flat.tolist())) == 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 30.0])
def test_row_norms_are_numpys_and_zero_rows_are_exactly_those(tmp_path: Path, dtype: str, scale: float) -> None:
    array = scale * np.random.default_rng(1).standard_normal((300, 64))
    array[[0, 17, 299]] = 0
    array[17] = -0.0
    array[40] = 0
    array[40, 5] = 6e-8
    seen = measured(tmp_path, array, dtype)
    wanted = np.linalg.norm(numbers_of(array, dtype), axis=1)
    assert seen.norms is not None
    np.testing.assert_allclose(seen.norms, wanted, rtol=1e-4, atol=1e-10)
    zero = [row for row in range(300) if wanted[row] == 0]
    assert seen.zero_rows(5) == (len(zero), zero)
    assert seen.zero_rows(1, besides=0) == (len(zero) - 1, [17])
    assert seen.widest == pytest.approx(wanted.max(), rel=1e-4)
    assert seen.median_norm() == pytest.approx(np.median(wanted[wanted > 0]), rel=1e-4)
    assert seen.far_rows(wanted.max(), 100, 5) == (1, [(40, pytest.approx(wanted[40], rel=1e-4))])


def test_norms_whose_squares_vanish_in_float32_are_not_zero(tmp_path: Path) -> None:
    seen = measured(tmp_path, np.full((4, 8), 1e-30), "F32")
    assert seen.zero_rows(5) == (0, [])
    assert seen.median_norm() == pytest.approx(8**0.5 * 1e-30)


def test_a_row_longer_than_a_block_is_read_without_its_norm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_reader, "BLOCK_BYTES", 64)
    array = np.arange(100, dtype=np.float32).reshape(2, 50)
    seen = measured(tmp_path, array, "F32")
    assert (seen.count, seen.largest, seen.norms, seen.widest) == (100, 99.0, None, 0.0)


def test_a_table_of_too_many_rows_has_no_norms(tmp_path: Path) -> None:
    assert measured(tmp_path, np.ones((MOST_ROWS + 1, 1)), "F16").norms is None


def test_progress_counts_every_byte_once(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    tensors = list(open_checkpoint(build(tmp_path, shards=3)).tensors.values())
    read_statistics(tensors, progress=lambda done, total: steps.append((done, total)))
    total = sum(tensor.nbytes for tensor in tensors)
    assert steps[-1] == (total, total)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_a_file_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    tensor = stored(tmp_path, np.ones(100), "F32")
    (tmp_path / "t").write_bytes(bytes(399))
    with pytest.raises(EOFError, match="ends inside `t`"):
        read_statistics([tensor])


def test_other_dtypes_and_empty_tensors_have_no_statistics(tmp_path: Path) -> None:
    empty = stored(tmp_path, np.ones((0, 4)), "F32")
    assert read_statistics([empty]) == {}


@pytest.mark.parametrize(("bits", "dtype", "number"), [(0x3F80, "BF16", 1.0), (0x3C00, "F16", 1.0), (1, "F16", 2**-24)])
def test_bits_mean_numbers(bits: int, dtype: str, number: float) -> None:
    assert number_of(bits, dtype) == number


def test_of_many_rows_far_off_the_farthest_are_told_either_way(tmp_path: Path) -> None:
    array = np.ones((20, 4))
    array[[3, 5, 7, 9]] *= np.array([[100], [1 / 400], [50], [1 / 20]])
    count, rows = measured(tmp_path, array, "F32").far_rows(2.0, 10, 3)
    assert (count, [row for row, _ in rows]) == (4, [5, 3, 7])
