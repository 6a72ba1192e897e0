"""Rows of a table that changes: which are kept, which are fresh, and in how few pieces."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import pytest

from gte_surgery.checkpoint.directory import StoredTensor, open_checkpoint
from gte_surgery.errors import RefusedError
from gte_surgery.gte.new_impl.names import NAMES
from gte_surgery.surgery.pieces.piece import CopyRange, Fill, GatherRows, LikeTable, Normal, Overlay, Table
from gte_surgery.surgery.planning.parts import tables
from gte_surgery.surgery.planning.parts.tables import (
    RowSource,
    is_computed,
    refuse_absent_row,
    refuse_uncountable,
    table_of,
    word_table,
)
from gte_surgery.surgery.planning.target import understand
from gte_surgery.vocabulary.row_map import Places, RowMap, keep_of, kept_rows
from tests import builder

NAME = "model.safetensors"
ROW = 32 * 4
HELD = 128


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StoredTensor]:
    config = builder.remote_config(vocab_size=HELD)
    path = builder.build(tmp_path_factory.mktemp("tables") / "ckpt", config, "mlm")
    tensors = open_checkpoint(path).tensors
    return {NAMES.words: tensors[f"new.{NAMES.words}"], NAMES.biases[0]: tensors[NAMES.biases[0]]}


def source(stored: dict[str, StoredTensor], init: str = "normal", name: str = NAMES.words) -> RowSource:
    return RowSource(table_of(stored[name]), init, "stream", 7, 0.5)


def test_a_table_has_rows_and_a_bias_has_rows_of_one_element(stored: dict[str, StoredTensor]) -> None:
    words, bias = source(stored).table, source(stored, name=NAMES.biases[0]).table
    assert (words.rows, words.width, words.row_bytes) == (HELD, 32, ROW)
    assert (bias.rows, bias.width, bias.row_bytes) == (HELD, 1, 4)


def test_rows_are_kept_zeroed_or_drawn_at_their_own_place(stored: dict[str, StoredTensor]) -> None:
    words, begin = source(stored), stored[NAMES.words].file_begin
    assert words.kept(3, 5) == CopyRange(NAME, begin + 3 * ROW, begin + 5 * ROW)
    assert words.zeros(3, 5) == Fill(bytes(4), 64)
    assert words.drawn(3, 5) == Normal("stream", 7, 0.5, "F32", 96, 64)


@pytest.mark.parametrize("init", ["normal", "zeros", "mean", "mean-cov", "copy:0", "copy:9"])
def test_fresh_rows_are_as_the_init_says(init: str, stored: dict[str, StoredTensor]) -> None:
    words, begin = source(stored, init), stored[NAMES.words].file_begin
    table = Table(NAME, begin, HELD, 32, "F32")
    noise = Normal("stream", 7, 1.0, "F32", 96, 64)
    wanted = {
        "normal": words.drawn(3, 5),
        "zeros": words.zeros(3, 5),
        "mean": LikeTable(table, noise, False),
        "mean-cov": LikeTable(table, noise, True),
        "copy:0": GatherRows(NAME, begin, ROW, (0, 0)),
        "copy:9": GatherRows(NAME, begin, ROW, (9, 9)),
    }
    assert words.fresh(3, 5) == wanted[init]


def test_noise_is_in_float32_whatever_the_table_holds(stored: dict[str, StoredTensor]) -> None:
    tensor = stored[NAMES.words]
    half = tensor._replace(entry=tensor.entry._replace(dtype="F16"))
    fresh = RowSource(table_of(half), "mean", "stream", 7, 0.5).fresh(0, 1)
    assert isinstance(fresh, LikeTable)
    assert (fresh.noise.dtype, fresh.table.dtype, fresh.nbytes) == ("F32", "F16", 64)


def test_a_resized_table_is_kept_then_fresh_with_single_rows_put_in(stored: dict[str, StoredTensor]) -> None:
    words = source(stored)
    zero = words.zeros(0, 1)
    assert words.chosen(kept_rows(100), 100, {}) == [words.kept(0, 100)]
    assert words.chosen(kept_rows(128), 128, {1: zero}) == [words.kept(0, 1), zero, words.kept(2, 128)]
    assert words.chosen(kept_rows(128), 130, {0: zero, 127: zero}) == [
        zero, words.kept(1, 127), zero, words.fresh(128, 130),
    ]  # fmt: skip
    assert words.chosen(kept_rows(128), 132, {129: zero}) == [
        words.kept(0, 128), words.fresh(128, 129), zero, words.fresh(130, 132),
    ]  # fmt: skip
    assert words.chosen(kept_rows(128), 130, {128: zero, 129: zero}) == [words.kept(0, 128), zero, zero]


def test_chosen_rows_are_one_piece_where_they_are_short(stored: dict[str, StoredTensor]) -> None:
    words, begin = source(stored), stored[NAMES.words].file_begin
    assert words.chosen(keep_of([5, 9, 2]), 3, {}) == [GatherRows(NAME, begin, ROW, array("q", [5, 9, 2]))]
    assert words.chosen(keep_of([5, 6, 7]), 3, {}) == [words.kept(5, 8)]
    assert words.chosen(keep_of([5, 6, 7]), 5, {}) == [words.kept(5, 8), words.fresh(3, 5)]
    assert words.chosen(keep_of([5, 6, 7, 8]), 4, {1: words.zeros(1, 2)}) == [
        words.kept(5, 6), words.zeros(1, 2), words.kept(7, 9),
    ]  # fmt: skip


def test_fresh_rows_between_chosen_ones_lie_under_them(stored: dict[str, StoredTensor]) -> None:
    words, begin = source(stored), stored[NAMES.words].file_begin
    some = RowMap(6, array("q", [1, 2, 4]), array("q", [9, 3, 5]), array("q", range(4)), Places("m", "line", (1, 2, 3)))
    over = GatherRows(NAME, begin, ROW, array("q", [9, 3, 5]))
    assert words.chosen(some, 6, {}) == [
        Overlay(words.fresh(0, 5), over, array("q", [1, 2, 4]), ROW), words.fresh(5, 6),
    ]  # fmt: skip
    late = words.chosen(some, 6, {1: words.zeros(1, 2)})
    rest = GatherRows(NAME, begin, ROW, array("q", [3, 5]))
    assert late == [
        words.fresh(0, 1),
        words.zeros(1, 2),
        Overlay(words.fresh(2, 5), rest, array("q", [0, 2]), ROW),
        words.fresh(5, 6),
    ]


def test_several_origins_are_a_mean(stored: dict[str, StoredTensor]) -> None:
    words, begin = source(stored), stored[NAMES.words].file_begin
    two = RowMap(2, array("q", [0, 1]), array("q", [9, 3, 4]), array("q", [0, 1, 3]), Places("m", "line", (1, 2)))
    assert words.chosen(two, 2, {}) == [
        GatherRows(NAME, begin, ROW, array("q", [9, 3, 4]), array("q", [0, 1, 3]), "F32")
    ]


def test_a_mean_behind_chosen_rows_and_a_single_one_is_a_mean_still(stored: dict[str, StoredTensor]) -> None:
    words, begin = source(stored), stored[NAMES.words].file_begin
    old, offsets = array("q", [9, 8, 3, 4]), array("q", [0, 1, 2, 4])
    late = RowMap(4, array("q", [0, 1, 3]), old, offsets, Places("m", "line", (1, 2, 3)))
    assert words.chosen(late, 4, {2: words.zeros(2, 3)}) == [
        GatherRows(NAME, begin, ROW, array("q", [9, 8])),
        words.zeros(2, 3),
        GatherRows(NAME, begin, ROW, old, array("q", [2, 4]), "F32"),
    ]


def test_long_stretches_are_pieces_of_their_own(
    stored: dict[str, StoredTensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, begin = source(stored), stored[NAMES.words].file_begin
    chosen = keep_of([9, 20, 21, 22, 3])
    monkeypatch.setattr(tables, "LONG", 3 * ROW)
    assert words.chosen(chosen, 5, {}) == [words.kept(9, 10), words.kept(20, 23), words.kept(3, 4)]
    monkeypatch.setattr(tables, "LONG", 3 * ROW + 1)
    assert words.chosen(chosen, 5, {}) == [GatherRows(NAME, begin, ROW, array("q", [9, 20, 21, 22, 3]))]


def test_the_default_of_long_is_a_quarter_of_a_mebibyte() -> None:
    assert tables.LONG == 256 * 1024


def test_what_needs_arithmetic_needs_a_dtype_that_has_it(stored: dict[str, StoredTensor]) -> None:
    tensor = stored[NAMES.words]
    refuse_uncountable(tensor, "x")
    whole = tensor._replace(entry=tensor.entry._replace(dtype="I64"))
    with pytest.raises(RefusedError) as raised:
        refuse_uncountable(whole, "what to do")
    wanted = f"{NAME}: `new.{NAMES.words}`: dtype I64, numbers are made in F64, F32, F16, BF16 only"
    assert (raised.value.message, raised.value.hint) == (wanted, "what to do")
    assert [init for init in ("normal", "mean", "mean-cov", "zeros", "copy:3") if is_computed(init)] == [
        "normal", "mean", "mean-cov",
    ]  # fmt: skip


def test_a_row_to_copy_must_be_there(stored: dict[str, StoredTensor]) -> None:
    tensor = stored[NAMES.words]
    for init in ("normal", "zeros", "copy:0", "copy:127"):
        refuse_absent_row(tensor, init)
    with pytest.raises(RefusedError) as raised:
        refuse_absent_row(tensor, "copy:128")
    assert raised.value.message == "init: copy:128, the table has rows 0 to 127"
    assert raised.value.hint == "name a row that the table has"


def test_so_many_copies_of_a_row_are_made_and_no_more(
    stored: dict[str, StoredTensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_COPIES", 3)
    words = source(stored, "copy:9")
    assert words.fresh(128, 131).nbytes == 3 * ROW
    with pytest.raises(RefusedError, match=r"^init: copy:9 for 4 rows, at most 3 are copied$"):
        words.fresh(128, 132)


@pytest.mark.parametrize("shape", [(HELD, 16), (HELD * 32,), (HELD, 32, 1)])
def test_a_word_table_has_rows_of_the_hidden_size(shape: tuple[int, ...], tmp_path: Path) -> None:
    config = builder.remote_config(vocab_size=HELD)
    arrays = builder.tensors(config)
    arrays[NAMES.words] = np.resize(arrays[NAMES.words], shape)
    target = understand(open_checkpoint(builder.write(tmp_path / "ckpt", config, arrays)), lambda names: (names.words,))
    with pytest.raises(RefusedError) as raised:
        word_table(target)
    assert raised.value.message == f"{NAME}: `{NAMES.words}`: shape {list(shape)}, config needs [128, 32]"
