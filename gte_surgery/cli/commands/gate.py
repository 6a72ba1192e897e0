"""`gte-surgery gate`: one command before a training run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gte_surgery.cli import exits
from gte_surgery.cli.completion import files, offering
from gte_surgery.cli.options import PATH, example, some_of
from gte_surgery.cli.page import html_option, require_page
from gte_surgery.cli.reports import OrderedCommand, Reports, fail_on_option, reporting_options
from gte_surgery.cli.terminal import Terminal, pass_terminal
from gte_surgery.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from gte_surgery.checks.policy import Policy
    from gte_surgery.findings import Report

_STEPS = ("check", "scan", "fuzz", "smoke", "quality")


def _steps_option(name: str, text: str) -> Callable[[Any], Any]:
    return click.option(
        name,
        multiple=True,
        metavar=f"[{'|'.join(_STEPS)}]",
        callback=some_of(_STEPS),
        shell_complete=offering(lambda: dict.fromkeys(_STEPS, "")),
        help=text,
    )


@click.command(
    "gate",
    cls=OrderedCommand,
    short_help="Judge checkpoint, corpus and encoder by the project's policy.",
    epilog=example(
        "gte-surgery gate --init runs/last corpus/*.parquet",
        "gte-surgery gate --explain",
        "gte-surgery gate --format text --format sarif --output gate.sarif",
    ),
)
@click.argument("checkpoint", type=PATH, required=False)
@click.argument("corpora", metavar="[DATA]...", nargs=-1, shell_complete=files)
@click.option(
    "--policy", "given", type=PATH, metavar="FILE", help="The policy.  [default: the project's gte-surgery.toml]"
)
@_steps_option("--only", "Take these steps only, comma apart.")
@_steps_option("--skip", "Take all steps but these, comma apart.")
@fail_on_option("the policy's, else error")
@reporting_options
@html_option("Also write a page here, a section a step.")
@click.option("--init", is_flag=True, help="Write a policy for CHECKPOINT and DATA, with comments, and judge nothing.")
@click.option("--explain", is_flag=True, help="Tell what the policy asks for, and do nothing of it.")
@pass_terminal
def command(
    terminal: Terminal,
    /,
    checkpoint: Path | None,
    corpora: tuple[str, ...],
    given: Path | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    fail_on: str | None,
    reports: Reports,
    html: Path | None,
    init: bool,
    explain: bool,
) -> int:
    """Judge CHECKPOINT, or the one that the policy names, by every step that the policy asks for.

    check always; scan where the policy has a table [data], fuzz where it has [encoder], whose code runs, smoke where
    it has [smoke], and quality where [quality] names texts. A step that errors of another made useless is left out;
    one that cannot run here is an error, unless the policy calls it optional. One report, with the formats and exit
    codes of check.
    """
    from gte_surgery.findings import Severity
    from gte_surgery.gate.jobs import jobs
    from gte_surgery.gate.policies import over, policy_of
    from gte_surgery.gate.run import chosen, run

    if (init or explain) and (html or reports.are_asked_for):
        raise click.UsageError("--init and --explain judge nothing, so there is no report to write")
    if init:
        return _init(terminal, checkpoint, corpora, given)
    if corpora:
        raise click.UsageError("DATA goes with --init only; the policy's [data] names what is scanned")
    policy = policy_of((checkpoint,) if checkpoint else (), given)
    place = _checkpoint(checkpoint, policy, given)
    steps = chosen(jobs(place, policy), only, skip)
    bar = Severity[fail_on.upper()] if fail_on else policy.fail_on or Severity.ERROR
    if explain:
        from gte_surgery.render.gate import explained

        told = [(job.name, job.told, job.is_optional) for job in steps]
        terminal.result(explained(policy.source, told, bar, policy.suppressions))
        return exits.GOOD
    require_page(html, place)
    reports.require_free(place)
    report = replace(run(place, steps, policy, terminal), passed_over=over(place, policy))
    _tell(terminal, report, html, place)
    return reports.deliver(report, bar, place)


def _checkpoint(typed: Path | None, policy: Policy, given: Path | None) -> Path:
    """The checkpoint to judge. Raises UsageError where none is named, or where the policy came with it."""
    place = typed or policy.checkpoint
    if place is None:
        said = (
            f"{policy.source}: names no checkpoint"
            if policy.source
            else "no checkpoint: none is typed, and no policy is here"
        )
        raise UsageError(said, "`gte-surgery gate CKPT`, or `gte-surgery gate --init CKPT` to write a policy")
    if given is None and policy.source and policy.folder.resolve().is_relative_to(place.resolve()):
        raise UsageError(
            f"{policy.source}: lies in the checkpoint, which cannot excuse itself", "--policy FILE if you trust it"
        )
    return place


def _tell(terminal: Terminal, report: Report, html: Path | None, read: Path) -> None:
    """Which policy applied, on stderr; and the page, where one is wanted."""
    from gte_surgery.checkpoint.hub.address import address_of
    from gte_surgery.checkpoint.printable import pasteable
    from gte_surgery.render.formats.report import policy_lines

    for line in policy_lines(report) or [
        f"policy: none; {pasteable('gate', str(address_of(read) or read), '--init')} writes one"
    ]:
        terminal.message(line)
    if html is not None:
        from gte_surgery.gate.codes import all_codes
        from gte_surgery.outputs import write_output
        from gte_surgery.render.gate import gate_html

        write_output(html, gate_html(report, all_codes()), (read,))


def _init(terminal: Terminal, checkpoint: Path | None, corpora: tuple[str, ...], given: Path | None) -> int:
    from gte_surgery.checkpoint.directory import open_found
    from gte_surgery.checks.policy import POLICY_NAME
    from gte_surgery.gate.draft import draft
    from gte_surgery.outputs import write_output

    if checkpoint is None:
        raise UsageError("--init: no checkpoint", "`gte-surgery gate --init CKPT` reads one to write the policy")
    path = given or Path(POLICY_NAME)
    if path.exists():
        raise RefusedError(f"{path}: is there already, is not overwritten", "--policy FILE writes elsewhere")
    text = draft(open_found(checkpoint), checkpoint, corpora, path.parent)
    write_output(path, text, (checkpoint,))
    terminal.message(f"wrote {path}; `gte-surgery gate --explain` tells what it asks for")
    return exits.GOOD
