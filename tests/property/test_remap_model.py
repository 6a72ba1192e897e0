"""Random remaps of random checkpoints against a model of a checkpoint that is nothing but numpy arrays and a dict."""

from __future__ import annotations

import json
import tempfile
from array import array
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.surgery.apply import Manner, apply
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.undo import undo
from gte_surgery.surgery.edits import Remap
from gte_surgery.surgery.pieces.evaluate import evaluate
from gte_surgery.surgery.pieces.piece import CopyRange, Normal
from gte_surgery.surgery.planning.parts import tables
from gte_surgery.surgery.planning.plan import Plan
from gte_surgery.surgery.verbs import plan_surgery, remap
from gte_surgery.vocabulary.row_map import Places, RowMap
from tests import builder

WIDTH = 32
WORDS = "embeddings.word_embeddings.weight"
BIAS = "lm_head.decoder.bias"
DECODER = "lm_head.decoder.weight"


@dataclass(frozen=True)
class Case:
    """A checkpoint to build, and for each new id the old ids of which its row is made."""

    head: str
    is_tied: bool
    shards: int
    pad: int
    vocab: int
    dtype: str
    origins: tuple[tuple[int, ...], ...]
    edit: Remap

    def build(self, path: Path) -> Path:
        config = builder.remote_config(vocab_size=self.vocab, pad_token_id=self.pad, mask_token_id=self.vocab - 1)
        arrays = {name: array.astype(self.dtype) for name, array in builder.tensors(config, self.head).items()}
        if self.head == "mlm":
            generator = np.random.default_rng(5)
            arrays[BIAS] = generator.standard_normal(self.vocab).astype(self.dtype)
            if not self.is_tied:
                config["tie_word_embeddings"] = False
                arrays[DECODER] = generator.standard_normal((self.vocab, WIDTH)).astype(self.dtype)
        return builder.write(path, config, arrays, self.shards)


def row_map(origins: tuple[tuple[int, ...], ...]) -> RowMap:
    named = [(new, old) for new, old in enumerate(origins) if old]
    new = array("q", (new for new, _ in named))
    old = array("q", (row for _, rows in named for row in rows))
    offsets = array("q", accumulate((len(rows) for _, rows in named), initial=0))
    return RowMap(len(origins), new, old, offsets, Places("test", "id", new), {"map": "test"})


