"""The report of `check` as text for people and as JSON for programs (schema: report)."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from dataclasses import asdict
from textwrap import indent

from gte_surgery.findings import Finding, Location, Report, Severity, SkippedRule, Suppression
from gte_surgery.render.finding import finding_object
from gte_surgery.render.ink import count, paint, printable

_MOST = 5
"""So many codes of rules that were not judged are named in a line."""


def report_text(report: Report, color: bool = False, fail_on: Severity = Severity.NOTE) -> str:
    """The findings file by file, in aligned columns (place, severity, code, message) with hints below; then what was
    not judged and what was ignored; then the sums. Parts first: the steps of a gate below their titles, and of several
    checkpoints those with findings of at least `fail_on`, the others in a line each.
    """
    if report.parts:
        told = [_part_text(part, color, fail_on) for part in report.parts]
        return "\n".join((*told, *map(unused_line, report.unused), sum_line(report, color)))
    lines = [line for name, group in _by_file(report).items() for line in _group_lines(report, name, group, color)]
    asides = [*map(_skipped_line, _grouped(report.skipped)), *accepted_lines(report)]
    return "\n".join((*lines, *(paint(aside, "faint", color) for aside in asides), sum_line(report, color)))


def _part_text(part: Report, color: bool, fail_on: Severity) -> str:
    if part.step:
        return f"{paint(part_title(part), 'strong', color)}\n{indent(report_text(part, color), '  ')}"
    return report_text(part, color) if part.worst and part.worst >= fail_on else sum_line(part, color)


def report_json(report: Report) -> str:
    """The report as JSON, ASCII only."""
    return json.dumps(
        {
            "checkpoint": report.checkpoint,
            "findings": [finding_object(found) | _of(report, part) for part in report.each for found in part.findings],
            "skipped": _skipped(report),
            "suppressed": [
                finding_object(each.finding) | {"suppression": asdict(each.suppression)} for each in report.suppressed
            ],
            "unused": [asdict(each) for each in report.unused],
            "policy": report.policy or None,
            "passed_over": list(report.passed_over),
            "rules": list(report.rules),
            "counts": counts(report),
            **({"steps": [_step_object(part) for part in report.parts]} if report.parts else {}),
        },
        indent=2,
    )


def _skipped(report: Report) -> list[dict[str, object]]:
    return [{"code": rule.code, "because": list(rule.because)} for rule in report.skipped]


def counts(report: Report) -> dict[str, int]:
    """How many findings there are of each severity, the worst first."""
    return {severity.label: report.count(severity) for severity in reversed(Severity)}


def _of(report: Report, part: Report) -> dict[str, str]:
    """Which step or which checkpoint a finding is of, where there are several."""
    return {"step": part.step.name} if part.step else {"subject": part.checkpoint} if report.parts else {}


def _step_object(part: Report) -> dict[str, object]:
    step = asdict(part.step) if part.step else {}
    return {
        **step,
        "subject": part.checkpoint,
        "rules": list(part.rules),
        "skipped": _skipped(part),
        "counts": counts(part),
    }


def accepted_lines(report: Report) -> list[str]:
    """What was ignored, and what was to be ignored and was not there."""
    ignored = Counter(each.suppression for each in report.suppressed)
    told = [f"ignored: {count(n, 'finding')} under {each.code}{reason_of(each)}" for each, n in ignored.items()]
    return [*told, *map(unused_line, report.unused)]


def policy_lines(report: Report) -> list[str]:
    """Which policy was followed, and which came with the checkpoint and was not."""
    over = [f"policy: {printable(path)} came with the checkpoint and is passed over" for path in report.passed_over]
    return [*([f"policy: {printable(report.policy)}"] if report.policy else []), *over]


def asides(report: Report) -> list[str]:
    """What was not judged, rule by rule, and what was ignored."""
    return [*map(unjudged_line, report.skipped), *accepted_lines(report)]


def unjudged_line(rule: SkippedRule) -> str:
    """That a rule was not judged, in one line."""
    return f"{rule.code} was not judged because of {', '.join(rule.because)}"


def reason_of(suppression: Suppression) -> str:
    """The reason in brackets, or nothing."""
    return f" ({printable(suppression.reason)})" if suppression.reason else ""


def unused_line(suppression: Suppression) -> str:
    """That a suppression suppresses nothing, in one line."""
    return f"unused: {printable(suppression.source)} ignores {suppression.code}, under which nothing is found"


def file_path(report: Report, file: str) -> str:
    """Where a file that a finding names lies, relative to where the checkpoint's own path is."""
    folder = report.checkpoint if report.folder is None or not file else report.folder
    return posixpath.normpath(posixpath.join(printable(folder), printable(file)))


