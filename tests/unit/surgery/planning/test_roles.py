"""Special ids of one's own: the rows that play the parts come to them, and a plan that loses such rows says so."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gte_surgery import IdContract, remap, resize
from gte_surgery.cli.entry import run
from gte_surgery.errors import RefusedError, UsageError
from tests import builder

WORDS = "embeddings.word_embeddings.weight"


def sources(path: Path) -> tuple[Path, np.ndarray]:
    source = builder.write_sidecars(builder.build(path))
    settings = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    builder.write_json(source / "tokenizer_config.json", settings)
    return source, builder.load(source)[WORDS]


def test_the_rows_of_the_parts_move_to_ones_own_ids(tmp_path: Path) -> None:
    source, before = sources(tmp_path / "ckpt")
    outcome = resize(source, vocab=100, pad=0, cls=1, sep=7, mask=99, tokenizer="remove")
    after = builder.load(source)[WORDS]
    assert len(after) == 100
    assert not after[0].any()
    for new, old in ((1, 0), (7, 2), (99, 4), (8, 8), (50, 50)):
        assert (after[new] == before[old]).all()
    assert not (after[2] == before[2]).all(), "the row that SEP left is drawn anew"
    config = json.loads((source / "config.json").read_text())
    assert {key: config[key] for key in ("pad_token_id", "cls_token_id", "sep_token_id", "mask_token_id")} == {
        "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 7, "mask_token_id": 99,
    }  # fmt: skip
    assert outcome.plan.command == "resize"
    assert outcome.plan.edits["cls"] == 1
    contract = IdContract.from_checkpoint(source)
    assert (contract.cls_token_id, contract.mask_token_id, contract.special_ids) == (1, 99, (1, 7, 99))


def test_a_remap_takes_them_too(tmp_path: Path) -> None:
    source, before = sources(tmp_path / "ckpt")
    remap(source, keep=[1, 40, 41, 42], pad=0, cls=2, vocab=6, tokenizer="remove")
    after = builder.load(source)[WORDS]
    assert (after[[1, 2, 3]] == before[[40, 0, 42]]).all()


@pytest.mark.parametrize("tokenizer", ["remove", "keep"])
def test_parts_that_no_tokenizer_tells_of_any_more_are_written_down(tmp_path: Path, tokenizer: Any) -> None:
    source, _ = sources(tmp_path / "ckpt")
    remap(source, keep=[1, 40, 4, 0, 2], tokenizer=tokenizer)
    config = json.loads((source / "config.json").read_text())
    assert {role: config[f"{role}_token_id"] for role in ("mask", "cls", "sep")} == {"mask": 2, "cls": 3, "sep": 4}
    contract = IdContract.from_checkpoint(source)
    assert (contract.pad_token_id, contract.cls_token_id, contract.mask_token_id) == (0, 3, 2)


def test_without_them_the_loss_is_said_first_with_the_command(tmp_path: Path) -> None:
    source, _ = sources(tmp_path / "ckpt")
    first = resize(source, vocab=100, pad=0, dry_run=True).plan.meaning[0]
    assert first.startswith("WARNING: the rows of special tokens are lost: cls 0. ")
    assert f"gte-surgery resize {source} --vocab=100 --pad=0 --cls=ID" in first
    assert not resize(source, vocab=100, pad=1, dry_run=True).plan.meaning[0].startswith("WARNING")


def test_a_shrink_names_the_tokens_that_lose_their_row_and_offers_trim(tmp_path: Path) -> None:
    source = builder.write_sidecars(builder.build(tmp_path / "ckpt"), ids=60, mask=59)
    said = " ".join(resize(source, vocab=50, pad=1, dry_run=True).plan.meaning)
    assert "10 tokens of the tokenizer lose their row, ids 50 to 59, `<mask>` 59 among them" in said
    assert f"`gte-surgery trim {source} --top=50` cuts table and tokenizer together" in said
    assert "lose their row" not in " ".join(resize(source, vocab=60, pad=1, dry_run=True).plan.meaning)
    assert run(shlex.split(f"trim {source} --top=50")) == 0, "the command works as it is pasted"
    assert json.loads((source / "config.json").read_text())["vocab_size"] == 50
    vocabulary = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    assert [*vocabulary] == ["<s>", "<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(4, 49)), "<mask>"]


def test_a_part_that_nobody_knows_and_an_id_twice_are_refused(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    with pytest.raises(RefusedError, match="cls: which row plays this part now is not known"):
        resize(source, vocab=100, pad=0, cls=1)
    with pytest.raises(UsageError, match="sep: 5, which is cls already"):
        resize(source, vocab=100, pad=0, cls=5, sep=5)
    with pytest.raises(UsageError, match="cls: 0, which is pad already"):
        resize(source, vocab=100, pad=0, cls=0)
    with pytest.raises(UsageError, match="mask: 100, must be at most 99"):
        resize(source, vocab=100, pad=0, mask=100)


def test_without_a_tokenizer_a_release_tells_the_parts_and_the_plan_where_they_went(tmp_path: Path) -> None:
    """A table of 30,528 rows is that of an English release, whose `[CLS]` is 101."""
    source = builder.build(tmp_path / "ckpt", builder.remote_config(vocab_size=30528))
    said = resize(source, vocab=200, pad=0, cls=1, sep=7, dry_run=True).plan.meaning
    assert "special ids follow the map: cls 101 → 1, sep 102 → 7, mask 103 → 103, unk 100 → 100" in said
    said = remap(source, map={2: 101, 3: 102}, pad=0, vocab=9, dry_run=True).plan.meaning
    assert "special ids follow the map: cls 101 → 2, sep 102 → 3" in said
    assert "special ids without a new one: mask 103, unk 100" in said


def test_rows_that_count_as_new_are_lost_to_the_parts_and_to_the_old_pad(tmp_path: Path) -> None:
    source, before = sources(tmp_path / "ckpt")
    np.save(tmp_path / "rows.npy", np.full((100, before.shape[1]), 0.5, np.float32))
    outcome = resize(source, vocab=100, pad=0, new_from=0, init=tmp_path / "rows.npy", tokenizer="remove")
    assert "the rows of special tokens are lost: cls 0, sep 2, mask 4" in outcome.plan.meaning[0]
    assert "row 1 was the pad row and is now an ordinary token" in outcome.plan.meaning
    assert (builder.load(source)[WORDS][1:] == np.float16(0.5)).all()
