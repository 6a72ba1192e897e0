"""Judges a checkpoint by all rules, or by a selection of them, and collects the findings in a Report.

A rule whose prerequisites found errors is not judged but reported as skipped. Prerequisites are judged even when they
are not selected; then their findings stay out of the report. What someone has looked at and accepted, with a reason, is
kept apart from what counts, and judged all the same: a suppression that no longer suppresses anything is reported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING

from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint
from gte_surgery.checkpoint.files import Progress
from gte_surgery.checkpoint.sidecars import nested
from gte_surgery.checks.registry import Observation, Rule, all_rules
from gte_surgery.checks.subject import Expectations, Passes, Subject
from gte_surgery.errors import UsageError
from gte_surgery.findings import (
    Finding,
    Location,
    Report,
    Severity,
    SkippedRule,
    SuppressedFinding,
    Suppression,
    several,
)
from gte_surgery.gte.kinds import Consumer
from gte_surgery.whole import words

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

UNREADABLE = "GTE006"


def run(
    checkpoint: Checkpoint | Path | str,
    expectations: Expectations = Expectations(),
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    values: bool = False,
    consumers: Collection[str] = (),
    progress: Progress | None = None,
    signed_by: Path | None = None,
) -> Report:
    """Judge `checkpoint`, opened or where it lies.

    `select` and `ignore` hold codes ("GTE204") or prefixes of codes ("GTE2"); nothing selected
    means every rule. `values` reads all weights, telling `progress` (bytes read, bytes to read); `consumers` are values
    of `gte.kinds.Consumer` whose own rules are judged as well. `signed_by` is a PEM file, a public key or trusted
    certificates, that a model signature must be by; UnavailableError without model-signing.

    Raises UsageError for a code that matches no rule, or none that is judged, and for an unknown consumer; a bad
    checkpoint never raises."""
    given = checkpoint if isinstance(checkpoint, Checkpoint) else open_checkpoint(checkpoint)
    checkpoint = nested(given) or given
    rules = _applicable(all_rules(), values, words(consumers), signed_by is not None)
    chosen = _choose(rules, words(select), words(ignore))
    with _Judge(Subject(checkpoint, expectations, values, Passes(progress), signed_by), rules) as judge:
        for code in chosen:
            judge.judge(code)
        findings = dict.fromkeys(finding for code in chosen for finding in judge.found(code))
    skipped = [SkippedRule(code, judge.skipped[code]) for code in chosen if code in judge.skipped]
    told = (finding.pasteable(checkpoint.name) for finding in sorted(findings, key=_place))
    if checkpoint is not given:
        told = (_seen_from_above(finding, checkpoint.path.name) for finding in told)
    return Report(given.name, tuple(told), tuple(skipped), chosen)


def _seen_from_above(finding: Finding, folder: str) -> Finding:
    """The finding with its file named from the save that the checkpoint's folder lies in."""
    file = normpath(f"{folder}/{finding.location.file}")
    return replace(finding, location=replace(finding.location, file=file))


