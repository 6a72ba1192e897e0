"""SARIF: valid by the official schema whatever the report holds, and complete."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.registry import all_rules
from gte_surgery.checks.run import run
from gte_surgery.findings import Finding, Location, Report, Severity, SkippedRule, SuppressedFinding, Suppression
from gte_surgery.render.formats.sarif import report_sarif
from tests.conftest import ROOT
from tests.unit.render.formats.test_report import REPORT

INVALID = sorted((ROOT / "tests" / "examples" / "invalid").iterdir())


@lru_cache
def validator() -> jsonschema.Draft4Validator:
    schema = json.loads((ROOT / "tests" / "schemas" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)


def sarif(report: Report) -> dict[str, Any]:
    """The one run of the report's SARIF, which must be valid; the rules, which are in all of them, are judged once."""
    value = json.loads(report_sarif(report, tuple(all_rules().values())))
    (only,) = value["runs"]
    driver = only["tool"]["driver"]
    validator().validate({**value, "runs": [{**only, "tool": {"driver": {**driver, "rules": driver["rules"][:1]}}}]})
    return dict(only)


def test_every_rule_is_valid() -> None:
    rules = tuple(all_rules().values())
    value = json.loads(report_sarif(Report("ckpt", (), (), tuple(rule.code for rule in rules)), rules))
    assert len(value["runs"][0]["tool"]["driver"]["rules"]) == len(rules)
    validator().validate(value)


def test_the_validator_does_refuse() -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator().validate({"version": "2.1.0", "runs": [{"results": []}]})


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_each_example_becomes_valid_sarif_with_a_result_for_each_finding(path: Path) -> None:
    report = run(open_checkpoint(path))
    made = sarif(report)
    results, rules = made["results"], made["tool"]["driver"]["rules"]
    assert [result["ruleId"] for result in results] == [finding.code for finding in report.findings]
    assert [rules[result["ruleIndex"]]["id"] for result in results] == [finding.code for finding in report.findings]
    assert [rule["id"] for rule in rules] == sorted({*report.rules, *(finding.code for finding in report.findings)})


@given(
    st.lists(
        st.builds(
            Finding,
            code=st.sampled_from(["GTE001", "GTE110", "GTE201"]),
            severity=st.sampled_from(Severity),
            location=st.builds(
                Location,
                file=st.text(st.characters()),
                line=st.none() | st.integers(1, 9),
                column=st.integers(1, 9),
                pointer=st.text(st.characters()),
                tensor=st.text(st.characters()),
            ),
            message=st.text(st.characters(), min_size=1),
            hint=st.text(st.characters()),
        ),
        max_size=4,
    ),
    st.text(st.characters(), min_size=1),
)
def test_any_report_becomes_valid_sarif_with_distinct_fingerprints(findings: list[Finding], checkpoint: str) -> None:
    results = sarif(Report(checkpoint, tuple(findings), (), ()))["results"]
    assert len(results) == len(findings)
    assert len({result["partialFingerprints"]["primaryLocationLineHash"] for result in results}) == len(findings)


def test_places_are_regions_counted_from_one_in_the_checkpoints_files() -> None:
    results = sarif(REPORT)["results"]
    pad = next(result for result in results if result["ruleId"] == "GTE110")
    assert pad["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "ckpt/config.json"},
                "region": {"startLine": 14, "startColumn": 3},
            },
            "logicalLocations": [{"fullyQualifiedName": "/pad_token_id", "kind": "property"}],
        }
    ]
    assert pad["message"]["text"].endswith("\nhint: set pad_token_id to the id of the padding token")


@pytest.mark.parametrize(
    ("checkpoint", "uri"),
    [
        ("ckpt", "ckpt/config.json"),
        ("./models/base/", "models/base/config.json"),
        (".", "config.json"),
        ("/srv/a b", "file:///srv/a%20b/config.json"),
        ("größe", "gr%C3%B6%C3%9Fe/config.json"),
    ],
)
def test_uris_are_relative_as_the_checkpoint_was_given(checkpoint: str, uri: str) -> None:
    report = Report(checkpoint, (Finding("GTE002", Severity.ERROR, Location("config.json"), "does not exist"),), (), ())
    location = sarif(report)["results"][0]["locations"][0]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_a_fingerprint_outlives_moved_lines_and_other_numbers() -> None:
    def fingerprint(line: int, message: str, pointer: str) -> str:
        found = Finding("GTE110", Severity.ERROR, Location("config.json", line, 3, pointer), message)
        result = sarif(Report("ckpt", (found,), (), ()))["results"][0]
        return str(result["partialFingerprints"]["primaryLocationLineHash"])

    assert fingerprint(14, "5000", "/pad_token_id") == fingerprint(20, "6000", "/pad_token_id")
    assert fingerprint(14, "5000", "/pad_token_id") != fingerprint(14, "5000", "/vocab_size")


def test_what_was_skipped_or_ignored_is_a_notification_and_no_result() -> None:
    ignored = Finding("GTE112", Severity.WARNING, Location("config.json", 2, 3, "/vocab_size"), "31997")
    report = Report(
        "ckpt",
        (),
        (SkippedRule("GTE201", ("GTE110",)),),
        ("GTE112", "GTE201"),
        (SuppressedFinding(ignored, Suppression("GTE112", "fixed ids", "gte-surgery.toml")),),
        (Suppression("GTE103", "old", "gte-surgery.toml"),),
    )
    made = sarif(report)
    (invocation,) = made["invocations"]
    assert made["results"] == []
    assert [each["message"]["text"] for each in invocation["toolExecutionNotifications"]] == [
        "GTE201 was not judged because of GTE110"
    ]
    assert [each["message"]["text"] for each in invocation["toolConfigurationNotifications"]] == [
        "ignored (fixed ids): /vocab_size: 31997",
        "unused: gte-surgery.toml ignores GTE103, under which nothing is found",
    ]
