"""The report of `check` as SARIF 2.1.0 [OASIS, sarif-v2.1.0-errata01], as code scanning services take it.

Every rule of the report is declared. What was skipped or ignored, and suppressions without use, are notifications:
a viewer that does not know SARIF's suppressions would show ignored results as open.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from urllib.parse import quote

from gte_surgery import __version__
from gte_surgery.findings import Code, Finding, Report, SkippedRule
from gte_surgery.render.formats.report import (
    file_path,
    part_title,
    policy_lines,
    reason_of,
    subject_and_message,
    unjudged_line,
    unused_line,
)
from gte_surgery.render.ink import printable

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
Object = dict[str, object]


def report_sarif(report: Report, rules: Sequence[Code]) -> str:
    """The report as one SARIF run, ASCII only; `rules` are all that exist."""
    declared = [rule for rule in rules if rule.code in report.rules or rule.code in _found(report)]
    places = {rule.code: number for number, rule in enumerate(declared)}
    driver = {"name": "gte-surgery", "version": __version__, "rules": [_rule(rule) for rule in declared]}
    seen: Counter[str] = Counter()
    run: Object = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [_skipped(rule) for part in report.each for rule in part.skipped],
                "toolConfigurationNotifications": list(_configured(report)),
            }
        ],
        "results": [_result(part, finding, places, seen) for part in report.each for finding in part.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _found(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def _rule(rule: Code) -> Object:
    text = rule.explanation or rule.title
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": text},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": rule.severity.label},
    }


def _result(report: Report, finding: Finding, places: dict[str, int], seen: Counter[str]) -> Object:
    """`seen` counts the fingerprints given so far, so that equal ones can be told apart."""
    fingerprint = _fingerprint(finding)
    seen[fingerprint] += 1
    text = subject_and_message(finding) + (f"\nhint: {printable(finding.hint)}" if finding.hint else "")
    identity = {"ruleIndex": places[finding.code]} if finding.code in places else {}
    return {
        "ruleId": finding.code,
        **identity,
        "level": finding.severity.label,
        "message": {"text": text},
        "locations": [_location(report, finding)],
        **({"properties": {"step": report.step.name}} if report.step else {}),
        "partialFingerprints": {"primaryLocationLineHash": f"{fingerprint}:{seen[fingerprint]}"},
    }


def _fingerprint(finding: Finding) -> str:
    """Stays the same when lines move or numbers in the message change: code, file, and pointer or tensor."""
    at = finding.location
    identity = "\0".join(printable(part) for part in (finding.code, at.file, at.pointer, at.tensor))
    return sha256(identity.encode()).hexdigest()[:32]


def _location(report: Report, finding: Finding) -> Object:
    at = finding.location
    physical: Object = {"artifactLocation": {"uri": _uri(file_path(report, at.file))}}
    if at.line is not None:
        physical["region"] = {"startLine": at.line, "startColumn": at.column or 1}
    location: Object = {"physicalLocation": physical}
    if at.tensor:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(at.tensor), "kind": "member"}]
    elif at.pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(at.pointer), "kind": "property"}]
    return location


def _uri(path: str) -> str:
    return f"file://{quote(path)}" if path.startswith("/") else quote(path)


def _skipped(rule: SkippedRule) -> Object:
    return {"level": "note", "message": {"text": unjudged_line(rule)}, "associatedRule": {"id": rule.code}}


def _configured(report: Report) -> Iterator[Object]:
    for part, each in ((one, each) for one in report.each for each in one.suppressed):
        yield {
            "level": "note",
            "message": {"text": f"ignored{reason_of(each.suppression)}: {subject_and_message(each.finding)}"},
            "associatedRule": {"id": each.finding.code},
            "locations": [_location(part, each.finding)],
        }
    for unused in report.unused:
        yield {"level": "warning", "message": {"text": unused_line(unused)}}
    for line in (*policy_lines(report), *(part_title(part) for part in report.parts)):
        yield {"level": "note", "message": {"text": line}}
