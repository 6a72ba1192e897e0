"""Formats and their outputs on the command line, the policy file, and an exit code that depends on neither."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from gte_surgery.cli.entry import run
from gte_surgery.cli.reports import FORMATS
from tests.builder import build, remote_config


@pytest.fixture(autouse=True)
def outside_of_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint with one warning: 100 rows are no multiple of 64."""
    return build(tmp_path / "ckpt", remote_config(vocab_size=100))


def check(checkpoint: Path, *arguments: str | Path) -> int:
    return run(["check", str(checkpoint), *map(str, arguments)])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 1)])
def test_the_exit_code_does_not_depend_on_the_format(
    checkpoint: Path, form: str, fail_on: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(checkpoint, "--format", form, "--fail-on", fail_on) == code
    assert "GTE112" in capsys.readouterr().out


def test_each_format_goes_to_the_output_that_follows_it(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sarif, junit, summary = tmp_path / "a.sarif", tmp_path / "a.xml", tmp_path / "a.md"
    formats = ["--format", "sarif", f"--output={sarif}", "--format=text", "--format", "junit", "--output", junit]
    assert check(checkpoint, *formats, "--format", "markdown", "--output", summary) == 0
    assert capsys.readouterr().out.endswith("1 warning, 0 notes (84 rules judged)\n".replace("84", judged(sarif)))
    assert json.loads(sarif.read_text())["version"] == "2.1.0"
    assert parse(junit).getroot().tag == "testsuites"
    assert summary.read_text().startswith("### gte-surgery check")


def judged(sarif: Path) -> str:
    (made,) = json.loads(sarif.read_text())["runs"]
    return str(len(made["tool"]["driver"]["rules"]))


def test_an_output_before_its_format_or_without_one_is_understood(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(checkpoint, "--output", tmp_path / "a.json", "--format", "json") == 0
    assert json.loads((tmp_path / "a.json").read_text())["counts"]["warning"] == 1
    assert check(checkpoint, "--output", tmp_path / "a.txt") == 0
    assert "GTE112" in (tmp_path / "a.txt").read_text()
    assert capsys.readouterr().out == ""
    assert check(checkpoint, "--json", "--output", tmp_path / "b.json") == 0
    assert (tmp_path / "b.json").read_text() == (tmp_path / "a.json").read_text()
    assert check(checkpoint, "--json", "-o", tmp_path / "c.json", "--format", "sarif", "-o", tmp_path / "c.sarif") == 0
    assert (tmp_path / "c.json").read_text() == (tmp_path / "a.json").read_text()
    assert json.loads((tmp_path / "c.sarif").read_text())["version"] == "2.1.0"
    assert capsys.readouterr().out == ""
    assert check(checkpoint, "--format", "json", "--output", "-") == 0
    assert json.loads(capsys.readouterr().out)["counts"]["warning"] == 1


def test_json_is_short_for_that_format(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(checkpoint, "--format", "json") == 0
    text = capsys.readouterr().out
    assert check(checkpoint, "--json") == 0
    assert capsys.readouterr().out == text
    assert check(checkpoint, "--json", "--format", "json") == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "json", "--format", "text"], "two formats go to stdout"),
        (["--format", "text", "--json"], "two formats go to stdout"),
        (["--format", "json", "--output", "a", "--output", "b"], "has an output already"),
        (["--output", "a", "--output", "b"], "has an output already"),
        (["--format", "pdf"], "pdf"),
    ],
)
def test_what_cannot_be_paired_is_a_usage_error_and_writes_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert check(checkpoint, *arguments) == 2
    assert told in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ckpt"]


