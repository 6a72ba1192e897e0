"""What each step of a gate does: the tables of a policy turned into calls of the verbs, and their results into reports.

Whether a step is still worth its cost is left to `run`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gte_surgery.checkpoint.hub.address import address_of
from gte_surgery.checks.policy import Policy
from gte_surgery.checks.subject import Expectations
from gte_surgery.contract.codes import CODES as BATCH_CODES
from gte_surgery.errors import UnavailableError
from gte_surgery.findings import Finding, Location, Report
from gte_surgery.gate.policies import expected
from gte_surgery.gte.wording import counted
from gte_surgery.smoke.codes import CODES as SMOKE_CODES

if TYPE_CHECKING:
    from gte_surgery.contract.scan.corpus import CorpusReport
    from gte_surgery.contract.spec import IdContract
    from gte_surgery.smoke.options import SmokeOptions

STEPS = {"check": "check", "scan": "data", "fuzz": "encoder", "smoke": "smoke", "quality": "quality"}
"""The steps in order of cost, and the table of the policy that asks for each; `check` needs none."""

_COLUMNS = ("ids", "mask", "types", "labels", "positions", "offsets")
_FILES = ("compare", "against", "map", "texts", "queries")
_ALONE = ("train", "compile", "compare", "task")
"""What has no part in a comparison with another checkpoint."""


class Onlooker(Protocol):
    """Who is told how far a step has come."""

    def progress(self, label: str) -> AbstractContextManager[Callable[..., None] | None]:
        """A callback that takes what is done and the whole."""

    def message(self, text: str) -> None:
        """A remark."""


@dataclass(frozen=True, slots=True)
class Job:
    """A step that a policy asks for: what it is to do in words, the codes that it judges by, and how it is done."""

    name: str
    told: str
    codes: tuple[str, ...]
    run: Callable[[Onlooker], Report]
    needs_model: bool = False
    is_optional: bool = False


def jobs(checkpoint: Path, policy: Policy) -> tuple[Job, ...]:
    """The steps that a policy asks for, in order of cost. Raises UsageError for options that make no run."""
    makers = {"check": _check, "scan": _scan, "fuzz": _fuzz, "smoke": _smoke, "quality": _quality}
    asked = [name for name, table in STEPS.items() if name == "check" or table in policy.steps]
    return tuple(makers[name](checkpoint, policy, policy.steps.get(STEPS[name], {})) for name in asked)


def _check(checkpoint: Path, policy: Policy, table: Mapping[str, Any]) -> Job:
    from gte_surgery.checks.registry import all_rules
    from gte_surgery.checks.run import run

    reads_values, key = bool(table.get("values")), table.get("signed_by")
    signed_by = policy.path(key) if key else None

    def done(onlooker: Onlooker) -> Report:
        stated = expected(policy, None, Expectations())
        with onlooker.progress("reading") as progress:
            return run(checkpoint, stated, (), (), reads_values, policy.consumers, progress, signed_by)

    weights = "every rule, all weights read" if reads_values else "every rule"
    programs = f", for {', '.join(policy.consumers)}" if policy.consumers else ""
    told = f", signed by the holder of {key}" if key else ""
    apart = {"", "--values" if reads_values else "", "--signed-by" if key else ""}
    codes = tuple(code for code, rule in all_rules().items() if rule.only_with in apart)
    return Job("check", f"{named(checkpoint)} by {weights}{programs}{told}", codes, done)


def _scan(checkpoint: Path, policy: Policy, table: Mapping[str, Any]) -> Job:
    paths = [str(policy.path(path)) for path in table["paths"]]
    limit = table.get("limit")

    def done(onlooker: Onlooker) -> Report:
        from gte_surgery.contract.scan.columns import Columns
        from gte_surgery.contract.scan.corpus import scan

        columns = Columns(**{name: table[name] for name in _COLUMNS if name in table})
        workers = table.get("workers") or os.cpu_count() or 1
        with onlooker.progress("scanning") as progress:
            found = scan(
                _contract(checkpoint, policy), *paths, columns=columns, workers=workers, limit=limit, progress=progress
            )
        told = tuple(each.pasteable(str(checkpoint)) for each in (*found.findings, *_hidden(found)))
        return Report(_title(paths), told, (), found.codes, folder="")

    rows = f"the first {counted(limit, 'row')} of " if limit else ""
    told = f"{rows}{_title(paths)} by the contract of {policy.contract or named(checkpoint)}"
    codes = tuple(code for code in BATCH_CODES if code < "GTE490")
    return Job("scan", told, codes, done, is_optional=bool(table.get("optional")))


def _hidden(report: CorpusReport) -> Iterator[Finding]:
    """A finding for each code of which none was kept: what counts must be seen."""
    kept = {finding.code for finding in report.findings}
    for fault, sums in sorted(report.summary.sums.items(), key=lambda pair: pair[0].value):
        if fault.value not in kept:
            told = f"in {counted(sums.places, 'place')}, beyond the findings that are told one by one"
            yield BATCH_CODES[fault.value].found(Location(), told)


def _fuzz(checkpoint: Path, policy: Policy, table: Mapping[str, Any]) -> Job:
    encoder, examples, seed = table["callable"], table.get("examples", 500), table.get("seed", 0)

    def done(onlooker: Onlooker) -> Report:
        from gte_surgery.contract.probe import find_encoder

        try:
            from gte_surgery.contract.fuzz import fuzz
        except ModuleNotFoundError as error:
            raise UnavailableError(f"{error.name}: not installed", "`pip install 'gte-surgery[fuzz]'`") from error
        contract = _contract(checkpoint, policy)
        found, _ = find_encoder(encoder, policy.folder)
        strict = bool(table.get("strict-exceptions"))
        breaks = fuzz(found, contract, examples=examples, seed=seed, strict_exceptions=strict)
        findings = tuple(replace(each.finding, hint=f"smallest input: {each}") for each in breaks)
        return Report(encoder, findings, (), codes)

    told = f"{encoder} by {counted(examples, 'example')}, by the contract of {policy.contract or named(checkpoint)}"
    codes = tuple(code for code in BATCH_CODES if code < "GTE480" or code >= "GTE490")
    return Job("fuzz", told, codes, done, is_optional=bool(table.get("optional")))


def _smoke(checkpoint: Path, policy: Policy, table: Mapping[str, Any]) -> Job:
    compared = {key: value for key, value in table.items() if key not in _ALONE}
    options = _options(policy, {key: value for key, value in table.items() if key not in ("against", "map")})
    runs = (options, _options(policy, compared)) if "against" in table else (options,)
    steps = f", {counted(options.train, 'training step')}" if options.train else ""
    kept = f", and what it preserves of {table['against']}" if "against" in table else ""
    told = f"{named(checkpoint)} on {options.device}, {options.dtype} with {options.attention} attention{steps}{kept}"
    return _proof("smoke", told, checkpoint, table, *runs)


def _quality(checkpoint: Path, policy: Policy, table: Mapping[str, Any]) -> Job:
    """What the table leaves open is as under [smoke]."""
    usual = {key: value for key, value in policy.steps.get("smoke", {}).items() if key not in _ALONE}
    options = _options(policy, {**usual, **table})
    told = f"what became of {table['texts']} between {options.against} and {named(checkpoint)}, on {options.device}"
    return _proof("quality", told, checkpoint, table, options)


def _options(policy: Policy, table: Mapping[str, Any]) -> SmokeOptions:
    from gte_surgery.smoke.options import SmokeOptions

    chosen = {key.replace("-", "_"): value for key, value in table.items() if key != "optional"}
    return SmokeOptions(**chosen | {key: policy.path(chosen[key]) for key in _FILES if key in chosen})


def _proof(name: str, told: str, checkpoint: Path, table: Mapping[str, Any], *runs: SmokeOptions) -> Job:
    """A step of smoke runs."""

    def done(onlooker: Onlooker) -> Report:
        try:
            from gte_surgery.smoke.run import smoke
        except ImportError as error:
            missing = (error.name or "torch").partition(".")[0]
            raise UnavailableError(f"{missing}: cannot be imported", "`pip install 'gte-surgery[smoke]'`") from error
        results = [smoke(checkpoint, options, onlooker.message) for options in runs]
        findings = tuple(finding for result in results for finding in result.findings)
        judged = {proof.code for result in results for proof in result.proofs}
        codes = tuple(sorted(judged | {finding.code for finding in findings}))
        return Report(results[0].checkpoint, findings, (), codes)

    return Job(name, told, tuple(SMOKE_CODES), done, True, bool(table.get("optional")))


def _contract(checkpoint: Path, policy: Policy) -> IdContract:
    from gte_surgery.contract.spec import IdContract

    return IdContract.read(policy.contract or checkpoint)


def named(checkpoint: Path) -> str:
    """The checkpoint as it is typed: a path, or an hf:// address, of which `Path` swallows a slash."""
    return str(address_of(checkpoint) or checkpoint)


def _title(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more"
