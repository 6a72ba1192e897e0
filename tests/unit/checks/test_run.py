"""Selecting, ignoring and skipping rules, and what happens when a file fails under a rule's hands."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.description import describe
from gte_surgery.checks.registry import Observation, all_rules
from gte_surgery.checks.run import run
from gte_surgery.checks.subject import Expectations
from gte_surgery.cli.reports import FORMATS, rendered
from gte_surgery.compare.portrait import portray
from gte_surgery.errors import UsageError
from gte_surgery.findings import Location, Report, Severity
from gte_surgery.render.formats.html import page_html
from tests.builder import build, change_config, native_config, remote_config, write


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


def skipped(report: Report) -> dict[str, tuple[str, ...]]:
    return {rule.code: rule.because for rule in report.skipped}


def test_a_sound_checkpoint_has_no_finding_and_every_rule_is_judged(tmp_path: Path) -> None:
    report = run(open_checkpoint(build(tmp_path)))
    assert report.findings == ()
    assert report.skipped == ()
    assert report.rules == tuple(code for code, rule in all_rules().items() if not rule.only_with)
    assert report.checkpoint == str(tmp_path)


@pytest.mark.parametrize("form", [*FORMATS, "html"])
def test_a_rule_that_finds_no_end_of_faults_tells_a_thousand_and_counts_the_rest(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = replace(
        all_rules()["GTE112"], check=lambda _: (Observation(Location(f"{n}.tmp"), "x") for n in range(60_000))
    )
    monkeypatch.setattr("gte_surgery.checks.run.all_rules", lambda: {"GTE112": rule})
    checkpoint = open_checkpoint(build(tmp_path))
    report = run(checkpoint)
    assert len(report.findings) == 1_000
    if form == "html":
        text = page_html(describe(checkpoint), portray(checkpoint), report, all_rules())
    else:
        text = rendered(report, form, Severity.NOTE, color=False)
    assert text.count(".tmp") < 2_500
    assert "x (and 59000 more such)" in re.sub("&#40;", "(", re.sub("&#41;", ")", text))


def test_select_takes_codes_and_prefixes(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(build(tmp_path, remote_config(vocab_size=100)))
    assert codes(run(checkpoint, select=["GTE112"])) == ["GTE112"]
    assert codes(run(checkpoint, select=["GTE1"])) == ["GTE112"]
    assert codes(run(checkpoint, select=["GTE2", "GTE0"])) == []
    assert run(checkpoint, select=["GTE15"]).rules == (
        "GTE150",
        "GTE151",
        "GTE152",
        "GTE153",
        "GTE154",
        "GTE155",
        "GTE156",
    )


def test_ignore_wins_over_select(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(build(tmp_path, remote_config(vocab_size=100)))
    assert codes(run(checkpoint, ignore=["GTE11"])) == []
    assert codes(run(checkpoint, select=["GTE112"], ignore=["GTE1"])) == []


@pytest.mark.parametrize("code", ["GTE999", "E501", "", "gte1"])
def test_a_code_that_matches_no_rule_is_a_usage_error(tmp_path: Path, code: str) -> None:
    checkpoint = open_checkpoint(build(tmp_path))
    with pytest.raises(UsageError):
        run(checkpoint, select=[code])
    with pytest.raises(UsageError):
        run(checkpoint, ignore=[code])


def test_a_failed_prerequisite_skips_its_dependants_and_says_so(tmp_path: Path) -> None:
    change_config(build(tmp_path), model_type="electra")
    report = run(open_checkpoint(tmp_path))
    assert codes(report) == ["GTE101"]
    assert skipped(report)["GTE110"] == ("GTE101",)
    assert skipped(report)["GTE230"] == ("GTE101",)
    assert "GTE250" not in skipped(report)


def test_a_prerequisite_is_judged_even_when_it_is_not_selected(tmp_path: Path) -> None:
    change_config(build(tmp_path), model_type="electra")
    report = run(open_checkpoint(tmp_path), select=["GTE201"], ignore=["GTE101"])
    assert report.findings == ()
    assert skipped(report) == {"GTE201": ("GTE101",)}


def test_a_warning_skips_nothing(tmp_path: Path) -> None:
    report = run(open_checkpoint(build(tmp_path, remote_config(vocab_size=100))))
    assert codes(report) == ["GTE112"]
    assert report.skipped == ()


def test_expectations_that_are_met_say_nothing(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(build(tmp_path))
    assert run(checkpoint, Expectations(vocab=128, pad=1, type_vocab=1)).findings == ()
    assert codes(run(checkpoint, Expectations(vocab=1, pad=2, type_vocab=0))) == ["GTE150", "GTE151", "GTE152"]
    assert run(checkpoint, Expectations(max_length=128, hidden=32)).findings == ()
    assert run(checkpoint, Expectations(max_length=64)).findings == ()
    assert codes(run(checkpoint, Expectations(max_length=129, hidden=33))) == ["GTE153", "GTE154"]


def test_expectations_are_compared_with_the_defaults_of_the_dialect(tmp_path: Path) -> None:
    config = native_config()
    del config["pad_token_id"]
    checkpoint = open_checkpoint(build(tmp_path, config))
    assert run(checkpoint, Expectations(pad=1), select=["GTE151"]).findings == ()


def test_a_file_that_shrinks_meanwhile_is_a_finding_and_no_crash(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(build(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"gone")
    report = run(checkpoint)
    assert set(codes(report)) == {"GTE006"}
    assert report.findings[0].severity is Severity.ERROR


def test_a_file_that_vanishes_meanwhile_is_named(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(build(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    findings = run(checkpoint).findings
    assert {finding.code for finding in findings} == {"GTE006"}
    assert "model.safetensors" in str(findings[0])


def test_findings_come_in_order_of_code_and_place(tmp_path: Path) -> None:
    config = remote_config(unpad_inputs="true", pack_qkv="true", vocab_size=100, logn_attention_scale=True)
    config["use_memory_efficient_attention"] = "yes"
    report = run(open_checkpoint(build(tmp_path, config)))
    places = [(f.code, f.location.line) for f in report.findings]
    assert places == sorted(places, key=lambda place: (place[0], place[1] or 0))
    assert {"GTE104", "GTE112", "GTE142"} <= {f.code for f in report.findings}


def test_a_checkpoint_without_faults_of_its_container_can_be_judged_without_files(tmp_path: Path) -> None:
    checkpoint = replace(open_checkpoint(build(tmp_path)), shards=(), faults=())
    assert run(checkpoint, select=["GTE1"]).findings == ()


def test_one_weight_file_alone_is_judged_like_its_directory(tmp_path: Path) -> None:
    write(tmp_path, remote_config(), {})
    build(tmp_path)
    assert run(open_checkpoint(tmp_path / "model.safetensors")).findings == ()
