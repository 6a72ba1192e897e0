"""The one registry of rules, filled by the decorator `rule` when a module of rules is imported.

A rule is a generator function: it takes a `Subject` and yields an `Observation` for each thing that is wrong. Its
docstring is its documentation: the first line is the title, the rest is what `gte-surgery explain CODE` prints.
Codes are permanent: a retired code is never given to another rule.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import MappingProxyType

from gte_surgery.checkpoint.faults import FaultKind, HeaderFault
from gte_surgery.checks.shards import reindexed
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import MOST_ALIKE, Code, Location, Severity, documented

_OF_THE_INDEX = (
    FaultKind.WEIGHTS_MISSING, FaultKind.INDEX_UNREADABLE, FaultKind.INDEX_MISSING_FILE,
    FaultKind.INDEX_TENSOR_ABSENT, FaultKind.INDEX_TENSOR_UNLISTED,
)  # fmt: skip
"""What a new index mends, where the shards are whole."""
_CURES: Mapping[object, str] = {
    FaultKind.WRONG_TOTAL_SIZE: "gte-surgery check CKPT --fix",
    FaultKind.LEFTOVER: "if no program writes here now: `gte-surgery check CKPT --fix`",
}
RULE_MODULES = (
    "directory",
    "headers",
    "receipts",
    "config",
    "rope",
    "maths",
    "expectations",
    "layout",
    "tensors",
    "rows",
    "values",
    "sidecars",
    "tokenizers",
    "programs.transformers",
    "programs.sentence_transformers",
    "programs.vllm",
    "programs.tei",
)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a rule saw: where, what was found and what was wanted, and what to do about it."""

    location: Location
    message: str
    hint: str = ""


def shown(value: object) -> str:
    """A JSON value as config.json writes it, cut short when it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


Check = Callable[[Subject], Iterable[Observation]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Rule(Code):
    """A code with what judges by it. `requires` holds codes or prefixes of codes ("GTE0"): an error under any of them
    skips the rule.

    `only_with` is the option without which it is not judged at all, "--values" or "--for vllm"; empty for most.
    What `is_apart` is judged on a thread of its own while the others are, since it takes as long as they all do. The
    first `most` of what it finds are told, the last of them with a count of the rest.
    """

    check: Check
    is_apart: bool = False
    most: int = MOST_ALIKE


_rules: dict[str, Rule] = {}


def rule(
    code: str,
    severity: Severity,
    requires: tuple[str, ...] = (),
    only_with: str = "",
    is_apart: bool = False,
    most: int = MOST_ALIKE,
) -> Callable[[Check], Check]:
    """Register the decorated check under `code`, documented by its docstring."""

    def register(check: Check) -> Check:
        title, _, explanation = (check.__doc__ or "").strip().partition("\n")
        text = _unindented(explanation)
        needed = tuple(sorted(requires))
        stated = (code, severity, title.rstrip("."), text, needed, only_with)
        _add_rule(Rule(*stated, check=check, is_apart=is_apart, most=most))
        return check

    return register


def _add_rule(new: Rule) -> None:
    """Register a rule; raises ValueError when its code is taken."""
    if new.code in _rules:
        raise ValueError(f"{new.code}: two rules have this code")
    _rules[new.code] = new


def add_fault_rules(
    kinds: type[FaultKind] | type[HeaderFault],
    table: str,
    requires: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> None:
    """Register the rules that report faults, each those of one kind, which were found when the checkpoint was opened.

    The table is one as `findings.documented` reads it, with the name of the kind before the title; `requires` is by
    code.
    """
    for code, each in documented(table).items():
        kind, _, title = each.title.partition(" ")
        needed = tuple(sorted(requires.get(code, ())))
        _add_rule(Rule(code, each.severity, title, each.explanation, needed, check=partial(_faults, kinds[kind])))


def _faults(kind: FaultKind | HeaderFault, subject: Subject) -> Iterable[Observation]:
    faults = subject.faults(kind)
    is_curable = kind in _OF_THE_INDEX and bool(faults) and reindexed(subject.checkpoint) is not None
    cure = "gte-surgery check CKPT --fix" if is_curable else _CURES.get(kind, "")
    for fault in faults:
        yield Observation(fault.location, fault.message, fault.hint or cure)


def all_rules() -> Mapping[str, Rule]:
    """Every rule by its code, in order of code; imports the modules of rules when first called."""
    for module in RULE_MODULES:
        import_module(f"gte_surgery.checks.rules.{module}")
    return MappingProxyType(dict(sorted(_rules.items())))


def _unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())
