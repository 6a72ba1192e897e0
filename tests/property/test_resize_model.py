"""Random resizes of random checkpoints against a model of a checkpoint that is nothing but numpy arrays and a dict."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checkpoint.headers.header import tensor_nbytes
from gte_surgery.surgery.edits import Resize
from gte_surgery.surgery.pieces.evaluate import evaluate
from gte_surgery.surgery.pieces.piece import Normal
from gte_surgery.surgery.verbs import Outcome, plan_surgery, resize
from tests import builder

WIDTH = 32
WORDS = "embeddings.word_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"


@dataclass(frozen=True)
class Case:
    """A checkpoint to build and an edit to make."""

    head: str
    shards: int
    types: int
    pad: int | None
    vocab: int
    std: float
    dtype: str
    edit: Resize

    def build(self, path: Path) -> Path:
        config = builder.remote_config(
            vocab_size=self.vocab,
            type_vocab_size=self.types,
            pad_token_id=builder.ABSENT if self.pad is None else self.pad,
            initializer_range=self.std,
        )
        arrays = {name: array.astype(self.dtype) for name, array in builder.tensors(config, self.head).items()}
        return builder.write(path, config, arrays, self.shards)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    vocab = draw(st.integers(1, 70))
    rows = draw(st.integers(1, 90))
    round_to = draw(st.sampled_from([1, 1, 8, 64]))
    init = draw(st.one_of(st.sampled_from(["normal", "zeros"]), st.integers(0, vocab - 1).map("copy:{}".format)))
    edit = Resize(
        vocab=rows,
        pad=draw(st.integers(0, -(-rows // round_to) * round_to - 1)),
        type_vocab=draw(st.sampled_from([None, 0, 1, 2, 3])),
        type_vocab_mode=draw(st.sampled_from(["fold", "drop"])),
        init=init,
        round_to=round_to,
        old_pad=draw(st.sampled_from(["keep", "normal"])),
        seed=draw(st.integers(0, 3)),
    )
    return Case(
        head=draw(st.sampled_from(["none", "mlm", "classifier", "reranker"])),
        shards=draw(st.sampled_from([1, 1, 2, 5])),
        types=draw(st.integers(0, 3)),
        pad=draw(st.one_of(st.none(), st.integers(0, vocab - 1))),
        vocab=vocab,
        std=draw(st.sampled_from([0.02, 0.3])),
        dtype=draw(st.sampled_from(["float32", "float16"])),
        edit=edit,
    )


def drawn(case: Case, stream: str, first: int, rows: int) -> np.ndarray:
    dtype = {"float32": "F32", "float16": "F16"}[case.dtype]
    raw = evaluate(Normal(stream, case.edit.seed, case.std, dtype, first * WIDTH, rows * WIDTH), lambda *_: b"")
    return np.frombuffer(raw, case.dtype).reshape(rows, WIDTH)


def expected(case: Case, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the edit must make of the arrays, in as few numpy lines as can be."""
    edit, rows = case.edit, case.edit.rows
    prefix = "" if case.head == "none" else "new."
    after = dict(arrays)
    table = arrays[prefix + WORDS][:rows].copy()
    grown = rows - len(table)
    if grown > 0:
        kind, _, row = edit.init.partition(":")
        new = {"normal": lambda: drawn(case, WORDS, len(table), grown), "zeros": lambda: np.zeros((grown, WIDTH))}
        fresh = table[[int(row)] * grown] if kind == "copy" else new[kind]().astype(case.dtype)
        table = np.concatenate([table, fresh])
    if edit.old_pad == "normal" and case.pad is not None and case.pad != edit.pad and case.pad < rows:
        table[case.pad] = drawn(case, WORDS, case.pad, 1)
    if edit.type_vocab == 0 and edit.type_vocab_mode == "fold" and case.types:
        table = (table.astype(np.float32) + arrays[prefix + TYPES][0].astype(np.float32)).astype(case.dtype)
    table[edit.pad] = 0
    after[prefix + WORDS] = table
    if case.head == "mlm":
        bias = np.zeros(rows, case.dtype)
        bias[: min(rows, case.vocab)] = arrays["lm_head.decoder.bias"][:rows]
        after["lm_head.decoder.bias"] = bias
    if edit.type_vocab is not None:
        types = arrays.get(prefix + TYPES, np.zeros((0, WIDTH), case.dtype))
        more = max(0, edit.type_vocab - len(types))
        extra = np.repeat(types[:1], more, axis=0) if len(types) else np.zeros((more, WIDTH), case.dtype)
        after.pop(prefix + TYPES, None)
        if edit.type_vocab:
            after[prefix + TYPES] = np.concatenate([types, extra])[: edit.type_vocab]
    return after


