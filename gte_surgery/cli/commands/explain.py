"""`gte-surgery explain`: what a rule is about."""

from __future__ import annotations

import click

from gte_surgery.cli.completion import codes, offering
from gte_surgery.cli.options import example
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command("explain", short_help="Explain a rule.", epilog=example("gte-surgery explain GTE203"))
@click.argument("code", shell_complete=offering(codes))
@pass_terminal
def command(terminal: Terminal, code: str) -> None:
    """Explain the rule CODE: what it looks for, why that matters, what to do."""
    from gte_surgery.checks.run import LISTED, nearest_code
    from gte_surgery.errors import UsageError
    from gte_surgery.gate.codes import all_codes
    from gte_surgery.render.rules import rule_text

    rule = all_codes().get(code.upper())
    if rule is None:
        raise UsageError(f"{code}: no rule has this code", LISTED, code, nearest_code(code, all_codes()))
    terminal.result(rule_text(rule, terminal.has_color))
