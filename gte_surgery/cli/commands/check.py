"""`gte-surgery check`: the gate."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli import exits
from gte_surgery.cli.options import checkpoint_argument, example
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command(
    "check",
    short_help="Judge a checkpoint by every rule.",
    epilog=example("gte-surgery check ckpt/ --vocab 32000 --pad 0 --fail-on warning"),
)
@checkpoint_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to write the report.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to this file.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note"]),
    default="error",
    show_default=True,
    help="Exit with 1 when a finding is at least this bad.",
)
@click.option(
    "--select", multiple=True, metavar="CODES", help="Judge these rules only: codes or prefixes, comma apart."
)
@click.option("--ignore", multiple=True, metavar="CODES", help="Leave these rules out.")
@click.option("--vocab", type=int, metavar="N", help="Expect this vocabulary size.")
@click.option("--pad", type=int, metavar="ID", help="Expect this pad id.")
@click.option("--type-vocab", type=int, metavar="T", help="Expect this type vocabulary size.")
@pass_terminal
def command(
    terminal: Terminal,
    checkpoint: Path,
    form: str,
    output: Path | None,
    fail_on: str,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    vocab: int | None,
    pad: int | None,
    type_vocab: int | None,
) -> int:
    """Judge CHECKPOINT, a directory or a .safetensors file, by every rule.

    Reads JSON and headers only, so it takes a fraction of a second whatever the size. A finding at or above
    --fail-on makes the exit code 1. Expectations that do not hold are findings too.
    """
    from gte_surgery.checkpoint.directory import open_checkpoint
    from gte_surgery.checks.run import run
    from gte_surgery.checks.subject import Expectations
    from gte_surgery.findings import Severity
    from gte_surgery.render.report import report_json, report_text

    expectations = Expectations(vocab, pad, type_vocab)
    report = run(open_checkpoint(checkpoint), expectations, _codes(select), _codes(ignore))
    if output is not None:
        output.write_text((report_json(report) if form == "json" else report_text(report)) + "\n", encoding="utf-8")
    else:
        terminal.result(report_json(report) if form == "json" else report_text(report, terminal.has_color))
    is_bad = report.worst is not None and report.worst >= Severity[fail_on.upper()]
    return exits.FINDINGS if is_bad else exits.GOOD


def _codes(values: tuple[str, ...]) -> tuple[str, ...]:
    """Codes given one by one or several with commas between: ("GTE1,GTE203", "GTE0") → three."""
    return tuple(code.strip() for value in values for code in value.split(","))
