"""Suppressions move findings aside, and are noticed when they have nothing to move."""

from __future__ import annotations

from gte_surgery.checks.run import suppress
from gte_surgery.findings import Finding, Location, Report, Severity, SkippedRule, SuppressedFinding, Suppression


def finding(code: str) -> Finding:
    return Finding(code, Severity.ERROR, Location(), "wrong")


def suppression(code: str) -> Suppression:
    return Suppression(code, "known", "gte-surgery.toml")


REPORT = Report(
    "ckpt",
    (finding("GTE104"), finding("GTE110"), finding("GTE112")),
    (SkippedRule("GTE201", ("GTE110",)),),
    ("GTE103", "GTE104", "GTE110", "GTE112", "GTE201"),
)


def test_findings_go_to_the_first_suppression_that_names_them() -> None:
    exact, prefix = suppression("GTE112"), suppression("GTE11")
    report = suppress(REPORT, [exact, prefix])
    assert report.findings == (finding("GTE104"),)
    assert report.suppressed == (
        SuppressedFinding(finding("GTE110"), prefix),
        SuppressedFinding(finding("GTE112"), exact),
    )
    assert report.unused == ()


def test_a_suppression_without_a_finding_is_unused_if_its_rule_was_judged() -> None:
    report = suppress(REPORT, [suppression("GTE103"), suppression("GTE201"), suppression("GTE250")])
    assert [each.code for each in report.unused] == ["GTE103"]
    assert report.findings == REPORT.findings


def test_without_suppressions_nothing_changes() -> None:
    assert suppress(REPORT, []) == REPORT