@st.composite
def cases(draw: st.DrawFn) -> Case:
    vocab = draw(st.integers(4, 60))
    run = st.tuples(st.integers(0, vocab - 1), st.integers(1, 30)).map(
        lambda run: [(row,) for row in range(run[0], min(vocab, run[0] + run[1]))]
    )
    group = st.lists(st.integers(0, vocab - 1), max_size=3).map(lambda rows: [tuple(rows)])
    stretches = draw(st.lists(st.one_of(run, group, st.integers(1, 9).map(lambda n: [()] * n)), min_size=1, max_size=8))
    origins = tuple(rows for stretch in stretches for rows in stretch)
    round_to = draw(st.sampled_from([1, 1, 8, 64]))
    extra = draw(st.sampled_from([0, 0, 1, 20]))
    rows = -(-(len(origins) + extra) // round_to) * round_to
    init = draw(st.one_of(st.sampled_from(["normal", "zeros", "mean", "mean-cov"]), st.just(f"copy:{vocab - 1}")))
    edit = Remap(
        row_map(origins),
        pad=draw(st.integers(0, rows - 1)),
        vocab=len(origins) + extra,
        init=init,
        round_to=round_to,
        seed=draw(st.integers(0, 2)),
    )
    return Case(
        head=draw(st.sampled_from(["none", "mlm", "classifier"])),
        is_tied=draw(st.booleans()),
        shards=draw(st.sampled_from([1, 1, 3])),
        pad=draw(st.integers(0, vocab - 1)),
        vocab=vocab,
        dtype=draw(st.sampled_from(["float32", "float16"])),
        origins=origins,
        edit=edit,
    )


def chosen(case: Case, table: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """The rows that the map names, over `fresh` ones."""
    made = fresh.astype(case.dtype)
    for new, rows in enumerate(case.origins):
        if rows:
            made[new] = table[list(rows)].astype(np.float64).sum(axis=0) / len(rows) if rows[1:] else table[rows[0]]
    return made


def fresh(case: Case, stream: str, table: np.ndarray) -> np.ndarray:
    """New rows in every place; those of mean-cov are left to the tests of statistics and are NaN here."""
    rows, (kind, _, row) = case.edit.rows, case.edit.init.partition(":")
    if kind == "normal":
        dtype = {"float32": "F32", "float16": "F16"}[case.dtype]
        raw = evaluate(Normal(stream, case.edit.seed, 0.02, dtype, 0, rows * WIDTH), lambda *_: b"")
        return np.frombuffer(raw, case.dtype).reshape(rows, WIDTH)
    if kind == "copy":
        return np.repeat(table[int(row)][None], rows, axis=0)
    if kind == "mean":
        return np.repeat(table.astype(np.float64).mean(axis=0)[None], rows, axis=0)
    return np.full((rows, WIDTH), np.nan if kind == "mean-cov" else 0.0)


def expected(case: Case, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the edit must make of the arrays."""
    after = dict(arrays)
    words = ("" if case.head == "none" else "new.") + WORDS
    after[words] = chosen(case, arrays[words], fresh(case, WORDS, arrays[words]))
    after[words][case.edit.pad or 0] = 0
    if BIAS in arrays:
        after[BIAS] = chosen(case, arrays[BIAS], np.zeros(case.edit.rows))
    if DECODER in arrays:
        after[DECODER] = chosen(case, arrays[DECODER], fresh(case, DECODER, arrays[DECODER]))
    return after


def stored(folder: Path) -> dict[str, np.ndarray]:
    return {name: array for file in folder.glob("model*.safetensors") for name, array in builder.load(file).items()}


def operate(folder: Path, edit: Remap, out: Path | None = None, threads: int = 1) -> Plan:
    checkpoint = open_checkpoint(folder)
    plan = plan_surgery(checkpoint, edit)
    if not plan.is_empty or out is not None:
        apply(plan, checkpoint, folder, out, Manner(threads=threads))
    return plan


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], is_mean: bool = False) -> bool:
    """Whether the arrays are the same to the bit; means of whole tables up to the last one; NaN matches anything."""
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape
        and (np.isnan(other[name]) | (one[name] == other[name]) | (is_mean & np.isclose(one[name], other[name]))).all()
        for name in one
    )


@given(case=cases(), long=st.sampled_from([1, 300, 1 << 18]))
def test_remap_makes_what_the_model_says(case: Case, long: int) -> None:
    """However short the runs are that become ranges of their own."""
    before_long, tables.LONG = tables.LONG, long
    try:
        with tempfile.TemporaryDirectory() as folder:
            source = case.build(Path(folder) / "ckpt")
            before, config = stored(source), json.loads((source / "config.json").read_text())
            operate(source, case.edit)
            assert same(stored(source), expected(case, before), case.edit.init == "mean")
            after = json.loads((source / "config.json").read_text())
            mask = next((new for new, rows in enumerate(case.origins) if rows == (case.vocab - 1,)), None)
            sizes = {"vocab_size": case.edit.rows, "pad_token_id": case.edit.pad, "mask_token_id": mask}
            assert after == config | sizes
            assert list(after) == list(config)
    finally:
        tables.LONG = before_long


@pytest.mark.slow
@given(case=cases(), threads=st.integers(2, 5))
def test_the_number_of_threads_changes_no_byte_and_undo_takes_it_all_back(case: Case, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, out = case.build(Path(folder) / "ckpt"), Path(folder) / "out"
        files = {file.name: file.read_bytes() for file in source.iterdir()}
        operate(source, case.edit, out, threads)
        plan = operate(source, case.edit)
        made = {file.name: file.read_bytes() for file in source.glob("model*")}
        assert made == {file.name: file.read_bytes() for file in out.glob("model*")}
        if not plan.is_empty:
            undo(source, Filesystem())
        assert {file.name: file.read_bytes() for file in source.iterdir() if file.is_file()} == files


@given(case=cases())
def test_rows_drawn_like_the_table_have_their_place_in_the_stream(case: Case) -> None:
    """Whichever rows are drawn, one row of one seed is always the same."""
    with tempfile.TemporaryDirectory() as folder:
        source = case.build(Path(folder) / "ckpt")
        words = ("" if case.head == "none" else "new.") + WORDS
        all_fresh = Remap(row_map((((0,)), *[()] * (case.edit.rows - 1))), 0, init="mean-cov", seed=case.edit.seed)
        some = Remap(case.edit.origins, case.edit.pad, case.edit.rows, "mean-cov", seed=case.edit.seed)
        operate(source, all_fresh, Path(folder) / "all")
        operate(source, some, Path(folder) / "some")
        drawn, made = (stored(Path(folder) / name)[words] for name in ("all", "some"))
        unnamed = set(range(1, case.edit.rows)) - {case.edit.pad, *case.edit.origins.new}
        assert all(drawn[row].tobytes() == made[row].tobytes() for row in unnamed)


def test_keeping_every_row_in_its_place_finds_nothing_to_do(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt", head="mlm")
    outcome = remap(source, keep=range(128))
    assert outcome.plan.is_empty
    assert outcome.receipt is None


def test_keeping_the_first_rows_is_a_shrink_and_nothing_but_ranges(tmp_path: Path) -> None:
    config = builder.remote_config(vocab_size=9000)
    source = builder.build(tmp_path / "ckpt", config)
    plan = remap(source, keep=range(4500), dry_run=True).plan
    tensor = next(tensor for file in plan.files for tensor in file.tensors if tensor.name == WORDS)
    assert [type(piece) for piece in tensor.pieces] == [CopyRange]
