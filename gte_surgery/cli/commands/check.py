"""`gte-surgery check`: the gate."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gte_surgery.cli.completion import offering, rules
from gte_surgery.cli.mending import mend
from gte_surgery.cli.options import PATH, example, some_of
from gte_surgery.cli.page import plots_option, require_page, write_page
from gte_surgery.cli.reports import OrderedCommand, Reports, fail_on_option, reporting_options
from gte_surgery.cli.several import checkpoints_argument, each_of, jobs_option, require_one
from gte_surgery.cli.terminal import Terminal, pass_terminal
from gte_surgery.gte.kinds import Consumer

if TYPE_CHECKING:
    from gte_surgery.checks.policy import Policy
    from gte_surgery.findings import Report, Suppression

PROGRAMS = tuple(consumer.value for consumer in Consumer)


@click.command(
    "check",
    cls=OrderedCommand,
    short_help="Judge a checkpoint by every rule.",
    epilog=example(
        "gte-surgery check ckpt/ --vocab 32000 --pad 0 --fail-on warning",
        "gte-surgery check ckpt/ --format text --format sarif --output gte.sarif",
        "gte-surgery check ckpt/ --fix --dry-run",
        "gte-surgery check runs/*/checkpoint-* --jobs 4 --format junit --output gte.xml",
    ),
)
@checkpoints_argument
@reporting_options
@fail_on_option("error")
@click.option(
    "--select",
    multiple=True,
    metavar="CODES",
    help="Judge these rules only: codes or prefixes, comma apart.",
    shell_complete=offering(rules),
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="CODES",
    help='Let these rules\' findings not count: "CODES" or "CODES: reason".',
    shell_complete=offering(rules),
)
@click.option(
    "--config",
    type=PATH,
    metavar="FILE",
    help="Take expectations and ignored codes from here.  [default: the project's gte-surgery.toml]",
)
@click.option("--no-config", is_flag=True, help="Take them from no file.")
@plots_option
@click.option("--fix", is_flag=True, help="First mend, in place, what can be mended without changing any output.")
@click.option("--dry-run", is_flag=True, help="With --fix: only show what it would do.")
@click.option("--vocab", type=int, metavar="N", help="Expect this vocabulary size: so many rows, exactly.")
@click.option("--ids", type=int, metavar="N", help="Expect rows for this many ids.")
@click.option("--pad", type=int, metavar="ID", help="Expect this pad id.")
@click.option("--type-vocab", type=int, metavar="T", help="Expect this type vocabulary size.")
@click.option(
    "--contract",
    type=PATH,
    metavar="FILE",
    help="Expect what this contract of ids and masks says; it overrides the policy, and options override both.",
)
@click.option("--values", is_flag=True, help="Read all weights and judge the numbers as well.")
@click.option(
    "--signed-by",
    type=PATH,
    metavar="FILE",
    help="Require a model signature by this public key or these certificates, PEM; needs the extra sign.",
)
@click.option(
    "--for",
    "consumers",
    multiple=True,
    metavar=f"[{'|'.join(PROGRAMS)}]",
    callback=some_of(PROGRAMS),
    shell_complete=offering(lambda: dict.fromkeys(PROGRAMS, "")),
    help="Judge by what these programs need as well, comma apart.",
)
@jobs_option
@pass_terminal
def command(
    terminal: Terminal,
    /,
    checkpoints: tuple[Path, ...],
    reports: Reports,
    fail_on: str | None,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    config: Path | None,
    no_config: bool,
    html: Path | None,
    fix: bool,
    dry_run: bool,
    vocab: int | None,
    ids: int | None,
    pad: int | None,
    type_vocab: int | None,
    contract: Path | None,
    values: bool,
    signed_by: Path | None,
    consumers: tuple[str, ...],
    jobs: int,
) -> int:
    """Judge each CHECKPOINT, a directory or a .safetensors file, by every rule.

    Without --values it reads JSON, headers and a few rows only, so it takes a fraction of a second whatever the size.
    A finding at or above --fail-on makes the exit code 1, whatever the format. Expectations that do not hold are
    findings too. Of several checkpoints, those that pass are told in a line each.
    """
    from gte_surgery.checks.subject import Expectations
    from gte_surgery.findings import Severity
    from gte_surgery.gate.policies import expected, policy_of
    from gte_surgery.render.formats.report import policy_lines

    if dry_run and not fix:
        raise click.UsageError("--dry-run goes with --fix only")
    require_one(checkpoints, ("--fix", fix), ("--html", html))
    require_page(html, *checkpoints)
    reports.require_free(*checkpoints)
    policy = policy_of(checkpoints, config, no_config)
    suppressions = (*_suppressions(ignore), *policy.suppressions)
    bar = Severity[fail_on.upper()] if fail_on else policy.fail_on or Severity.ERROR
    expectations = expected(policy, contract, Expectations(vocab, pad, type_vocab, ids=ids))
    asked = tuple(dict.fromkeys((*consumers, *policy.consumers)))
    if fix:
        curable = _curable(_codes(select), suppressions)
        mend(terminal, checkpoints[0], curable, asked, dry_run, not reports.tells_text)
    judged = partial(
        _judged, terminal, policy, suppressions, html,
        expectations=expectations, select=_codes(select), values=values, consumers=asked, signed_by=signed_by,
    )  # fmt: skip
    report = _one(tuple(each_of(judged, checkpoints, jobs)))
    for line in policy_lines(report):
        terminal.message(line)
    return reports.deliver(report, bar, *checkpoints)


def _judged(
    terminal: Terminal,
    policy: Policy,
    suppressions: Sequence[Suppression],
    html: Path | None,
    checkpoint: Path,
    **how: Any,
) -> Report:
    """The report of a checkpoint, made in this process or in another; `how` are options of `checks.run`."""
    from gte_surgery.checkpoint.directory import open_checkpoint
    from gte_surgery.checks.run import run, suppress
    from gte_surgery.gate.policies import over

    opened = open_checkpoint(checkpoint)
    with terminal.progress("reading") if how["values"] else nullcontext() as progress:
        found = run(opened, progress=progress, **how)
    report = replace(suppress(found, suppressions), policy=policy.source, passed_over=over(checkpoint, policy))
    if html is not None:
        write_page(terminal, html, opened, report)
    return report


def _one(reports: tuple[Report, ...]) -> Report:
    """One report of all checkpoints."""
    from gte_surgery.findings import Report

    if len(reports) == 1:
        return reports[0]
    passed_over = dict.fromkeys(path for report in reports for path in report.passed_over)
    return Report.of(f"{len(reports)} checkpoints", reports, reports[0].policy, tuple(passed_over))


def _curable(selected: tuple[str, ...], suppressions: Sequence[Suppression]) -> list[str]:
    """The rules with a cure that are selected and not ignored: what is accepted is not mended either."""
    from gte_surgery.surgery.edits import CURES

    ignored = tuple(each.code for each in suppressions)
    return [code for code in CURES if code.startswith(selected or "GTE") and not code.startswith(ignored)]


def _codes(values: tuple[str, ...]) -> tuple[str, ...]:
    """Codes given one by one or several with commas between: ("GTE1,GTE203", "GTE0") → three."""
    return tuple(code.strip().upper() for value in values for code in value.split(","))


def _suppressions(values: tuple[str, ...]) -> list[Suppression]:
    """("GTE112,GTE104: fixed ids", "GTE2") → three, the first two with a reason."""
    from gte_surgery.checks.run import require_known
    from gte_surgery.findings import Suppression

    pairs = [value.partition(":") for value in values]
    named = [(code, reason.strip()) for codes, _, reason in pairs for code in _codes((codes,))]
    require_known([code for code, _ in named])
    return [Suppression(code, reason, "--ignore") for code, reason in named]
