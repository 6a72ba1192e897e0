"""A report as GitHub-flavoured markdown, for a job summary or a comment."""

from __future__ import annotations

import re

from gte_surgery.findings import Finding, Report
from gte_surgery.render.formats.report import (
    accepted_lines,
    file_path,
    part_title,
    policy_lines,
    subject_and_message,
    sums,
)
from gte_surgery.render.ink import count, printable

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#!|~&$@]")


def report_markdown(report: Report, command: str = "check") -> str:
    """A heading, the sums, a table of the findings from worst to mildest, and what was not judged or was ignored."""
    title = f"### gte-surgery {command}: {_plain(report.checkpoint)}"
    lines = [title, "", f"{sums(report)} ({_judged(report)})."]
    for part in report.each:
        lines += ["", f"**{_plain(part_title(part))}**"] if report.parts else []
        lines += _table(part) if part.findings else []
    asides = [_plain(line) for line in (*policy_lines(report), *accepted_lines(report))]
    return "\n".join([*lines, *([""] if asides else []), *(f"- {aside}" for aside in asides)])


def _table(report: Report) -> list[str]:
    rows = [_row(report, finding) for finding in sorted(report.findings, key=lambda found: -found.severity)]
    return ["", "| | code | place | finding |", "|---|---|---|---|", *rows]


def _judged(report: Report) -> str:
    skipped = f", {len(report.skipped)} skipped because of the errors" if report.skipped else ""
    return f"{count(len(report.rules) - len(report.skipped), 'rule')} judged{skipped}"


def _row(report: Report, finding: Finding) -> str:
    at = finding.location
    place = f"{file_path(report, at.file)}:{at.line}" if at.line is not None else file_path(report, at.file)
    hint = f"<br>hint: {_plain(finding.hint)}" if finding.hint else ""
    cells = (finding.severity.label, finding.code, _plain(place), _plain(subject_and_message(finding)) + hint)
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """The text with every character that markdown would act on escaped; a backslash alone would not stop `@` or `<`."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", printable(text))
