"""Where the reports of `check` go: `--format` may be given several times, each with the `--output` that follows it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gte_surgery.cli.terminal import Terminal
from gte_surgery.outputs import require_output, write_output

if TYPE_CHECKING:
    from gte_surgery.findings import Report, Severity

FORMATS = ("text", "json", "sarif", "junit", "github", "markdown")
_ORDER = "gte_surgery.cli.reports.order"


@dataclass(frozen=True, slots=True)
class Destination:
    """A format, and the file that it is written to; None or "-" is stdout."""

    form: str
    path: Path | None = None

    @property
    def is_stdout(self) -> bool:
        return self.path is None or str(self.path) == "-"


class OrderedCommand(click.Command):
    """A command that remembers in which order its options stood, which click forgets once it has parsed them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[_ORDER] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


def destinations(ctx: click.Context, forms: Sequence[str], outputs: Sequence[Path]) -> tuple[Destination, ...]:
    """Each format with the `--output` that follows it, or stdout; an output before any format belongs to the first.

    Without a format: annotations inside GitHub Actions, text elsewhere. Raises click.UsageError for an output too many,
    and for two formats on stdout.
    """
    if not forms:
        usual = "github" if os.environ.get("GITHUB_ACTIONS") == "true" and not outputs else "text"
        forms = (usual,)
    order = [name for name in ctx.meta[_ORDER] if name in ("form", "output")]
    found = [Destination(form) for form in forms]
    for before, path in _outputs(order, outputs):
        at = max(0, before - 1)
        if found[at].path is not None:
            raise click.UsageError(f"--output {path}: the format {found[at].form} has an output already", ctx)
        found[at] = replace(found[at], path=path)
    if sum(each.is_stdout for each in found) > 1:
        raise click.UsageError("two formats go to stdout; give all but one of them an --output", ctx)
    return tuple(found)


def _outputs(order: Sequence[str], outputs: Sequence[Path]) -> list[tuple[int, Path]]:
    """Each output with the number of formats that stand before it."""
    counts = [order[:place].count("form") for place, name in enumerate(order) if name == "output"]
    return list(zip(counts, outputs, strict=True))


def require_destinations(places: Sequence[Destination], checkpoint: Path) -> None:
    """Raises RefusedError when one of them is a link or a file of the checkpoint."""
    for place in places:
        if place.path is not None and not place.is_stdout:
            require_output(place.path, (checkpoint,))


def deliver(
    report: Report, fail_on: Severity, places: Sequence[Destination], checkpoint: Path, terminal: Terminal
) -> None:
    """Writes the report about a checkpoint in each format to its place. Raises OSError and RefusedError."""
    for place in places:
        if place.is_stdout:
            terminal.result(rendered(report, place.form, fail_on, terminal.has_color))
        elif place.path is not None:
            write_output(place.path, rendered(report, place.form, fail_on, color=False) + "\n", (checkpoint,))


def rendered(report: Report, form: str, fail_on: Severity, color: bool) -> str:
    """The report in one of `FORMATS`; `fail_on` is the severity from which a JUnit test case fails."""
    from gte_surgery import __version__
    from gte_surgery.checks.registry import all_rules

    match form:
        case "json":
            from gte_surgery.render.formats.report import report_json

            return report_json(report)
        case "sarif":
            from gte_surgery.render.formats.sarif import report_sarif

            return report_sarif(report, tuple(all_rules().values()), __version__)
        case "junit":
            from gte_surgery.render.formats.junit import report_junit

            return report_junit(report, tuple(all_rules().values()), fail_on)
        case "github":
            from gte_surgery.render.formats.github import report_github

            return report_github(report)
        case "markdown":
            from gte_surgery.render.formats.markdown import report_markdown

            return report_markdown(report)
        case _:
            from gte_surgery.render.formats.report import report_text

            return report_text(report, color)
