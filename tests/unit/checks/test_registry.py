"""The registry holds together: codes, prerequisites, and documentation that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checkpoint.faults import Fault, FaultKind, HeaderFault
from gte_surgery.checks.registry import Observation, Rule, all_rules, rule
from gte_surgery.checks.run import run
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Location, Severity
from tests.builder import build

RULES = tuple(all_rules().values())


def prerequisites(rule: Rule) -> set[str]:
    return {code for code in all_rules() if any(code.startswith(prefix) for prefix in rule.requires)}


def test_rules_come_in_order_of_code() -> None:
    assert [rule.code for rule in RULES] == sorted(rule.code for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_is_documented_and_its_code_is_of_a_known_family(rule: Rule) -> None:
    assert re.fullmatch(r"GTE[01236]\d\d", rule.code)
    assert rule.title
    assert len(rule.title) <= 90
    assert not rule.title.endswith(".")
    assert len(rule.explanation) > 60
    assert rule.explanation.endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_prerequisite_names_a_rule(rule: Rule) -> None:
    for prefix in rule.requires:
        assert any(code.startswith(prefix) for code in all_rules()), prefix


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_no_rule_requires_itself_even_by_detours(rule: Rule) -> None:
    reached: set[str] = set()
    waiting = prerequisites(rule)
    while waiting:
        code = waiting.pop()
        if code not in reached:
            reached.add(code)
            waiting |= prerequisites(all_rules()[code])
    assert rule.code not in reached


@pytest.mark.parametrize("kind", [*FaultKind, *HeaderFault], ids=lambda kind: kind.value)
def test_a_fault_of_the_container_is_reported_by_one_rule_word_for_word(
    tmp_path: Path, kind: FaultKind | HeaderFault
) -> None:
    fault = Fault(kind, Location(file="some file"), "what was found", "what to do")
    findings = run(replace(open_checkpoint(build(tmp_path)), faults=(fault,)), select=["GTE0"]).findings
    assert [(f.location, f.message, f.hint) for f in findings] == [(fault.location, fault.message, fault.hint)]


def test_a_code_is_given_once() -> None:
    def check(subject: Subject) -> Iterator[Observation]:
        """A second rule of this code."""
        yield from ()

    with pytest.raises(ValueError, match="GTE001"):
        rule("GTE001", Severity.NOTE)(check)
