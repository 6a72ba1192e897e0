"""The report of `check` as text for people and as JSON for programs (schema: report)."""

from __future__ import annotations

import json

from gte_surgery.findings import Finding, Report, Severity, SkippedRule
from gte_surgery.render.ink import count, paint, printable


def report_text(report: Report, color: bool = False) -> str:
    """One line a finding with its hint below, then what was not judged, then the sums."""
    lines = [line for finding in report.findings for line in _finding_lines(finding, color)]
    lines += [paint(_skipped_line(group), "faint", color) for group in _grouped(report.skipped)]
    return "\n".join((*lines, _sum_line(report, color)))


def report_json(report: Report) -> str:
    """The report as JSON, ASCII only."""
    return json.dumps(
        {
            "checkpoint": report.checkpoint,
            "findings": [_finding_object(finding) for finding in report.findings],
            "skipped": [{"code": rule.code, "because": list(rule.because)} for rule in report.skipped],
            "rules": list(report.rules),
            "counts": {severity.label: report.count(severity) for severity in reversed(Severity)},
        },
        indent=2,
    )


def _finding_lines(finding: Finding, color: bool) -> list[str]:
    label = finding.severity.label
    lines = [f"{paint(label, label, color)} {paint(finding.code, 'strong', color)} {printable(str(finding))}"]
    if finding.hint:
        lines.append(paint(f"    hint: {printable(finding.hint)}", "faint", color))
    return lines


def _grouped(skipped: tuple[SkippedRule, ...]) -> list[tuple[list[str], tuple[str, ...]]]:
    """Rules that were skipped for the same reason, together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for rule in skipped:
        groups.setdefault(rule.because, []).append(rule.code)
    return [(codes, because) for because, codes in groups.items()]


def _skipped_line(group: tuple[list[str], tuple[str, ...]]) -> str:
    codes, because = group
    return f"not judged because of {', '.join(because)}: {', '.join(codes)}"


def _sum_line(report: Report, color: bool) -> str:
    judged = len(report.rules) - len(report.skipped)
    sums = ", ".join(count(report.count(severity), severity.label) for severity in reversed(Severity))
    style = report.worst.label if report.worst else "good"
    return f"{printable(report.checkpoint)}: {paint(sums, style, color)} ({count(judged, 'rule')} judged)"


def _finding_object(finding: Finding) -> dict[str, object]:
    at = finding.location
    return {
        "code": finding.code,
        "severity": finding.severity.label,
        "file": at.file,
        "line": at.line,
        "column": at.column,
        "pointer": at.pointer,
        "tensor": at.tensor,
        "message": finding.message,
        "hint": finding.hint,
    }
