"""Rows of one's own for new tokens: which file is taken, where its rows come, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gte_surgery.errors import GteSurgeryError, RefusedError, UsageError
from gte_surgery.surgery.verbs import history, remap, resize
from tests import builder

WORDS = "embeddings.word_embeddings.weight"
ROWS = np.arange(4 * 32, dtype="f4").reshape(4, 32) / 7


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    return builder.build(tmp_path / "ckpt")


def saved(folder: Path, rows: Any, name: str = "rows.npy") -> str:
    np.save(folder / name, rows)
    return str(folder / name)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_new_rows_are_those_of_the_file_in_order(dtype: str, ckpt: Path, tmp_path: Path) -> None:
    before, rows = builder.load(ckpt)[WORDS], ROWS.astype(dtype)
    outcome = resize(ckpt, vocab=132, pad=1, init=saved(tmp_path, rows))
    after = builder.load(ckpt)[WORDS]
    assert after[:128].tobytes() == before.tobytes()
    assert after[128:].tobytes() == rows.astype("f4").tobytes()
    assert outcome.plan.meaning[0] == "rows 128 to 131 (4) are new, taken from rows.npy"
    assert history(ckpt)[-1]["edits"]["init"] == "rows.npy"


def test_a_half_precision_table_gets_the_nearest_numbers(tmp_path: Path) -> None:
    config = builder.remote_config(torch_dtype="float16")
    arrays = {name: array.astype("f2") for name, array in builder.tensors(config).items()}
    ckpt = builder.write(tmp_path / "ckpt", config, arrays)
    resize(ckpt, vocab=132, pad=1, init=saved(tmp_path, ROWS))
    assert builder.load(ckpt)[WORDS][128:].tobytes() == ROWS.astype("f2").tobytes()


def test_behind_the_rows_of_the_file_rounding_leaves_zeros(ckpt: Path, tmp_path: Path) -> None:
    resize(ckpt, vocab=132, pad=1, round_to=64, init=saved(tmp_path, ROWS))
    found = builder.load(ckpt)[WORDS]
    assert found.shape == (192, 32)
    assert found[128:132].tobytes() == ROWS.tobytes()
    assert not found[132:].any()


def test_a_file_may_hold_the_rows_of_the_rounding_as_well(ckpt: Path, tmp_path: Path) -> None:
    rows = np.ones((64, 32), "f4")
    resize(ckpt, vocab=132, pad=1, round_to=64, init=saved(tmp_path, rows))
    assert (builder.load(ckpt)[WORDS][128:] == 1).all()


def test_the_pad_row_is_zero_whatever_the_file_says_of_it(ckpt: Path, tmp_path: Path) -> None:
    resize(ckpt, vocab=132, pad=129, init=saved(tmp_path, ROWS + 1))
    found = builder.load(ckpt)[WORDS]
    assert not found[129].any()
    assert found[[128, 130, 131]].tobytes() == (ROWS + 1)[[0, 2, 3]].tobytes()


def test_rows_that_a_map_leaves_open_are_filled_in_order(ckpt: Path, tmp_path: Path) -> None:
    before = builder.load(ckpt)[WORDS]
    chosen = {0: 1, 2: 50, 3: 51, 6: 7}
    remap(ckpt, map=chosen, vocab=8, round_to=5, init=saved(tmp_path, ROWS))
    found = builder.load(ckpt)[WORDS]
    assert found[[0, 2, 3, 6]].tobytes() == before[[1, 50, 51, 7]].tobytes()
    assert found[[1, 4, 5, 7]].tobytes() == ROWS.tobytes()
    assert not found[8:].any()


def test_a_decoder_of_its_own_is_drawn_as_by_default(tmp_path: Path) -> None:
    config = builder.remote_config(tie_word_embeddings=False)
    arrays = builder.tensors(config, "mlm") | {"lm_head.decoder.weight": np.ones((128, 32), "f4")}
    one, other = (builder.write(tmp_path / name, config, arrays) for name in ("one", "other"))
    resize(one, vocab=132, pad=1, init=saved(tmp_path, ROWS))
    resize(other, vocab=132, pad=1)
    given, drawn = builder.load(one), builder.load(other)
    assert given["lm_head.decoder.weight"].tobytes() == drawn["lm_head.decoder.weight"].tobytes()
    assert given["new." + WORDS][128:].tobytes() == ROWS.tobytes()


def test_the_table_that_has_its_rows_asks_for_no_file(ckpt: Path, tmp_path: Path) -> None:
    assert resize(ckpt, vocab=128, pad=1, init=str(tmp_path / "none.npy")).plan.is_empty


def endless(row: int, column: int, value: float) -> Any:
    rows = ROWS.copy()
    rows[row, column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:3], "shape [3, 32], must be [4, 32]: a row for each new id"),
        (ROWS[:, :31], "shape [4, 31], must be [4, 32]: a row for each new id"),
        (ROWS.astype("i4"), "<i4 of shape (4, 32), must be float16, 32 or 64 of [new rows, hidden]"),
        (ROWS.astype(">f4"), ">f4 of shape (4, 32), must be float16, 32 or 64 of [new rows, hidden]"),
        (np.asfortranarray(ROWS), "<f4 of shape (4, 32), in Fortran order, must be"),
        (ROWS[0], "<f4 of shape (32,), must be"),
        (endless(2, 5, float("nan")), "nan at row 2, column 5, must be finite as F32"),
        (endless(3, 31, float("-inf")), "-inf at row 3, column 31, must be finite as F32"),
        (endless(0, 0, 1).astype("f8") * 1e300, "at row 0, column 0, must be finite as F32"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_changes(
    rows: Any, message: str, ckpt: Path, tmp_path: Path
) -> None:
    before = (ckpt / "model.safetensors").read_bytes()
    with pytest.raises(RefusedError) as raised:
        resize(ckpt, vocab=132, pad=1, init=saved(tmp_path, rows))
    assert message in raised.value.message
    assert (ckpt / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, UsageError, "No such file or directory"),
        (b"", RefusedError, "is no .npy file"),
        (b"PK\x03\x04 and so on, an .npz", RefusedError, "is no .npy file"),
        (b"\x93NUMPY\x01\x00\x08\x00{'descr'", RefusedError, "its header cannot be read"),
        (b"\x93NUMPY\x01\x00\x08\x00(((((((((", RefusedError, "its header cannot be read"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", RefusedError, "is no .npy file"),
    ],
)
def test_a_file_that_is_none_is_refused(
    content: bytes | None, error: type[GteSurgeryError], message: str, ckpt: Path, tmp_path: Path
) -> None:
    path = tmp_path / "rows.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error) as raised:
        resize(ckpt, vocab=132, pad=1, init=str(path))
    assert message in raised.value.message


def test_a_file_cut_short_and_one_that_pickles_are_refused(ckpt: Path, tmp_path: Path) -> None:
    path = Path(saved(tmp_path, ROWS))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RefusedError, match="639 bytes, its header needs 640"):
        resize(ckpt, vocab=132, pad=1, init=str(path))
    np.save(path, np.array([[None]]), allow_pickle=True)
    with pytest.raises(RefusedError, match="must be float16"):
        resize(ckpt, vocab=132, pad=1, init=str(path))


def test_a_shrink_has_no_row_for_a_file(ckpt: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="must be"):
        resize(ckpt, vocab=100, pad=1, init=saved(tmp_path, ROWS))