def test_inside_github_actions_annotations_are_chosen_unless_a_format_is(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert check(checkpoint) == 0
    assert capsys.readouterr().out.startswith("::warning title=GTE112")
    assert check(checkpoint, "--format", "text") == 0
    assert "::" not in capsys.readouterr().out


def test_the_policy_of_the_project_is_followed_and_flags_override_it(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    policy = checkpoint.parent / "gte-surgery.toml"
    policy.write_text('fail-on = "warning"\n[expect]\nvocab = 128\npad = 1\n[ignore]\nGTE112 = "fixed ids"\n')
    assert check(checkpoint) == 1
    said = capsys.readouterr().out
    assert "GTE150" in said
    assert "ignored: 1 finding under GTE112 (fixed ids)" in said
    assert check(checkpoint, "--vocab", "100") == 0
    assert "policy: gte-surgery.toml\n" in capsys.readouterr().err
    (other := policy.with_name("other.toml")).write_text("")
    for aside in (["--no-config"], ["--config", other]):
        assert check(checkpoint, *aside) == 0
        assert "came with the checkpoint" not in capsys.readouterr().err  # the project's own did not
    assert check(checkpoint, "--no-config", "--config", policy) == 2
    assert check(checkpoint, "--vocab", "100", "--pad", "0") == 1
    policy.write_text('fail-on = "warning"\n')
    assert check(checkpoint) == 1
    assert check(checkpoint, "--fail-on", "error") == 0


@pytest.mark.parametrize("form", FORMATS)
def test_what_a_checkpoint_brings_excuses_nothing_and_every_format_says_so(
    form: str, checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither inside it nor in the folder that it came in; garbage for weights stays an error."""
    excuse = '[ignore]\nGTE0 = "known"\nGTE1 = "known"\nGTE2 = "known"\n'
    (checkpoint / "model.safetensors").write_text("garbage")
    (checkpoint / "gte-surgery.toml").write_text(excuse)
    (checkpoint.parent / "gte-surgery.toml").write_text(excuse)
    project = checkpoint.parent / "project"
    (project / ".git").mkdir(parents=True)
    monkeypatch.chdir(project)
    assert check(checkpoint, "--format", form) == 1
    seen = capsys.readouterr()
    assert seen.err.count("is passed over") == 2
    assert "passed" in seen.out or form == "text"
    (project / "gte-surgery.toml").write_text(excuse)
    (project / "deep").mkdir()
    monkeypatch.chdir(project / "deep")
    assert check(checkpoint, "--format", form) == 0
    seen = capsys.readouterr()
    assert "policy: ../gte-surgery.toml\n" in seen.err
    assert "../gte-surgery.toml" in seen.out or form == "text"
    assert form != "text" or re.search(r"\d+ errors? ignored\)$", seen.out.strip())


def test_config_names_another_policy(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[ignore]\nGTE112 = "fixed ids"\nGTE104 = "old"\n')
    assert check(checkpoint, "--config", other, "--fail-on", "note") == 0
    assert f"unused: {other} ignores GTE104" in capsys.readouterr().out
    assert check(checkpoint, "--config", tmp_path / "nowhere.toml") == 2


@pytest.mark.parametrize("text", ['[ignore]\nGTE9 = "no such rule"\n', '[ignore]\nGTE112 = ""\n'])
def test_a_policy_that_is_wrong_is_a_usage_error(
    checkpoint: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gte-surgery.toml").write_text(text)
    assert check(checkpoint) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_ignore_may_give_a_reason_for_its_codes(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(checkpoint, "--ignore", "GTE112, GTE104: fixed, by the ids", "--fail-on", "warning") == 0
    said = capsys.readouterr().out
    assert "ignored: 1 finding under GTE112 (fixed, by the ids)" in said
    assert "unused: --ignore ignores GTE104" in said


def test_an_ignored_error_still_keeps_others_from_being_judged(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = shutil.copytree(golden / "legacy-base", tmp_path / "ckpt")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"pad_token_id": 5000}))
    assert check(checkpoint, "--ignore", "GTE110", "--format", "json") == 0
    value = json.loads(capsys.readouterr().out)
    assert [each["code"] for each in value["suppressed"]] == ["GTE110"]
    assert "GTE230" in {each["code"] for each in value["skipped"]}


def test_an_output_that_cannot_be_written_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(checkpoint, "--output", tmp_path / "nowhere" / "a.txt") == 3
    assert "nowhere" in capsys.readouterr().err
