"""The description of a checkpoint as text and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.description import Description, Pad, TensorFacts, Vocabulary, describe
from gte_surgery.render.description import description_json, description_text


@pytest.fixture
def description(golden: Path) -> Description:
    return describe(open_checkpoint(golden / "legacy-multilingual"))


def rows(text: str) -> dict[str, str]:
    """Subject and what is said of it, of each line below the first."""
    return {line[2:16].strip(): line[16:] for line in text.splitlines()[1:]}


def test_text_tells_one_subject_a_line(description: Description) -> None:
    told = rows(description_text(description))
    assert told["dialect"] == "remote, architectures NewForTokenClassification"
    assert told["sizes"] == "2 layers, hidden 32, 4 heads of 8, feed-forward 48, 128 positions"
    assert told["pad"] == "id 1, its row is zero"
    assert told["rope"].startswith("theta 20000, ntk factor 8")
    assert told["parameters"] == "26,305 in 28 tensors (F32), 105.2 kB"
    empty = replace(description, parts=(), parameters=0, nbytes=0, dtypes=())
    assert " 0 in 0 tensors, 0 B\n" in description_text(empty)


def test_parts_add_up_to_the_whole(description: Description) -> None:
    value = json.loads(description_json(description))
    assert sum(part["parameters"] for part in value["parts"]) == value["parameters"] == 26305


@pytest.mark.parametrize(
    ("vocabulary", "told"),
    [
        (Vocabulary(1000, None, None), "1,000 rows"),
        (Vocabulary(1000, 980, 20), "1,000 rows, 20 more than the tokenizer's 980 ids"),
        (Vocabulary(1000, 1002, -2), "1,000 rows, 2 too few for the tokenizer's 1,002 ids"),
    ],
)
def test_spare_and_lacking_rows_are_told_apart(vocabulary: Vocabulary, told: str, description: Description) -> None:
    assert rows(description_text(replace(description, vocabulary=vocabulary)))["vocabulary"] == told


@pytest.mark.parametrize(
    ("pad", "told"),
    [
        (Pad(1, "<pad>", 0.0, True), "id 1 `<pad>`, its row is zero"),
        (Pad(1, "\x1b[2J", 1.8312, False), "id 1 `\\x1b[2J`, its row is not zero (norm 1.83)"),
        (Pad(5000, None, None, None), "id 5000, which has no row"),
    ],
)
def test_the_pad_row_is_told(pad: Pad, told: str, description: Description) -> None:
    assert rows(description_text(replace(description, pad=pad)))["pad"] == told


def test_tensors_are_listed_only_when_asked_for(description: Description) -> None:
    name = "new.encoder.layer.0.attention.qkv_proj.weight"
    assert name in description_text(description, has_tensors=True)
    assert name not in description_text(description)
    assert name in description_json(description, has_tensors=True)
    assert name not in description_json(description)


def test_a_tensor_name_cannot_reach_the_terminal_raw(description: Description) -> None:
    evil = TensorFacts("evil\x1b[2J", "F32", (1,), 4, "model.safetensors")
    assert "\x1b[2J" not in description_text(replace(description, tensors=(evil,)), has_tensors=True)


def test_json_has_null_where_a_number_is_not_finite(description: Description) -> None:
    value = json.loads(description_json(replace(description, pad=Pad(1, None, float("nan"), False))))
    assert value["pad"]["norm"] is None


def test_what_is_no_checkpoint_is_described_too_and_its_faults_are_counted(tmp_path: Path) -> None:
    told = description_text(describe(open_checkpoint(tmp_path)))
    assert "not a GTE's" in told
    assert "`gte-surgery check` tells which" in told