def stored(folder: Path) -> dict[str, np.ndarray]:
    return {name: array for file in folder.glob("model*.safetensors") for name, array in builder.load(file).items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape and one[name].tobytes() == other[name].tobytes() for name in one
    )


@given(case=cases())
def test_resize_makes_what_the_model_says(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = case.build(Path(folder) / "ckpt")
        before = stored(source)
        config = json.loads((source / "config.json").read_text())
        outcome = act(source, case.edit)
        assert same(stored(source), expected(case, before))
        wanted = config | {"vocab_size": case.edit.rows, "pad_token_id": case.edit.pad}
        wanted["type_vocab_size"] = case.types if case.edit.type_vocab is None else case.edit.type_vocab
        after = json.loads((source / "config.json").read_text())
        assert after == wanted
        assert [key for key in after if key in config] == list(config)
        index = source / "model.safetensors.index.json"
        if index.exists():
            described = json.loads(index.read_text())
            arrays = stored(source)
            assert described["metadata"]["total_size"] == sum(array.nbytes for array in arrays.values())
            assert described["weight_map"].keys() == arrays.keys()
        assert outcome.plan.is_empty or outcome.receipt is not None


def act(source: Path, edit: Resize, out: Path | None = None, threads: int | None = None) -> Outcome:
    return resize(
        source,
        vocab=edit.vocab,
        pad=edit.pad,
        type_vocab=edit.type_vocab,
        type_vocab_mode=edit.type_vocab_mode,
        init=edit.init,
        round_to=edit.round_to,
        old_pad=edit.old_pad,
        seed=edit.seed,
        out=out,
        threads=threads,
    )


@given(case=cases())
def test_resizing_again_finds_nothing_to_do(case: Case) -> None:
    edit = case.edit
    with tempfile.TemporaryDirectory() as folder:
        source = case.build(Path(folder) / "ckpt")
        act(source, edit)
        files = {file: file.read_bytes() for file in source.iterdir() if file.is_file()}
        assert act(source, edit).plan.is_empty
        assert {file: file.read_bytes() for file in source.iterdir() if file.is_file()} == files


@given(case=cases())
def test_plans_keep_their_invariants_and_are_deterministic(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = open_checkpoint(case.build(Path(folder) / "ckpt"))
        plan = plan_surgery(checkpoint, case.edit)
        assert plan == plan_surgery(checkpoint, case.edit)
        sizes = {file.name: file.size for file in plan.sources}
        for tensor in (tensor for file in plan.files for tensor in file.tensors):
            assert sum(piece.nbytes for piece in tensor.pieces) == tensor_nbytes(
                tensor.name, tensor.dtype, tensor.shape
            )
        assert sizes.keys() == {shard.file.name for shard in checkpoint.shards}


@pytest.mark.slow
@given(case=cases(), threads=st.integers(1, 5))
def test_out_of_place_equals_in_place_for_any_number_of_threads(case: Case, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, out = case.build(Path(folder) / "ckpt"), Path(folder) / "out"
        (source / "notes").mkdir()
        (source / "notes" / "mine.txt").write_bytes(b"keep me")
        act(source, case.edit, out, threads)
        assert (out / "notes" / "mine.txt").read_bytes() == b"keep me"
        act(source, case.edit, threads=1)
        assert same(stored(source), stored(out))
        assert (source / "config.json").read_bytes() == (out / "config.json").read_bytes()


def test_growing_in_two_steps_equals_growing_in_one(tmp_path: Path) -> None:
    one, two = builder.build(tmp_path / "one"), builder.build(tmp_path / "two")
    resize(one, vocab=100_000, pad=0, seed=9)
    resize(two, vocab=9_999, pad=0, seed=9)
    resize(two, vocab=100_000, pad=0, seed=9)
    assert same(stored(one), stored(two))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_new_rows_are_seeded_normals_and_old_rows_stay(tmp_path: Path, threads: int) -> None:
    source = builder.build(tmp_path / "ckpt")
    before = stored(source)[WORDS]
    resize(source, vocab=60_000, pad=1, seed=5, out=tmp_path / "five", threads=threads)
    resize(source, vocab=60_000, pad=1, seed=5, out=tmp_path / "again", threads=1)
    resize(source, vocab=60_000, pad=1, seed=6, out=tmp_path / "six")
    five, again, six = (stored(tmp_path / name)[WORDS] for name in ("five", "again", "six"))
    assert five[:128].tobytes() == before.tobytes()
    assert five.tobytes() == again.tobytes()
    assert five[128:].tobytes() != six[128:].tobytes()
    new = five[128:].astype(np.float64)
    assert abs(new.mean()) < 5 * 0.02 / math.sqrt(new.size)
    assert abs(new.std() - 0.02) < 5 * 0.02 / math.sqrt(2 * new.size)
