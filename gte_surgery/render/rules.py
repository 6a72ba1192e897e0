"""The rules as a list and as documentation."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gte_surgery.findings import Code
from gte_surgery.render.ink import paint


def rules_text(rules: Sequence[Code], color: bool = False) -> str:
    """One line a rule: code, severity, title."""
    return "\n".join(
        f"{paint(rule.code, 'strong', color)}  {paint(rule.severity.label.ljust(7), rule.severity.label, color)}"
        f"  {rule.title}"
        for rule in rules
    )


def rules_json(rules: Sequence[Code]) -> str:
    """Code, severity, title, explanation and prerequisites of each rule, and what it is judged only with."""
    return json.dumps(
        [
            {
                "code": rule.code,
                "severity": rule.severity.label,
                "title": rule.title,
                "explanation": rule.explanation,
                "requires": list(rule.requires),
                "only_with": rule.only_with,
            }
            for rule in rules
        ],
        indent=2,
    )


def rule_text(rule: Code, color: bool = False) -> str:
    """A rule's title, explanation and prerequisites."""
    label = rule.severity.label
    head = f"{paint(rule.code, 'strong', color)} ({paint(label, label, color)}): {rule.title}"
    needs = f"Judged only where nothing is wrong under {', '.join(rule.requires)}." if rule.requires else ""
    option = f"Judged only with {rule.only_with}." if rule.only_with else ""
    return "\n\n".join(part for part in (head, rule.explanation, option, needs) if part)
