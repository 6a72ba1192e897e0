"""Saves of sentence-transformers: a model in a folder of its own, layers behind the pooling, both spellings of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.cli.entry import run as main
from gte_surgery.findings import Report
from tests.builder import add_dense, build, native_config, nest, write_json, write_sidecars

FOR = ("sentence-transformers",)


def old_save(path: Path) -> Path:
    """The model in 0_Transformer, a pooling and a dense layer beside it."""
    write_sidecars(build(path, native_config()))
    add_dense(path)
    return nest(path)


def told(report: Report) -> list[tuple[str, str]]:
    return [(finding.code, finding.location.file) for finding in report.findings]


def test_a_model_in_a_folder_is_judged_with_what_lies_around_it(tmp_path: Path) -> None:
    path = old_save(tmp_path / "save")
    assert told(run(path, consumers=FOR)) == [("GTE315", "0_Transformer")]
    write_json(path / "1_Pooling/config.json", {"word_embedding_dimension": 999, "pooling_mode_mean_tokens": True})
    (path / "2_Dense/model.safetensors").unlink()
    settings = {"pad_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}
    write_json(path / "0_Transformer/tokenizer_config.json", settings)
    assert told(run(path, consumers=FOR)) == [
        ("GTE303", "0_Transformer/config.json"),
        ("GTE310", "1_Pooling/config.json"),
        ("GTE311", "1_Pooling/config.json"),
        ("GTE315", "0_Transformer"),
        ("GTE641", "modules.json"),
    ]


def test_its_hints_name_the_folder_and_the_folder_alone_points_above(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = old_save(tmp_path / "save")
    inner = path / "0_Transformer"
    alone = run(inner, consumers=FOR).findings
    assert [finding.hint for finding in alone] == [f"`gte-surgery check {path} --for sentence-transformers`"]
    assert main(["resize", str(path), "--vocab", "96", "--pad", "1"]) == 3
    assert f"gte-surgery resize {inner} --vocab 96 --pad 1" in capsys.readouterr().err
    config = json.loads((inner / "config.json").read_text())
    write_json(inner / "config.json", config | {"unpad_inputs": "false"})
    assert main(["check", str(path), "--fix"]) == 0
    assert json.loads((inner / "config.json").read_text())["unpad_inputs"] is False
    assert f"gte-surgery undo {inner}" in capsys.readouterr().err


def test_a_folder_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    path = old_save(tmp_path / "save")
    build(tmp_path / "other")
    for folder in ("../other", str(tmp_path / "other"), "0_Transformer/../../other", ""):
        write_json(path / "modules.json", [{"path": folder, "type": "sentence_transformers.models.Transformer"}])
        assert ("GTE001", "") in told(run(path))


def test_a_pooling_outside_that_a_link_brings_is_not_read(tmp_path: Path) -> None:
    path = old_save(tmp_path / "save")
    write_json(tmp_path / "pooling.json", {"word_embedding_dimension": 999})
    (path / "1_Pooling/config.json").unlink()
    (path / "1_Pooling/config.json").symlink_to(tmp_path / "pooling.json")
    assert "GTE311" not in {code for code, _ in told(run(open_checkpoint(path)))}
