"""JUnit: one test case a rule, well-formed whatever the report holds."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checks.registry import all_rules
from gte_surgery.findings import Finding, Location, Report, Severity, SkippedRule, SuppressedFinding, Suppression
from gte_surgery.render.formats.junit import report_junit

RULES = tuple(all_rules().values())
WARNING = Finding("GTE112", Severity.WARNING, Location("config.json", 2, 3, "/vocab_size"), "31997")
REPORT = Report(
    "ckpt",
    (
        Finding("GTE110", Severity.ERROR, Location("config.json", 14, 3), "5000", "a hint"),
        Finding("GTE110", Severity.ERROR, Location("config.json", 15, 3), "6000"),
        WARNING,
    ),
    (SkippedRule("GTE201", ("GTE110",)),),
    ("GTE101", "GTE110", "GTE112", "GTE201"),
    (SuppressedFinding(Finding("GTE101", Severity.ERROR, Location(), "x"), Suppression("GTE101", "known", "f")),),
    (Suppression("GTE103", "old", "gte-surgery.toml"),),
)


def cases(report: Report, fail_on: Severity = Severity.ERROR) -> dict[str, Element]:
    """The test cases by code."""
    root = fromstring(report_junit(report, RULES, fail_on))
    return {case.attrib["name"].split()[0]: case for case in root.iter("testcase")}


def test_there_is_one_case_for_each_rule_that_was_asked_for() -> None:
    assert list(cases(REPORT)) == ["GTE101", "GTE110", "GTE112", "GTE201"]
    assert cases(REPORT)["GTE110"].attrib["name"] == "GTE110 The pad id lies outside the vocabulary"


def test_a_rule_fails_from_the_severity_that_was_asked_for() -> None:
    assert cases(REPORT, Severity.ERROR)["GTE112"].find("failure") is None
    assert "31997" in (cases(REPORT, Severity.ERROR)["GTE112"].findtext("system-out") or "")
    assert cases(REPORT, Severity.WARNING)["GTE112"].find("failure") is not None


def test_a_failure_holds_every_finding_with_its_hint() -> None:
    failure = cases(REPORT)["GTE110"].find("failure")
    assert failure is not None
    assert failure.attrib == {"message": "config.json:14:3: 5000 (and 1 more)", "type": "error"}
    assert failure.text == "error: config.json:14:3: 5000\n    hint: a hint\nerror: config.json:15:3: 6000"


def test_skipped_and_ignored_are_told_and_the_sums_agree() -> None:
    found = cases(REPORT)
    skipped = found["GTE201"].find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "not judged because of GTE110"
    assert "ignored (known): x" in (found["GTE101"].findtext("system-out") or "")
    root = fromstring(report_junit(REPORT, RULES, Severity.ERROR))
    assert [root.attrib[key] for key in ("tests", "failures", "errors", "skipped")] == ["4", "1", "0", "1"]
    assert "GTE103" in (root.findtext("testsuite/system-out") or "")


def test_a_finding_of_a_rule_that_was_not_asked_for_is_not_lost() -> None:
    report = Report("ckpt", (Finding("GTE006", Severity.ERROR, Location(), "cannot be read"),), (), ("GTE230",))
    assert cases(report)["GTE006"].find("failure") is not None


@given(st.text(st.characters()), st.text(st.characters(), min_size=1))
def test_any_text_survives_as_xml(name: str, message: str) -> None:
    found = Finding("GTE110", Severity.ERROR, Location(name, tensor=name), message, name)
    root = fromstring(report_junit(Report(message, (found,), (), ("GTE110",)), RULES, Severity.ERROR))
    assert root.find("testsuite/testcase/failure") is not None