def part_title(part: Report) -> str:
    """What a part of a report is: "scan: 3 paths against the contract of ckpt/ (0.3 s)", or the checkpoint."""
    step = part.step
    return printable(f"{step.name}: {step.told} ({step.seconds:.1f} s)" if step else part.checkpoint)


def subject_and_message(finding: Finding) -> str:
    """What a finding is about (pointer or tensor) and says, without the place in a file."""
    about = Location(pointer=finding.location.pointer, tensor=finding.location.tensor)
    return ": ".join(part for part in (printable(str(about)), printable(finding.message)) if part)


def _by_file(report: Report) -> dict[str, list[Finding]]:
    """Findings of each file in order of place, those of the checkpoint as a whole first."""
    groups: dict[str, list[Finding]] = {}
    for finding in sorted(report.findings, key=lambda finding: finding.location.file):
        groups.setdefault(finding.location.file, []).append(finding)
    for group in groups.values():
        group.sort(key=lambda finding: (finding.location.line or 0, finding.location.column or 0))
    return groups


def _group_lines(report: Report, name: str, group: list[Finding], color: bool) -> list[str]:
    places = [_place(finding) for finding in group]
    width, labels = max(map(len, places)), max(len(finding.severity.label) for finding in group)
    lines = [paint(printable(name or report.checkpoint), "strong", color)]
    for place, finding in zip(places, group, strict=True):
        label = finding.severity.label
        cells = [
            *([place.rjust(width)] if width else []),
            paint(label.ljust(labels), label, color),
            paint(finding.code, "strong", color),
            subject_and_message(finding),
        ]
        lines.append("  " + "  ".join(cells))
        if finding.hint:
            indent = " " * (width + labels + len(finding.code) + (8 if width else 6))
            lines.append(paint(f"{indent}hint: {printable(finding.hint)}", "faint", color))
    return lines


def _place(finding: Finding) -> str:
    at = finding.location
    return f"{at.line}:{at.column}" if at.line is not None else ""


def _grouped(skipped: tuple[SkippedRule, ...]) -> list[tuple[list[str], tuple[str, ...]]]:
    """Rules that were skipped for the same reason, together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for rule in skipped:
        groups.setdefault(rule.because, []).append(rule.code)
    return [(codes, because) for because, codes in groups.items()]


def _skipped_line(group: tuple[list[str], tuple[str, ...]]) -> str:
    codes, because = group
    more = f" and {len(codes) - _MOST} more" if len(codes) > _MOST else ""
    return f"not judged because of {', '.join(because)}: {', '.join(codes[:_MOST])}{more}"


def sums(report: Report) -> str:
    """Number of findings of each severity, in words."""
    return ", ".join(count(number, label) for label, number in counts(report).items())


def sum_line(report: Report, color: bool = False) -> str:
    """Checkpoint, number of findings of each severity, and number of rules judged."""
    judged = len(report.rules) - len(report.skipped)
    told = paint(sums(report), report.worst.label if report.worst else "good", color)
    excused = sum(each.finding.severity is Severity.ERROR for each in report.suppressed)
    ignored = f", {count(excused, 'error')} ignored" if excused else ""
    return f"{printable(report.checkpoint)}: {told} ({count(judged, 'rule')} judged{ignored})"