class _Judge:
    """Judges rules on one subject, each at most once and after its prerequisites."""

    def __init__(self, subject: Subject, rules: Mapping[str, Rule]) -> None:
        self.subject = subject
        self.rules = rules
        self.findings: dict[str, tuple[Finding, ...]] = {}
        self.skipped: dict[str, tuple[str, ...]] = {}
        self.apart: dict[str, Future[tuple[Finding, ...]]] = {}
        self.pool: Executor | None = None

    def __enter__(self) -> _Judge:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing goes on beyond the run; when that was cut short, what is still being read is given up."""
        if self.pool is not None:
            self.subject.passes.stop()
            self.pool.shutdown()

    def judge(self, code: str) -> None:
        if code in self.findings or code in self.apart:
            return
        rule = self.rules[code]
        failed = self._failed_prerequisites(rule)
        if failed:
            self.skipped[code], self.findings[code] = failed, ()
        elif rule.is_apart:
            self.apart[code] = self._threads().submit(_apply, rule, self.subject)
        else:
            self.findings[code] = _apply(rule, self.subject)

    def found(self, code: str) -> tuple[Finding, ...]:
        """What a judged rule found; waits for it."""
        return self.apart[code].result() if code in self.apart else self.findings[code]

    def _threads(self) -> Executor:
        from concurrent.futures import ThreadPoolExecutor

        if self.pool is None:
            self.pool = ThreadPoolExecutor()
        return self.pool

    def _failed_prerequisites(self, rule: Rule) -> tuple[str, ...]:
        """Codes of the errors that stand in the way; those of a skipped prerequisite stand in for it."""
        failed: set[str] = set()
        for code in _matching(self.rules, rule.requires):
            if self.rules[code].severity is not Severity.ERROR:
                continue
            self.judge(code)
            if any(finding.severity is Severity.ERROR for finding in self.found(code)):
                failed.add(code)
            else:
                failed.update(self.skipped.get(code, ()))
        return tuple(sorted(failed))


def _apply(rule: Rule, subject: Subject) -> tuple[Finding, ...]:
    try:
        return tuple(_finding(rule.code, rule.severity, seen) for seen in several(rule.check(subject), rule.most))
    except (OSError, EOFError) as error:
        name = str(getattr(error, "filename", None) or "")
        reason = getattr(error, "strerror", None) or error
        seen = Observation(Location(file=name.rpartition("/")[2]), f"cannot be read: {reason}")
        return (_finding(UNREADABLE, Severity.ERROR, seen),)


def _finding(code: str, severity: Severity, seen: Observation) -> Finding:
    return Finding(code, severity, seen.location, seen.message, seen.hint)


SOUNDNESS = ("GTE0", "GTE2")
"""The rule families whose errors forbid surgery: the container and the tensors."""

DAMAGED_NAMES = ("GTE210", "GTE211", "GTE215")
"""Errors that do not: names that only some programs read are carried, or mended by `convert`."""


def soundness_errors(checkpoint: Checkpoint, families: Collection[str] = SOUNDNESS) -> tuple[Finding, ...]:
    """The errors that forbid surgery."""
    milder = (code for code, rule in all_rules().items() if rule.severity is not Severity.ERROR)
    return run(checkpoint, select=families, ignore=(*DAMAGED_NAMES, *milder)).findings


def require_known(patterns: Collection[str], known: Collection[str] = ()) -> None:
    """Raises UsageError for a code or prefix of codes that matches none of those `known`, or no rule."""
    rules = known or all_rules()
    for pattern in patterns:
        if not pattern or not any(code.startswith(pattern) for code in rules):
            raise UsageError(f"{pattern}: matches no rule", LISTED, pattern, nearest_code(pattern, rules))


LISTED = "`gte-surgery rules` lists the codes"


def nearest_code(typed: str, codes: Collection[str]) -> str:
    """The code that was probably meant, the nearest of its family: "110" → GTE110, "gte127" → GTE126; "" if there is
    none."""
    digits = typed.upper().removeprefix("GTE")
    if not (digits.isascii() and digits.isdigit()):
        return ""
    family = [code for code in codes if code[3] == digits[0] and len(digits) == 3]
    return min(family, key=lambda code: abs(int(code[3:]) - int(digits)), default="")


def _applicable(
    rules: Mapping[str, Rule], values: bool, consumers: Collection[str], is_signed: bool
) -> Mapping[str, Rule]:
    """The rules that need neither --values nor --for, and those that these make apply."""
    known = [consumer.value for consumer in Consumer]
    for name in consumers:
        if name not in known:
            raise UsageError(f"{name}: is no program that checkpoints are judged for", f"known: {', '.join(known)}")
    wanted = {
        "",
        *(f"--for {name}" for name in consumers),
        *(("--values",) if values else ()),
        *(("--signed-by",) if is_signed else ()),
    }
    return {code: rule for code, rule in rules.items() if rule.only_with in wanted}


def _choose(rules: Mapping[str, Rule], select: Collection[str], ignore: Collection[str]) -> tuple[str, ...]:
    require_known((*select, *ignore))
    for pattern in select:
        if not _matching(rules, (pattern,)):
            needs = sorted({rule.only_with for code, rule in all_rules().items() if code.startswith(pattern)})
            raise UsageError(f"{pattern}: is judged only with {' or '.join(needs)}", "with it", meant=needs[0])
    chosen = _matching(rules, select) if select else tuple(rules)
    ignored = set(_matching(rules, ignore))
    return tuple(code for code in chosen if code not in ignored)


def _matching(rules: Mapping[str, Rule], patterns: Collection[str]) -> tuple[str, ...]:
    prefixes = tuple(patterns)
    return tuple(code for code in rules if code.startswith(prefixes))


def _place(finding: Finding) -> tuple[str, str, int, int, str, str]:
    """Sorts findings by code, then by place."""
    at = finding.location
    return finding.code, at.file, at.line or 0, at.column or 0, at.pointer, at.tensor


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
