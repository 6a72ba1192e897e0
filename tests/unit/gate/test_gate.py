"""The gate's order and merging: what became useless is left out, what cannot run is told, one report says it all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gte_surgery.checks.policy import read_policy
from gte_surgery.cli.entry import run
from gte_surgery.gate import jobs as steps
from tests.builder import build, change_config, remote_config
from tests.keys import make_key
from tests.unit.gate.encoder import ENCODER

POLICY = """
checkpoint = "ckpt"
[expect]
vocab = 128
[data]
paths = ["rows.jsonl"]
workers = 1
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a sound checkpoint and corpus; the working directory."""
    build(tmp_path / "ckpt")
    (tmp_path / "rows.jsonl").write_text('{"input_ids": [0, 5, 2], "attention_mask": [1, 1, 1]}\n')
    (tmp_path / "gte-surgery.toml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gated(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, object]]:
    code = run(["--quiet", "gate", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def add(project: Path, text: str) -> None:
    path = project / "gte-surgery.toml"
    path.write_text(path.read_text() + text)


def endings(report: dict[str, object]) -> dict[str, str]:
    return {step["name"]: step["ending"] for step in report["steps"]}


def test_a_sound_project_passes_and_tells_its_steps(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = gated(capsys)
    assert (code, report["findings"], report["policy"]) == (0, [], "gte-surgery.toml")
    assert endings(report) == {"check": "done", "scan": "done"}
    assert all(step["seconds"] > 0 for step in report["steps"])


def test_what_needs_a_model_is_left_out_when_the_checkpoint_is_broken(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(project, "[smoke]\ndevice = 'cpu'\n")
    change_config(project / "ckpt", hidden_size=48)
    code, report = gated(capsys)
    assert code == 1
    assert endings(report) == {"check": "done", "scan": "done", "smoke": "useless"}
    assert {"GTE510", "GTE500"} <= {skipped["code"] for skipped in report["skipped"]}


def test_an_unreadable_config_makes_the_scan_useless(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "ckpt" / "config.json").write_text("{")
    code, report = gated(capsys)
    assert (code, endings(report)) == (1, {"check": "done", "scan": "useless"})
    assert {found["step"] for found in report["findings"]} == {"check"}


def test_an_unexpected_checkpoint_is_proved_all_the_same(project: Path) -> None:
    from gte_surgery.checks.policy import Policy
    from gte_surgery.gate.run import _errors
    from gte_surgery.gate.run import run as taken

    add(project, "")
    policy = read_policy(project / "gte-surgery.toml")
    unlike = Policy(expectations=type(policy.expectations)(vocab=64))
    report = taken(project / "ckpt", steps.jobs(project / "ckpt", unlike), unlike, _Silent())
    assert [finding.code for finding in report.findings] == ["GTE150"]
    assert _errors(report.parts) == ()


class _Silent:
    def progress(self, label: str) -> object:
        from contextlib import nullcontext

        return nullcontext()

    def message(self, text: str) -> None: ...


@pytest.mark.parametrize("is_optional", [False, True])
def test_a_step_that_cannot_run_here_is_an_error_unless_optional(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_optional: bool
) -> None:
    def nothing(name: str) -> None:
        return None

    monkeypatch.setattr("gte_surgery.contract.scan.corpus.find_spec", nothing)
    add(project, f"optional = {str(is_optional).lower()}\n")
    code, report = gated(capsys)
    (found,) = report["findings"]
    assert (code, found["code"], found["step"]) == (0 if is_optional else 1, "GTE700", "scan")
    assert found["severity"] == ("note" if is_optional else "error")
    assert "pyarrow" in found["message"]
    assert is_optional or "optional = true under [data]" in found["hint"]


def test_what_the_policy_asks_for_and_is_not_there_is_an_error_even_when_optional(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(project, "optional = true\n[encoder]\ncallable = 'nowhere:encode'\noptional = true\n")
    (project / "rows.jsonl").unlink()
    code, report = gated(capsys)
    assert code == 1
    assert [(found["code"], found["step"]) for found in report["findings"]] == [("GTE701", "scan"), ("GTE701", "fuzz")]


def test_the_page_says_of_a_step_that_could_not_be_taken_that_it_was_ignored(project: Path) -> None:
    add(project, '[ignore]\nGTE701 = "the corpus comes later"\n')
    (project / "rows.jsonl").unlink()
    assert run(["--quiet", "gate", "--html", "gate.html"]) == 0
    page = (project / "gate.html").read_text()
    assert "It could not be taken, which is ignored." in page
    assert "useless" not in page


@pytest.mark.parametrize("asked", [["--json"], ["--output", "a.txt"], ["--html", "a.html"]], ids=" ".join)
@pytest.mark.parametrize("instead", [["--explain"], ["--init", "ckpt", "--policy", "new.toml"]], ids=" ".join)
def test_where_nothing_is_judged_no_report_is_asked_for(project: Path, asked: list[str], instead: list[str]) -> None:
    before = sorted(project.iterdir())
    assert run(["gate", *instead, *asked]) == 2
    assert sorted(project.iterdir()) == before
    assert run(["gate", *instead]) == 0


def test_a_signature_may_be_asked_for(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_key(project)
    add(project, "[check]\nsigned_by = 'key.pub'\n")
    code, report = gated(capsys)
    assert (code, [found["code"] for found in report["findings"]]) == (1, ["GTE068"])
    assert run(["sign", "ckpt", "--key", "key.pem"]) == 0
    capsys.readouterr()
    assert gated(capsys)[0] == 0


def test_the_encoder_is_imported_from_the_policys_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "gate_encoding.py").write_text(ENCODER)
    add(project, "[encoder]\ncallable = 'gate_encoding:encode'\nexamples = 5\n")
    code, report = gated(capsys, "--only", "fuzz")
    assert (code, endings(report)) == (0, {"fuzz": "done"})


def test_steps_are_chosen(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert endings(gated(capsys, "--skip", "scan")[1]) == {"check": "done"}
    assert endings(gated(capsys, "--only", "scan")[1]) == {"scan": "done"}
    assert run(["gate", "--only", "smoke"]) == 2
    assert "[smoke]" in capsys.readouterr().err


@pytest.mark.parametrize(("bar", "code"), [("error", 0), ("warning", 1), ("note", 1)])
def test_the_exit_code_is_by_fail_on(project: Path, capsys: pytest.CaptureFixture[str], bar: str, code: int) -> None:
    (project / "gte-surgery.toml").unlink()
    build(project / "other", remote_config(vocab_size=100))
    found, report = gated(capsys, "other", "--fail-on", bar)
    assert (found, report["counts"]) == (code, {"error": 0, "warning": 1, "note": 0})


def test_a_policy_that_came_with_the_checkpoint_is_not_followed(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "ckpt" / "gte-surgery.toml").write_text('checkpoint = "."\n[ignore]\nGTE = "all is well"\n')
    monkeypatch.chdir(project / "ckpt")
    assert run(["gate"]) == 2
    assert "cannot excuse itself" in capsys.readouterr().err
    assert run(["gate", "."]) == 0
    assert "passed over" in capsys.readouterr().err


def test_what_init_writes_passes_and_explain_does_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "gte-surgery.toml").unlink()
    assert run(["gate", "--init", "ckpt", "rows.jsonl"]) == 0
    assert run(["gate", "--init", "ckpt"]) == 3
    text = (project / "gte-surgery.toml").read_text()
    policy = read_policy(project / "gte-surgery.toml")
    assert (policy.expectations.vocab, policy.checkpoint) == (128, project / "ckpt")
    assert "[data]" in text
    assert "nothing found" in text
    (project / "rows.jsonl").unlink()
    assert run(["gate", "--explain"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()][:3] == ["policy", "check", "scan"]
    assert gated(capsys, "--only", "check")[0] == 0


def test_ignored_findings_of_every_step_do_not_count(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "rows.jsonl").write_text('{"input_ids": [0, 500, 2], "attention_mask": [1, 1, 1]}\n')
    assert gated(capsys)[0] == 1
    add(project, "[ignore]\nGTE414 = 'known'\nGTE112 = 'never seen'\n")
    code, report = gated(capsys)
    assert (code, [each["code"] for each in report["suppressed"]]) == (0, ["GTE414"])
    assert [each["code"] for each in report["unused"]] == ["GTE112"]
