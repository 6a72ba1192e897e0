"""The table of damages once more, for BERT and ModernBERT: what is broken in a small checkpoint of theirs is found."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.cli import entry
from gte_surgery.findings import Severity
from gte_surgery.gte.families import releases
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
    codes, is_empty = found(path), load_file(path / "model.safetensors")[name].shape == (0,)
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
    allowed = {"GTE620", "GTE624", "GTE625"} if base.endswith("mlm") else set()
    assert {code for code in codes if code.startswith("GTE6")} <= allowed


@pytest.mark.parametrize("base", ["bert-mlm", "modernbert-mlm"])
def test_what_vllm_has_no_place_for_goes_by_the_hint(tmp_path: Path, base: str) -> None:
    place = damaged(tmp_path, base)
    report = run(open_checkpoint(place), consumers=("vllm",))
    (hint,) = (found.hint for found in report.findings if found.code == "GTE625")
    assert entry.run([word.replace("CKPT", str(place)) for word in shlex.split(hint)[1:]]) == 0
    assert {code for code in found(place, consumers=("vllm",)) if code.startswith("GTE6")} == set()


def test_vllm_computes_gelu_in_a_modernbert_and_minds_strangers(tmp_path: Path) -> None:
    relu = damaged(tmp_path / "relu", "modernbert-base", hidden_activation="relu")
    assert "GTE621" in found(relu, consumers=("vllm",))

    def add(arrays: Arrays) -> None:
        arrays["adapter.weight"] = np.ones(2, np.float32)

    codes = {
        base: found(damaged(tmp_path, base, add), consumers=("vllm",)) for base in ("bert-base", "modernbert-base")
    }
    assert codes == {"bert-base": {"GTE203"}, "modernbert-base": {"GTE203", "GTE624"}}


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


@pytest.mark.parametrize("base", ["bert-base", "modernbert-base"])
def test_a_key_that_nobody_reads_is_told(tmp_path: Path, base: str) -> None:
    def told(path: Path) -> list[str]:
        return [finding.location.pointer for finding in run(open_checkpoint(path), select=("GTE143",)).findings]

    assert told(damaged(tmp_path / "sound", base)) == []
    assert told(damaged(tmp_path / "other", base, qk_norm=True)) == ["/qk_norm"]


def test_no_release_has_a_key_that_nobody_reads() -> None:
    for family, release in releases().values():
        unread = family.release_config(release, release.dialect).keys() - (family.known_keys or frozenset())
        assert unread == set(), release.name


OLD = {
    "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "initializer_range": 0.02, "classifier_pooling": "cls",
    "initializer_cutoff_factor": 2.0, "global_attn_every_n_layers": 3, "classifier_activation": "gelu",
    "eos_token_id": 2, "bos_token_id": 1, "cls_token_id": 1, "sep_token_id": 2,
}  # fmt: skip


def test_what_programs_ask_of_a_modernbert(tmp_path: Path) -> None:
    def told(consumer: str, **members: object) -> dict[str, str]:
        place = damaged(tmp_path / str(len(list(tmp_path.iterdir()))), "modernbert-base", **members)
        report = run(open_checkpoint(place), consumers=(consumer,))
        judged = [each for each in report.findings if each.code in ("GTE610", "GTE630", "GTE633", "GTE635", "GTE637")]
        return {each.location.pointer: f"{each.code} {each.hint}" for each in judged}

    assert told("tei", **OLD) == told("transformers4") == {}
    apart = {"rope_parameters": {"full_attention": {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 1e4}}}
    hint = 'write "global_rope_theta": 500000.0, "local_rope_theta": 10000.0 beside it'
    assert told("transformers4", **apart) == {"/rope_parameters": f"GTE610 {hint}"}
    assert told("tei", **OLD, **apart) == {"/rope_parameters": f"GTE633 {hint}"}
    assert told("transformers5", **apart) == told("vllm", **apart) == {}
    lacking = told("tei", **(OLD | {"global_rope_theta": None, "norm_eps": None}))
    assert lacking == {
        "/global_rope_theta": 'GTE630 write "global_rope_theta": 160000.0',
        "/norm_eps": 'GTE630 write "norm_eps": 1e-05',
    }
    assert told("tei", **OLD, hidden_activation="tanh").keys() == {"/hidden_activation"}
    assert told("tei", **OLD, classifier_bias=True) == {"/classifier_bias": "GTE635 "}
    layers = ["full_attention", "full_attention", "sliding_attention", "sliding_attention"]
    assert told("transformers4", layer_types=layers).keys() == {"/layer_types"}
