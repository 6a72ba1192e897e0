"""Rows that a release has to spare and that a tokenizer gives out since are new rows, in all that has rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gte_surgery import resize
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.surgery.edits import Resize
from gte_surgery.surgery.planning.parts.row_changes import row_changes
from gte_surgery.surgery.planning.roles import with_renewed
from gte_surgery.surgery.planning.target import understand
from tests import builder

WORDS, BIAS = "new.embeddings.word_embeddings.weight", "lm_head.decoder.bias"
HELD, OWN = 30528, 30522
SIZES: dict[str, Any] = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "num_hidden_layers": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release's table, and its tokenizer with three tokens more."""
    config = builder.remote_config(vocab_size=HELD, **SIZES)
    path = builder.build(tmp_path_factory.mktemp("renewed") / "ckpt", config, "mlm")
    return builder.write_sidecars(path, ids=OWN + 3, hidden=8)


def tables(path: Path) -> tuple[np.ndarray, np.ndarray]:
    found = builder.load(path)
    return found[WORDS], found[BIAS]


@pytest.mark.parametrize("rows", [HELD + 64, OWN + 3], ids=["grown", "cut to the tokenizer"])
def test_spare_rows_that_new_tokens_fall_into_are_new(place: Path, tmp_path: Path, rows: int) -> None:
    words, _ = tables(place)
    outcome = resize(place, vocab=rows, pad=1, init="zeros", out=tmp_path / "out")
    after, after_bias = tables(outcome.target)
    assert (after[2:OWN] == words[2:OWN]).all()
    assert not after[OWN : OWN + 3].any()
    assert not after_bias[OWN : OWN + 3].any()
    assert (after[OWN + 3 : HELD] == words[OWN + 3 : HELD][: len(after) - OWN - 3]).all()
    (told,) = [each for each in outcome.plan.meaning if "count as new" in each]
    assert told.startswith(f"rows {OWN} to {OWN + 2}, tokens that the tokenizer has beyond the release's")
    assert told.endswith(f"count as new, zero; `--new-from {HELD}` keeps what they hold")
    kept = resize(place, vocab=rows, pad=1, init="zeros", new_from=HELD, out=tmp_path / "kept")
    assert (tables(kept.target)[0][2:HELD] == words[2:rows][: HELD - 2]).all()


def test_where_they_are_not_known_the_user_says_it(place: Path, tmp_path: Path) -> None:
    words, _ = tables(place)
    given = np.arange((40 + 2) * 8, dtype=np.float32).reshape(-1, 8)
    np.save(tmp_path / "rows.npy", given)
    outcome = resize(
        place, vocab=HELD + 2, pad=1, init=str(tmp_path / "rows.npy"), new_from=HELD - 40, tokenizer="remove",
        out=tmp_path / "out",
    )  # fmt: skip
    after, _ = tables(outcome.target)
    assert (after[HELD - 40 :] == given).all()
    assert (after[2 : HELD - 40] == words[2 : HELD - 40]).all()
    assert outcome.plan.edits["new_from"] == HELD - 40


def test_roles_of_ones_own_and_moments_take_part(place: Path, tmp_path: Path) -> None:
    target = understand(open_checkpoint(place))
    edit = with_renewed(target, Resize(HELD + 64, 1))
    assert edit.renewed == range(OWN, OWN + 3)
    changes = [*row_changes(target, edit)]
    assert [set(change.zeroed) for change in changes] == [{1}, set()]
    for change in changes:
        without = [row for row in range(HELD) if not change.origins.origin(row)]
        assert without == [OWN, OWN + 1, OWN + 2]
    after, _ = tables(resize(place, vocab=HELD + 64, pad=1, init="zeros", mask=9, out=tmp_path / "out").target)
    assert not after[OWN : OWN + 3].any()
    assert after[9].any()


@pytest.mark.parametrize(
    ("edit", "beside"),
    [(Resize(HELD, 1), ""), (Resize(HELD + 64, 1, tokenizer="remove"), ""), (Resize(HELD + 64, 1), "optimizer.pt")],
    ids=["of the same size", "without a tokenizer", "in training"],
)
def test_nothing_is_new_that_may_be_trained(place: Path, edit: Resize, beside: str) -> None:
    if beside:
        (place / beside).write_bytes(b"")
    try:
        assert not with_renewed(understand(open_checkpoint(place)), edit).renewed
    finally:
        if beside:
            (place / beside).unlink()


@pytest.mark.parametrize("kind", ["weight", "lora_embedding_A"])
def test_nothing_is_new_that_an_adapter_speaks_for(place: Path, kind: str) -> None:
    builder.add_adapter(place, HELD, kind=kind)
    try:
        assert not with_renewed(understand(open_checkpoint(place)), Resize(HELD + 64, 1)).renewed
    finally:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (place / name).unlink()


def test_rows_behind_the_table_that_are_tokens_already_are_named(tmp_path: Path) -> None:
    path = builder.write_sidecars(builder.build(tmp_path / "ckpt"), ids=130)
    told = resize(path, vocab=192, pad=1, dry_run=True).plan.meaning
    assert "rows 128 to 129 are tokens of the tokenizer already" in told
    assert not any("feed your own ids" in each for each in told), "the tokenizer fits now"
    assert json.loads((path / "config.json").read_text())["vocab_size"] == 128
