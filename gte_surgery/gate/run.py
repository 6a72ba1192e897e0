"""Takes the steps of a gate one after the other, leaves out what became useless, and merges what they found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from gte_surgery.checks.policy import Policy
from gte_surgery.checks.run import suppress
from gte_surgery.errors import CheckpointError, GteSurgeryError, UnavailableError, UsageError
from gte_surgery.findings import Finding, Location, Report, Severity, SkippedRule, Step
from gte_surgery.gate.codes import CODES, IMPOSSIBLE, UNAVAILABLE
from gte_surgery.gate.jobs import STEPS, Job, Onlooker, named

_BREAKS_MODELS = ("GTE0", "GTE1", "GTE2")
_IS_ONLY_UNEXPECTED = "GTE15"
"""A checkpoint that is not the expected one loads all the same."""


def chosen(jobs: Sequence[Job], only: Collection[str], skip: Collection[str]) -> tuple[Job, ...]:
    """The steps that are wanted. Raises UsageError where none is, and for one that the policy does not ask for."""
    there = {job.name for job in jobs}
    for name in only:
        if name not in there:
            raise UsageError(f"--only {name}: no such step", f"a table [{STEPS[name]}] of the policy asks for it")
    kept = tuple(job for job in jobs if (not only or job.name in only) and job.name not in skip)
    if not kept:
        raise UsageError("no step is left", "`gte-surgery gate --explain` tells which there are")
    return kept


def run(checkpoint: Path, jobs: Sequence[Job], policy: Policy, onlooker: Onlooker) -> Report:
    """One report of all steps; its parts are theirs. What a step cannot do is a finding of it, and never raised."""
    parts: list[Report] = []
    for job in jobs:
        begin = perf_counter()
        part, ending = _taken(job, _errors(parts), policy, onlooker)
        step = Step(job.name, job.told, ending, perf_counter() - begin)
        parts.append(replace(suppress(part, policy.suppressions), step=step))
    return Report.of(named(checkpoint), parts, policy.source)


def _errors(parts: Sequence[Report]) -> tuple[str, ...]:
    """The codes of the errors that keep a checkpoint from being loaded, or from being what it seems."""
    found = {finding.code for part in parts for finding in part.findings if finding.severity is Severity.ERROR}
    return tuple(sorted(c for c in found if c.startswith(_BREAKS_MODELS) and not c.startswith(_IS_ONLY_UNEXPECTED)))


def _taken(job: Job, errors: tuple[str, ...], policy: Policy, onlooker: Onlooker) -> tuple[Report, str]:
    """What a step reports, and how it ended."""
    if errors and job.needs_model:
        return _useless(job, errors), "useless"
    try:
        return job.run(onlooker), "done"
    except UnavailableError as error:
        return _report(job, _unavailable(job, error, policy)), "impossible"
    except CheckpointError as error:
        if errors:
            return _useless(job, errors), "useless"
        return _report(job, IMPOSSIBLE.found(Location(), error.message, error.hint)), "impossible"
    except GteSurgeryError as error:
        return _report(job, IMPOSSIBLE.found(Location(), error.message, error.hint)), "impossible"


def _useless(job: Job, errors: tuple[str, ...]) -> Report:
    return Report(job.name, (), tuple(SkippedRule(code, errors) for code in job.codes), job.codes)


def _report(job: Job, finding: Finding) -> Report:
    return Report(job.name, (finding,), (), tuple(CODES))


def _unavailable(job: Job, error: UnavailableError, policy: Policy) -> Finding:
    waived = f"optional = true under [{STEPS[job.name]}] of {policy.source} lets the gate pass without it"
    install = [error.hint] if error.hint.startswith("`pip") else []
    found = UNAVAILABLE.found(Location(), error.message, "; or ".join((*install, waived)))
    return replace(found, severity=Severity.NOTE, hint="") if job.is_optional else found
