"""Several checkpoints in one command: a line for each that passes, details of the others, one report in each format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from gte_surgery.cli.entry import run
from gte_surgery.gte.schemas import violations
from tests.builder import add_adapter, build, change_config


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three checkpoints, of which the second is broken."""
    names = ["runs/a", "runs/b", "runs/c"]
    for name in names:
        build(tmp_path / name)
    change_config(tmp_path / "runs/b", pad_token_id=5000)
    monkeypatch.chdir(tmp_path)
    return names


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_each_that_passes_is_a_line_and_the_others_are_told(
    runs: list[str], capsys: pytest.CaptureFixture[str], jobs: str
) -> None:
    assert run(["check", *runs, "--jobs", jobs]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("runs/a: 0 errors")
    assert lines[-2].startswith("runs/c: 0 errors")
    assert lines[-1].startswith("3 checkpoints: 1 error, 0 warnings")
    assert "GTE110" in "".join(lines[1:-2])


def test_one_report_of_all_in_every_format(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    forms = ("json", "sarif", "junit", "github", "markdown")
    assert run(["check", *runs, *(word for form in forms for word in ("--format", form, "--output", form))]) == 1
    report = json.loads(Path("json").read_text())
    assert violations(report, "report") == []
    assert [(found["code"], found["subject"]) for found in report["findings"]] == [("GTE110", "runs/b")]
    assert [step["subject"] for step in report["steps"]] == runs
    (sarif,) = json.loads(Path("sarif").read_text())["runs"]
    (result,) = sarif["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (result["ruleId"], place["artifactLocation"]["uri"]) == ("GTE110", "runs/b/config.json")
    suites = list(parse("junit").getroot())
    assert [(suite.attrib["name"].split()[-1], suite.attrib["failures"]) for suite in suites] == [
        ("runs/a", "0"), ("runs/b", "1"), ("runs/c", "0"),
    ]  # fmt: skip
    assert "file=runs/b/config.json" in Path("github").read_text()
    assert "runs/b/config.json" in Path("markdown").read_text()


def test_what_goes_with_one_checkpoint_is_refused_for_several(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", *runs, "--fix"]) == 2
    assert run(["inspect", *runs, "--html", "page.html"]) == 2
    assert "goes with one checkpoint, there are 3" in capsys.readouterr().err


def test_inspect_tells_each_in_a_line_and_in_full_where_it_has_faults(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs/c/config.json").unlink()
    assert run(["inspect", *runs, "--jobs", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == runs[:2]
    assert (lines[2], "fault" in lines[-1]) == ("runs/c", True)
    assert run(["inspect", *runs, "--json"]) == 0
    assert [each["checkpoint"] for each in json.loads(capsys.readouterr().out)] == runs


def test_an_adapter_among_models_is_told_as_it_is_alone(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs/lora").mkdir()
    add_adapter(Path("runs/lora"), rows=256)
    assert run(["inspect", *runs, "runs/lora", "--jobs", "2"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert run(["inspect", "runs/lora"]) == 0
    path, adapter, fit = (
        line.removeprefix("  ").split("  ")[-1].strip() for line in capsys.readouterr().out.splitlines()
    )
    assert last == f"{path}: {adapter}, {fit}"
    assert run(["inspect", *runs, "runs/lora", "--json"]) == 0
    among = json.loads(capsys.readouterr().out)[-1]
    assert run(["inspect", "runs/lora", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == among


def test_a_policy_inside_any_of_them_is_passed_over(
    runs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("runs/b/config.json", "config.json")
    Path("runs/b/gte-surgery.toml").write_text("[ignore]\nGTE = 'all is well'\n")
    monkeypatch.chdir("runs/b")
    assert run(["check", "../a", "."]) == 1
    assert "passed over" in capsys.readouterr().err
