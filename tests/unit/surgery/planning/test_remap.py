"""Remap: where the pad and the special ids go, what it says and refuses, and a whole remap between two tokenizers."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gte_surgery.errors import GteSurgeryError, RefusedError, UsageError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.undo import undo
from gte_surgery.surgery.verbs import Outcome, remap
from tests import builder

WORDS = "embeddings.word_embeddings.weight"


def config_of(folder: Path) -> dict[str, object]:
    config = json.loads((folder / "config.json").read_text())
    assert isinstance(config, dict)
    return config


def sentences(outcome: Outcome) -> str:
    return "\n".join(outcome.plan.meaning)


def test_pad_and_special_ids_follow_the_map_and_the_plan_says_where(tmp_path: Path) -> None:
    ids = {"bos_token_id": 0, "mask_token_id": 127, "eos_token_id": [2, 5], "sep_token_id": 3, "cls_token_id": None}
    source = builder.build(tmp_path / "ckpt", builder.remote_config(**ids))
    outcome = remap(source, keep=[0, 2, 50, 1, 127])
    config = config_of(source)
    assert config["vocab_size"] == 5
    assert config["pad_token_id"] == 3
    assert (config["bos_token_id"], config["mask_token_id"], config["sep_token_id"]) == (0, 4, None)
    assert (config["eos_token_id"], config["cls_token_id"]) == ([1], None)
    assert "the pad row goes from 1 to 3" in sentences(outcome)
    assert "special ids follow the map: bos 0 → 0, mask 127 → 4" in sentences(outcome)
    assert "special ids without a new one: sep 3" in sentences(outcome)


@pytest.mark.parametrize(("keep", "told"), [([0, 1, 2], "stays row 1"), ([0, 2, 1], "goes from 1 to 2")])
def test_a_pad_row_that_was_trained_becomes_zero_and_the_plan_says_so(
    tmp_path: Path, keep: list[int], told: str
) -> None:
    source = builder.build(tmp_path / "ckpt", builder.remote_config())
    arrays = builder.load(source)
    arrays["embeddings.word_embeddings.weight"][1] = [3, 4, *[0] * 30]
    builder.save(source / "model.safetensors", arrays)
    outcome = remap(source, keep=keep, out=tmp_path / "out")
    assert f"the pad row {told}, and becomes zero (norm 5.00)" in outcome.plan.meaning
    assert not builder.load(tmp_path / "out")["embeddings.word_embeddings.weight"][keep.index(1)].any()
    assert f"the pad row {told}" in remap(builder.build(tmp_path / "zero"), keep=keep, out=tmp_path / "o").plan.meaning


def test_special_ids_of_the_tokenizer_files_are_told_too(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    settings = {"cls_token": "<s>", "mask_token": "<mask>", "added_tokens_decoder": {"0": {"content": "<s>"}}}
    settings["added_tokens_decoder"]["99"] = {"content": "<mask>"}  # type: ignore[index]
    builder.write_json(source / "tokenizer_config.json", settings)
    said = sentences(remap(source, keep=[1, 99], dry_run=True))
    assert "special ids follow the map: mask 99 → 1" in said
    assert "special ids without a new one: cls 0" in said
    assert "tokenizer_config.json follow: the ids in them are new" in said
    said = sentences(remap(source, keep=[1, 99], tokenizer="keep", dry_run=True))
    assert "the tokenizer files (tokenizer_config.json) stay, with the old vocabulary" in said
    outcome = remap(source, keep=[1, 99], tokenizer="remove")
    assert outcome.plan.removed == ("tokenizer_config.json",)
    assert not (source / "tokenizer_config.json").exists()


def test_a_pad_id_of_ones_own_zeroes_that_row_and_frees_the_old_one(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    table = builder.load(source)[WORDS]
    outcome = remap(source, keep=[5, 1, 6], pad=2)
    found = builder.load(source)[WORDS]
    assert found[0].tobytes() == table[5].tobytes()
    assert not found[1:].any()
    assert config_of(source)["pad_token_id"] == 2
    assert "row 2 would be old row 6, and becomes zero, as the pad row" in sentences(outcome)
    assert "old row 1 was the pad row and is now row 1, an ordinary token" in sentences(outcome)


def test_a_pad_row_of_negative_zeros_is_zero_and_keeps_its_bytes(tmp_path: Path) -> None:
    config = builder.remote_config()
    arrays = builder.tensors(config)
    arrays[WORDS][1] = -0.0
    source = builder.write(tmp_path / "ckpt", config, arrays)
    remap(source, keep=[1, 9])
    assert builder.load(source)[WORDS].tobytes() == arrays[WORDS][[1, 9]].tobytes()


def test_a_config_without_a_pad_id_gets_none(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt", builder.remote_config(pad_token_id=builder.ABSENT))
    remap(source, keep=[3, 1])
    assert "pad_token_id" not in config_of(source)
    assert (builder.load(source)[WORDS] != 0).any(axis=1).all()


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        ({"keep": [0, 2]}, RefusedError, "pad: row 1, the pad row, gets no new id"),
        ({"keep": [1, 128]}, RefusedError, "keep: entry 1: old id 128, the table has rows 0 to 127"),
        ({"map": {7: 1, 3: 500}}, RefusedError, "map: entry 1: old id 500, the table"),
        ({"keep": [1], "pad": 1}, UsageError, "pad: 1, must be below the vocabulary size 1"),
        ({"keep": [1], "pad": -1}, UsageError, "pad: -1, must be at least 0"),
        ({"keep": [1, 2], "vocab": 1}, UsageError, "vocab: 1, the map makes 2 rows"),
        ({"keep": [1], "vocab": 2, "init": "copy:128"}, RefusedError, "init: copy:128, the table has rows 0 to 127"),
        ({"keep": [1], "init": "median"}, UsageError, "init: 'median', must be normal, mean, mean-cov, zeros, copy"),
        ({"keep": [1, 1]}, RefusedError, "keep: entry 1: old id 1 is there already, entry 0"),
        ({"keep": []}, RefusedError, "keep: names no row"),
        ({}, UsageError, "named in one way"),
        ({"keep": [1], "map": {0: 1}}, UsageError, "named in one way"),
        ({"keep": [1], "from_tokenizer": "x"}, UsageError, "named in one way"),
        ({"to_tokenizer": "x"}, UsageError, "tokenizer.json: no such file"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    edit: dict[str, object], error: type[GteSurgeryError], message: str, tmp_path: Path
) -> None:
    source = builder.build(tmp_path / "ckpt")
    before = {file: file.read_bytes() for file in source.iterdir()}
    with pytest.raises(error, match=message):
        remap(source, **edit)  # type: ignore[arg-type]
    assert {file: file.read_bytes() for file in source.iterdir()} == before


def test_repeats_are_made_when_they_are_allowed(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    table = builder.load(source)[WORDS]
    outcome = remap(source, keep=[1, 9, 9, 9], allow_repeats=True)
    assert builder.load(source)[WORDS].tobytes() == table[[1, 9, 9, 9]].tobytes()
    assert "2 new rows repeat a row that another one has as well" in sentences(outcome)


def test_the_plan_counts_each_row_that_is_kept_once_however_often_it_is_named(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    held = len(builder.load(source)[WORDS])
    outcome = remap(source, keep=[1, 7, 8, 15, 16, held - 1, 8, 7], allow_repeats=True, dry_run=True)
    assert f"6 of {held} rows are kept under new ids, {held - 6} are dropped" in sentences(outcome)


def test_a_dtype_without_arithmetic_is_carried_but_not_computed(tmp_path: Path) -> None:
    config = builder.remote_config(dtype="float8_e4m3fn")
    source = builder.build(tmp_path / "ckpt", config)
    retype(source / "model.safetensors")
    with pytest.raises(RefusedError, match="dtype U32, numbers are made in F64, F32, F16, BF16 only"):
        remap(source, keep=[1, 2], vocab=3)
    remap(source, keep=[1, 2], vocab=3, init="zeros")
    assert config_of(source)["vocab_size"] == 3


def retype(file: Path) -> None:
    """Calls every F32 tensor of a file U32, in the header alone."""
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b'"dtype":"F32"', b'"dtype":"U32"'))


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("init", ["mean", "mean-cov"])
def test_a_table_that_holds_nan_has_no_mean_and_stays_as_it_was(init: str, dry_run: bool, tmp_path: Path) -> None:
    config = builder.remote_config()
    arrays = builder.tensors(config)
    arrays[WORDS][77, 3] = np.nan
    source = builder.write(tmp_path / "ckpt", config, arrays)
    before = {file: file.read_bytes() for file in source.iterdir()}
    with pytest.raises(RefusedError, match=r"model\.safetensors: row 77 of the table holds NaN"):
        remap(source, keep=[1, 2], vocab=3, init=init, dry_run=dry_run)
    assert {file: file.read_bytes() for file in source.iterdir() if file.is_file()} == before


def test_the_receipt_tells_of_the_map_but_does_not_hold_it(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    (tmp_path / "keep.txt").write_text("1\n5\n")
    outcome = remap(source, keep=tmp_path / "keep.txt", seed=4)
    assert outcome.receipt is not None
    edits = outcome.receipt["edits"]
    assert isinstance(edits, dict)
    assert edits.pop("keep_sha256") == hashlib.sha256(b"1\n5\n").hexdigest()
    assert edits == {
        "keep": str(tmp_path / "keep.txt"),
        "init": "normal",
        "round_to": 1,
        "tokenizer": "rewrite",
        "seed": 4,
    }


def test_from_one_tokenizer_to_another_the_table_and_the_head_follow(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")

    def save(path: Path, tokens: list[str]) -> None:
        vocabulary = {token: number for number, token in enumerate(tokens)}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
        tokenizer.save(str(path))

    config = builder.remote_config(vocab_size=8, pad_token_id=0)
    arrays = builder.tensors(config, "mlm")
    arrays["lm_head.decoder.bias"] = np.arange(8, dtype=np.float32)
    source = builder.write(tmp_path / "ckpt", config, arrays)
    save(source / "tokenizer.json", ["[PAD]", "[UNK]", "sun", "##day", "moon", "##s", "##light"])
    save(tmp_path / "new.json", ["[UNK]", "sunday", "moon", "[PAD]", "moonlights", "漢"])
    outcome = remap(source, to_tokenizer=tmp_path / "new.json", init="mean", tokenizer="remove")
    table, made = arrays["new." + WORDS], builder.load(source)
    wide = table.astype(np.float64)
    wanted = np.stack(
        [table[1], wide[[2, 3]].mean(axis=0), table[4], np.zeros(32), wide[[4, 6, 5]].mean(axis=0), wide.mean(axis=0)]
    )
    assert np.array_equal(made["new." + WORDS], wanted.astype(np.float32))
    assert made["lm_head.decoder.bias"].tolist() == [1.0, 2.5, 4.0, 0.0, 5.0, 0.0]
    assert config_of(source)["pad_token_id"] == 3
    assert "coverage: 5 of 6 new tokens (83.3 %) have old rows: 3 shared" in sentences(outcome)
    assert "tokens without an old row: `漢`" in sentences(outcome)
    assert not (source / "tokenizer.json").exists()
    undo(source, Filesystem())
    assert (source / "tokenizer.json").exists()


@pytest.mark.parametrize("case", ["legacy-base", "legacy-multilingual", "legacy-mlm", "legacy-unpacked-qkv"])
def test_a_permuted_golden_checkpoint_is_permuted_and_nothing_else(case: str, golden: Path, tmp_path: Path) -> None:
    source = shutil.copytree(golden / case, tmp_path / "ckpt")
    before = builder.load(source)
    order = np.random.default_rng(0).permutation(256)
    np.save(tmp_path / "order.npy", order)
    remap(source, map=tmp_path / "order.npy")
    after = builder.load(source)
    assert after.keys() == before.keys()
    moved = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    assert moved <= {name for name in before if name.endswith(("word_embeddings.weight", "lm_head.decoder.bias"))}
    for name in moved:
        assert after[name].tobytes() == before[name][order].tobytes()
    np.save(tmp_path / "back.npy", np.argsort(order))
    remap(source, map=tmp_path / "back.npy")
    assert (source / "model.safetensors").read_bytes() == (golden / case / "model.safetensors").read_bytes()
    assert (source / "config.json").read_bytes() == (golden / case / "config.json").read_bytes()
