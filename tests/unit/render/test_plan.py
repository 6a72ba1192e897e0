"""A plan and an outcome as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from gte_surgery.checkpoint.source import LocalFile
from gte_surgery.render.plan import outcome_json, outcome_text, plan_text
from gte_surgery.surgery.pieces.piece import CopyRange, Fill
from gte_surgery.surgery.planning.plan import ConfigChange, PlainFile, Plan, PlannedTensor, SourceFile, WeightFile

SOURCE = SourceFile("model.safetensors", LocalFile(Path("ckpt/model.safetensors")), 4096, 0, "sha256:0")
COPIED = PlannedTensor("kept", "F32", (8,), (CopyRange("model.safetensors", 64, 96),))
MADE = PlannedTensor("words\x1b[2J", "F32", (2, 4), (Fill(bytes(4), 4), CopyRange("model.safetensors", 1024, 1040)))
WEIGHTS = WeightFile("model.safetensors", 0o644, None, (COPIED, MADE))
PLAN = Plan(
    command="resize",
    source="ckpt",
    edits={"vocab": 2},
    seed=0,
    sources=(SOURCE,),
    files=(WEIGHTS, PlainFile("config.json", 0o644, b"{}")),
    removed=("tokenizer.json",),
    changes=(ConfigChange("vocab_size", 256, 2), ConfigChange("pad_token_id", None, 0)),
    meaning=("row 0 becomes zero",),
)
EMPTY = Plan("resize", "ckpt", {}, 0, (SOURCE,), (), (), (), ())


def test_a_plan_tells_config_meaning_and_files_and_details_only_what_is_no_copy() -> None:
    assert plan_text(PLAN, Path("ckpt")).splitlines() == [
        "resize → ckpt",
        "  config.json",
        "    vocab_size: 256 → 2",
        "    pad_token_id: absent → 0",
        "  meaning",
        "    row 0 becomes zero",
        "  files to write",
        f"    model.safetensors: {WEIGHTS.nbytes} B, 2 tensors, 1 of them more than a copy",
        "      `words\\x1b[2J` F32 [2, 4]",
        "        16 B  4 zeros",
        "        16 B  copy 16 bytes of model.safetensors from 1024",
        "    config.json: 2 B",
        "  files to remove",
        "    tokenizer.json",
    ]


def test_a_dry_run_says_that_nothing_was_written() -> None:
    assert outcome_text(PLAN, None, Path("ckpt")).endswith("\ndry run: nothing was written")


def test_nothing_to_do_is_said_so() -> None:
    assert outcome_text(EMPTY, None, Path("ckpt")) == "ckpt: already so, nothing to write"


def test_a_copy_of_what_was_already_so_is_told_as_one() -> None:
    assert (
        outcome_text(EMPTY, {"tool": "gte-surgery"}, Path("out")) == "out: a plain copy, the checkpoint was already so"
    )


def test_an_outcome_tells_what_was_written_and_what_it_means() -> None:
    text = outcome_text(PLAN, {"tool": "gte-surgery"}, Path("small"))
    assert text.startswith("resize small: wrote 2 files, ")
    assert "row 0 becomes zero" in text


def test_json_has_the_plan_its_target_and_the_receipt() -> None:
    value = json.loads(outcome_json(PLAN, None, Path("small")))
    assert (value["target"], value["receipt"]) == ("small", None)
    assert value["changes"][0] == {"key": "vocab_size", "before": 256, "after": 2}
    tensors = value["files"][0]["tensors"]
    assert [sum(piece["nbytes"] for piece in tensor["pieces"]) for tensor in tensors] == [32, 32]
    assert value["nbytes"] == PLAN.nbytes
