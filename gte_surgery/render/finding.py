"""One finding, as lines for people and as an object for programs: the same wherever findings are told."""

from __future__ import annotations

from dataclasses import asdict

from gte_surgery.findings import Finding
from gte_surgery.render.ink import paint, printable


def finding_head(finding: Finding, told: str, color: bool = False) -> str:
    """Severity and code, and what is told of it."""
    label = finding.severity.label
    return f"{paint(label, label, color)} {paint(finding.code, 'strong', color)} {printable(told)}"


def finding_lines(finding: Finding, told: str, color: bool = False) -> list[str]:
    """The head, and below it the hint if there is one."""
    hint = [paint(f"    hint: {printable(finding.hint)}", "faint", color)] if finding.hint else []
    return [finding_head(finding, told, color), *hint]


def finding_object(finding: Finding, *members: str) -> dict[str, object]:
    """Code, severity, and these members of place, message and hint; all of them when none is named."""
    whole = {**asdict(finding.location), "message": finding.message, "hint": finding.hint}
    told = {key: value for key, value in whole.items() if key in members or not members}
    return {"code": finding.code, "severity": finding.severity.label, **told}
