"""Where reports go: `--format` may be given several times, each with the `--output` that follows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gte_surgery.cli import exits
from gte_surgery.cli.options import OUTPUT, json_option, together
from gte_surgery.cli.terminal import Terminal
from gte_surgery.outputs import require_output, write_output

if TYPE_CHECKING:
    from gte_surgery.findings import Report, Severity

FORMATS = ("text", "json", "sarif", "junit", "github", "markdown")
_ORDER = "gte_surgery.cli.reports.order"


class Destination(NamedTuple):
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
    """Each format, `--json` being one, with the `--output` that follows it, or stdout; an output before any format
    belongs to the first.

    Without a format: annotations inside GitHub Actions, text elsewhere. Raises click.UsageError for an output too many,
    and for two formats on stdout.
    """
    order, typed = ctx.meta[_ORDER], {"form": iter(forms), "as_json": repeat("json")}
    found = [Destination(next(typed[name])) for name in order if name in typed]
    if not found:
        found = [Destination("github" if os.environ.get("GITHUB_ACTIONS") == "true" and not outputs else "text")]
    for place, path in zip((at for at, name in enumerate(order) if name == "output"), outputs, strict=True):
        at = max(0, sum(name in typed for name in order[:place]) - 1)
        if found[at].path is not None:
            raise click.UsageError(f"--output {path}: the format {found[at].form} has an output already")
        found[at] = found[at]._replace(path=path)
    found = list(dict.fromkeys(found))
    if sum(each.is_stdout for each in found) > 1:
        raise click.UsageError("two formats go to stdout; give all but one of them an --output")
    return tuple(found)


class Reports(NamedTuple):
    """The destinations that a command was given, and its terminal; commands get one from `reporting_options`."""

    places: tuple[Destination, ...]
    terminal: Terminal
    command: str

    @property
    def tells_text(self) -> bool:
        """Whether one of them is text on stdout."""
        return any(place.is_stdout and place.form == "text" for place in self.places)

    @property
    def are_asked_for(self) -> bool:
        """Whether anything was typed but what goes to stdout anyway."""
        return any(place.path is not None or place.form not in ("text", "github") for place in self.places)

    def require_free(self, *read: Path) -> None:
        """Raises RefusedError when one of the places is a link or a file of what is read."""
        for place in self.places:
            if place.path is not None and not place.is_stdout:
                require_output(place.path, read)

    def deliver(
        self,
        report: Report,
        bar: Severity,
        *read: Path,
        own: Mapping[str, Callable[[bool], str]] = MappingProxyType({}),
        worst: Severity | None = None,
    ) -> int:
        """Writes the report about what was read in each format to its place; `own` has the formats that a command
        renders itself, given whether in colour. The exit code tells whether the worst finding, also of those that the
        report leaves out, is as bad as the bar. Raises OSError and RefusedError.
        """
        worst = report.worst if worst is None else worst
        for place in self.places:
            has_color = place.is_stdout and self.terminal.has_color
            made = own.get(place.form) or partial(rendered, report, place.form, bar, command=self.command)
            text = made(has_color)
            if place.is_stdout:
                self.terminal.result(text)
            elif place.path is not None:
                write_output(place.path, text + "\n", read)
        return exits.FINDINGS if worst is not None and worst >= bar else exits.GOOD


def reporting_options(command: Callable[..., int]) -> Callable[..., int]:
    """--format, --output and --json, from which the command gets its `reports`."""

    @together(*_OPTIONS)
    @click.pass_context
    @wraps(command)
    def given(
        ctx: click.Context, /, *args: Any, form: tuple[str, ...], output: tuple[Path, ...], as_json: bool, **rest: Any
    ) -> int:
        places = destinations(ctx, form, output)
        return command(*args, reports=Reports(places, ctx.ensure_object(Terminal), ctx.command.name or ""), **rest)

    return given


def fail_on_option(usual: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """--fail-on; `usual` tells what applies without it."""
    return click.option(
        "--fail-on",
        type=click.Choice(["error", "warning", "note"]),
        help=f"Exit with 1 when a finding is at least this bad.  [default: {usual}]",
    )


_OPTIONS = (
    click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        multiple=True,
        help="How to write the report; may be repeated.  [default: text; github inside GitHub Actions]",
    ),
    click.option(
        "--output",
        "-o",
        type=OUTPUT,
        multiple=True,
        help="Write the --format before it to this file.",
    ),
    json_option,
)


def rendered(report: Report, form: str, fail_on: Severity, color: bool, command: str = "check") -> str:
    """The report of a command in one of `FORMATS`; `fail_on` is the severity from which a JUnit test case fails."""
    from gte_surgery.gate.codes import all_codes

    match form:
        case "json":
            from gte_surgery.render.formats.report import report_json

            return report_json(report)
        case "sarif":
            from gte_surgery.render.formats.sarif import report_sarif

            return report_sarif(report, tuple(all_codes().values()))
        case "junit":
            from gte_surgery.render.formats.junit import report_junit

            return report_junit(report, tuple(all_codes().values()), fail_on, command)
        case "github":
            from gte_surgery.render.formats.github import report_github

            return report_github(report)
        case "markdown":
            from gte_surgery.render.formats.markdown import report_markdown

            return report_markdown(report, command)
        case _:
            from gte_surgery.render.formats.report import report_text

            return report_text(report, color, fail_on)
