"""A report as JUnit XML, as GitLab, Jenkins and others show it: one test case a rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gte_surgery.findings import Code, Finding, Report, Severity
from gte_surgery.render.formats.report import policy_lines, unused_line
from gte_surgery.render.ink import printable

_NO_XML = re.compile("[\ufffe\uffff]")


def report_junit(report: Report, rules: Sequence[Code], fail_on: Severity, command: str = "check") -> str:
    """One test suite, or one a part. A rule fails with findings of at least `fail_on`; milder ones are its output; a
    rule that was not judged is skipped.
    """
    titles = {rule.code: rule.title for rule in rules}
    suites = [_suite(part, titles, fail_on, command) for part in report.each]
    totals = {key: str(sum(int(suite.get(key, "0")) for suite in suites)) for key in _SUMS}
    root = Element("testsuites", totals)
    root.extend(suites)
    if told := [*policy_lines(report), *map(unused_line, report.unused)]:
        SubElement(suites[-1], "system-out").text = _text("\n".join(told))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode")


_SUMS = ("tests", "failures", "errors", "skipped")


def _suite(report: Report, titles: Mapping[str, str], fail_on: Severity, command: str) -> Element:
    codes = sorted({*report.rules, *(finding.code for finding in report.findings)})
    cases = [_case(report, code, titles.get(code, ""), fail_on) for code in codes]
    failures, skipped = (sum(case.find(kind) is not None for case in cases) for kind in ("failure", "skipped"))
    sums = dict(zip(_SUMS, map(str, (len(cases), failures, 0, skipped)), strict=True))
    name = f"{report.step.name if report.step else command} {report.checkpoint}"
    took = {"time": f"{report.step.seconds:.3f}"} if report.step else {}
    suite = Element("testsuite", {"name": _text(f"gte-surgery {name}"), **sums, **took})
    suite.extend(cases)
    return suite


def _case(report: Report, code: str, title: str, fail_on: Severity) -> Element:
    case = Element("testcase", {"classname": f"gte-surgery.{code[:4]}xx", "name": _text(f"{code} {title}".rstrip())})
    found = [finding for finding in report.findings if finding.code == code]
    grave = [finding for finding in found if finding.severity >= fail_on]
    mild = [finding for finding in found if finding.severity < fail_on]
    ignored = [each for each in report.suppressed if each.finding.code == code]
    skipped = next((rule for rule in report.skipped if rule.code == code), None)
    if grave:
        more = f" (and {len(grave) - 1} more)" if len(grave) > 1 else ""
        attributes = {"message": _text(f"{grave[0]}{more}"), "type": grave[0].severity.label}
        SubElement(case, "failure", attributes).text = _text("\n".join(map(_lines, grave)))
    elif skipped is not None:
        SubElement(case, "skipped", {"message": f"not judged because of {', '.join(skipped.because)}"})
    told = [_lines(finding) for finding in mild]
    told += [f"ignored ({each.suppression.reason or each.suppression.source}): {each.finding}" for each in ignored]
    if told:
        SubElement(case, "system-out").text = _text("\n".join(told))
    return case


def _lines(finding: Finding) -> str:
    hint = f"\n    hint: {printable(finding.hint)}" if finding.hint else ""
    return f"{finding.severity.label}: {printable(str(finding))}{hint}"


def _text(text: str) -> str:
    """The text, line by line, without what XML 1.0 cannot hold."""
    shown = "\n".join(map(printable, text.split("\n")))
    return _NO_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", shown)
