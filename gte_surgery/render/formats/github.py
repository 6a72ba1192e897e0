"""The report of `check` as annotations of GitHub Actions.

Workflow commands: `::error file=…,line=…,col=…,title=…::message`, with what would end a part escaped as in a URL
[GitHub docs, "Workflow commands for GitHub Actions"].
"""

from __future__ import annotations

from gte_surgery.findings import Finding, Report
from gte_surgery.render.formats.report import file_path, policy_lines, subject_and_message, sum_line, unused_line
from gte_surgery.render.ink import printable

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def report_github(report: Report) -> str:
    """One annotation a finding and one for each unused suppression, then the sums as a plain line of the log.

    It stays plain where the checkpoint's path looks like a command.
    """
    annotations = [_annotation(part, finding) for part in report.each for finding in part.findings]
    told = (*policy_lines(report), *map(unused_line, report.unused))
    annotations += [f"::notice title=gte-surgery::{_escaped(each)}" for each in told]
    sums = sum_line(report)
    return "\n".join((*annotations, f"./{sums}" if sums.lstrip().startswith(("::", "##[")) else sums))


def _annotation(report: Report, finding: Finding) -> str:
    at = finding.location
    properties = {"title": f"{finding.code} {finding.severity.label}"}
    if at.file:
        properties["file"] = file_path(report, at.file)
    if at.line is not None:
        properties |= {"line": str(at.line), "col": str(at.column or 1)}
    told = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    hint = f"\nhint: {printable(finding.hint)}" if finding.hint else ""
    return f"::{_COMMANDS[finding.severity.label]} {told}::{_escaped(subject_and_message(finding) + hint)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
