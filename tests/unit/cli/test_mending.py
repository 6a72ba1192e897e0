"""`check --fix`: what it mends, what it prints where, and what the exit code then says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gte_surgery.cli.entry import run
from tests.builder import build, change_config, load, remote_config, save

WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Two warnings with a cure: a pad row that was trained, and a file left behind."""
    path = build(tmp_path / "ckpt", remote_config())
    arrays = load(path)
    arrays[WORDS][1] = 0.5
    save(path / "model.safetensors", arrays)
    (path / "model.safetensors.tmp").write_bytes(b"left behind")
    return path


def check(checkpoint: Path, *arguments: str) -> int:
    return run(["check", str(checkpoint), "--fail-on", "warning", *arguments])


def test_the_report_is_of_the_mended_checkpoint(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(checkpoint) == 1
    capsys.readouterr()
    assert check(checkpoint, "--fix") == 0
    said = capsys.readouterr()
    assert "row 1, the pad row, becomes zero" in said.out
    assert said.out.splitlines()[-1].startswith(f"{checkpoint}: 0 errors, 0 warnings")
    assert "gte-surgery undo" in said.err
    assert check(checkpoint, "--fix") == 0
    assert "nothing that --fix could mend" in capsys.readouterr().out


def test_a_dry_run_shows_the_cures_and_judges_what_is_there(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(checkpoint, "--fix", "--dry-run") == 1
    said = capsys.readouterr().out
    assert "row 1, the pad row, becomes zero" in said
    assert "dry run: nothing was written" in said
    assert "GTE230" in said
    assert load(checkpoint)[WORDS][1].any()
    assert run(["check", str(checkpoint), "--dry-run"]) == 2


def test_a_report_for_programs_has_stdout_for_itself(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(checkpoint, "--fix", "--format", "json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["counts"]["warning"] == 0
    assert "row 1, the pad row, becomes zero" in said.err


@pytest.mark.parametrize("arguments", [["--ignore", "GTE230: we train it"], ["--select", "GTE0"]], ids=" ".join)
def test_what_is_ignored_or_not_selected_is_not_mended(checkpoint: Path, arguments: list[str]) -> None:
    assert check(checkpoint, "--fix", *arguments) == 0
    assert load(checkpoint)[WORDS][1].any()
    assert not (checkpoint / "model.safetensors.tmp").exists()


def test_an_unsound_checkpoint_is_left_alone_and_judged(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_config(checkpoint, vocab_size=64)
    assert check(checkpoint, "--fix") == 1
    said = capsys.readouterr()
    assert "GTE204" in said.out
    assert "nothing was mended: " in said.err
    assert (checkpoint / "model.safetensors.tmp").exists()


def test_what_cannot_be_replaced_is_refused_and_mended_in_a_copy(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blob").hardlink_to(checkpoint / "model.safetensors")
    assert check(checkpoint, "--fix") == 3
    assert load(checkpoint)[WORDS][1].any()
    said = capsys.readouterr().err
    assert "error: " in said
    line = re.search("`(.+)`", said)
    assert line is not None
    monkeypatch.chdir(tmp_path)
    copied, mended = line[1].split(" && ")
    subprocess.run(shlex.split(copied), check=True)
    assert run(shlex.split(mended)[1:]) == 0
    assert not load(tmp_path / f"{checkpoint.name}-edited")[WORDS][1].any()


def test_what_lies_on_a_hub_is_not_mended(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "hf://owner/name", "--fix"]) == 2
    said = capsys.readouterr().err
    assert "hf://owner/name: lies on a hub" in said
    assert "--out" not in said  # which `check` has not
