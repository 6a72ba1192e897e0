"""Suppressions: findings that someone has looked at and accepted, each with a reason, kept apart from those that count.

The rules are judged all the same, so a suppression that no longer suppresses anything is known and reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gte_surgery.findings import Finding, Report, SuppressedFinding, Suppression


def suppress(report: Report, suppressions: Sequence[Suppression]) -> Report:
    """The report with the findings that a suppression names moved to `suppressed`, by the first that names them.

    A suppression is unused when it moved nothing although a rule that it names was judged.
    """
    kept: list[Finding] = []
    moved: list[SuppressedFinding] = []
    for finding in report.findings:
        fitting = next((each for each in suppressions if finding.code.startswith(each.code)), None)
        if fitting is None:
            kept.append(finding)
        else:
            moved.append(SuppressedFinding(finding, fitting))
    used = {each.suppression for each in moved}
    judged = set(report.rules) - {rule.code for rule in report.skipped}
    unused = [
        each
        for each in dict.fromkeys(suppressions)
        if each not in used and any(code.startswith(each.code) for code in judged)
    ]
    return replace(report, findings=tuple(kept), suppressed=(*report.suppressed, *moved), unused=tuple(unused))
