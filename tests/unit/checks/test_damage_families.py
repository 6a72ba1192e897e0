"""The table of damages once more, for BERT and ModernBERT: what is broken in a small checkpoint of theirs is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.findings import Severity
from tests.golden.test_families import FOLDER, NAMES

Arrays = dict[str, np.ndarray]  # type: ignore[type-arg]
ALL = []
for _name in NAMES:
    with safe_open(FOLDER / _name / "model.safetensors", "np") as _file:
        ALL += [(_name, tensor) for tensor in _file.keys()]  # noqa: SIM118
each_tensor = pytest.mark.parametrize(("base", "name"), ALL)
UNREAD = ("pooler.dense.weight", "pooler.dense.bias")
"""The pooler of a bare BERT may be absent."""


def found(path: Path, **options: object) -> set[str]:
    """The codes of errors and warnings, but for the rows of 256, which is no multiple of anything wrong here."""
    report = run(open_checkpoint(path), **options)  # type: ignore[arg-type]
    return {finding.code for finding in report.findings if finding.severity > Severity.NOTE}


def damaged(
    tmp_path: Path, base: str, change: Callable[[Arrays], object] = lambda arrays: None, **members: object
) -> Path:
    """A copy with changed tensors and members of config.json; a member of None goes."""
    place = tmp_path / base
    shutil.copytree(FOLDER / base, place, ignore=shutil.ignore_patterns("reference.safetensors"))
    arrays = load_file(place / "model.safetensors")
    change(arrays)
    save_file(arrays, place / "model.safetensors", metadata={"format": "pt"})
    values = json.loads((place / "config.json").read_text()) | members
    values = {key: value for key, value in values.items() if value is not None or key not in members}
    (place / "config.json").write_text(json.dumps(values, indent=2))
    return place


@each_tensor
def test_a_tensor_that_is_missing(tmp_path: Path, base: str, name: str) -> None:
    codes = found(damaged(tmp_path, base, lambda arrays: arrays.pop(name)))
    if name in UNREAD:
        assert codes == set()
    elif "token_type" in name:
        assert codes == {"GTE220"}
    elif "embeddings.weight" in name and "position" not in name:
        assert codes == {"GTE200"}
    else:
        assert codes & {"GTE115", "GTE201"}


@each_tensor
def test_a_tensor_that_lost_a_row(tmp_path: Path, base: str, name: str) -> None:
    path = damaged(tmp_path, base, lambda arrays: arrays.update({name: arrays[name][:-1]}))
    codes, is_empty = found(path), len(load_file(path / "model.safetensors")[name]) == 0
    assert codes == {"GTE222" if "token_type" in name else "GTE205" if is_empty else "GTE204"}


@each_tensor
def test_a_tensor_of_another_dtype(tmp_path: Path, base: str, name: str) -> None:
    half = damaged(tmp_path / "half", base, lambda arrays: arrays.update({name: arrays[name].astype(np.float16)}))
    assert found(half) == {"GTE206"}
    whole = damaged(tmp_path / "whole", base, lambda arrays: arrays.update({name: arrays[name].astype(np.int32)}))
    assert "GTE207" in found(whole)


@pytest.mark.parametrize("base", NAMES)
def test_numbers_that_cannot_be(tmp_path: Path, base: str) -> None:
    def poison(arrays: Arrays) -> None:
        name = next(name for name in arrays if "Wo" in name or "output.dense.weight" in name)
        arrays[name] = arrays[name].copy()
        arrays[name][1, 2] = np.nan

    assert found(damaged(tmp_path, base, poison), values=True) == {"GTE260"}


WRONG: list[tuple[str, str, dict[str, object]]] = [
    ("bert-base", "GTE102", {"vocab_size": -5}),
    ("bert-base", "GTE102", {"hidden_size": "32"}),
    ("bert-base", "GTE102", {"position_embedding_type": "relative_key"}),
    ("bert-base", "GTE102", {"is_decoder": True}),
    ("bert-base", "GTE103", {"tie_word_embeddings": "false"}),
    ("bert-base", "GTE110", {"pad_token_id": 256}),
    ("bert-base", "GTE111", {"num_attention_heads": 5}),
    ("bert-base", "GTE204", {"vocab_size": 250}),
    ("bert-base", "GTE204", {"max_position_embeddings": 32}),
    ("bert-base", "GTE201", {"num_hidden_layers": 5}),
    ("bert-base", "GTE202", {"num_hidden_layers": 3}),
    ("bert-base", "GTE221", {"type_vocab_size": 0}),
    ("bert-base", "GTE230", {"pad_token_id": 7}),
    ("bert-base", "GTE115", {"architectures": ["BertForMaskedLM"]}),
    ("bert-mlm", "GTE116", {"architectures": ["BertModel"]}),
    ("bert-mlm", "GTE201", {"tie_word_embeddings": False}),
    ("bert-base", "GTE101", {"position_embedding_type": "alibi"}),
    ("modernbert-base", "GTE102", {"hidden_size": 32.0}),
    ("modernbert-base", "GTE102", {"layer_types": ["full_attention", "causal", "causal", "full_attention"]}),
    ("modernbert-base", "GTE105", {"layer_types": ["full_attention"]}),
    ("modernbert-base", "GTE102", {"rope_parameters": {"full_attention": {"rope_theta": 0}}}),
    ("modernbert-base", "GTE103", {"mlp_bias": "false"}),
    ("modernbert-base", "GTE110", {"pad_token_id": 300}),
    ("modernbert-base", "GTE111", {"num_attention_heads": 3}),
    ("modernbert-base", "GTE112", {"vocab_size": 250}),
    ("modernbert-base", "GTE201", {"attention_bias": True}),
    ("modernbert-base", "GTE202", {"num_hidden_layers": 3, "layer_types": None}),
    ("modernbert-mlm", "GTE202", {"decoder_bias": False}),
    ("modernbert-mlm", "GTE115", {"architectures": ["ModernBertForSequenceClassification"]}),
    ("modernbert-reranker", "GTE204", {"id2label": {"0": "A", "1": "B"}}),
]


@pytest.mark.parametrize(("base", "code", "members"), WRONG)
def test_a_config_that_was_edited(tmp_path: Path, base: str, code: str, members: dict[str, object]) -> None:
    assert code in found(damaged(tmp_path, base, **members))


@pytest.mark.parametrize("base", NAMES)
@pytest.mark.parametrize("consumer", ["transformers5", "transformers4", "vllm"])
def test_the_programs_that_have_these_models_take_them(tmp_path: Path, base: str, consumer: str) -> None:
    codes = found(damaged(tmp_path, base), consumers=(consumer,))
    assert {code for code in codes if code.startswith("GTE6")} <= ({"GTE620"} if base.endswith("mlm") else set())


def test_the_pooling_that_is_right_depends_on_the_family(tmp_path: Path) -> None:
    for base, mode, wanted in (
        ("bert-base", "mean", set()), ("bert-base", "cls", {"GTE310"}),
        ("modernbert-base", "cls", set()), ("modernbert-base", "mean", {"GTE310"}),
    ):  # fmt: skip
        place = damaged(tmp_path / mode, base)
        (place / "1_Pooling").mkdir()
        stated = {"word_embedding_dimension": 32, "pooling_mode": mode}
        (place / "1_Pooling" / "config.json").write_text(json.dumps(stated))
        assert {code for code in found(place) if code == "GTE310"} == wanted
