"""`gte-surgery rules`: every rule, one a line."""

from __future__ import annotations

import click

from gte_surgery.cli.options import example, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command("rules", short_help="List the rules.", epilog=example("gte-surgery rules"))
@json_option
@pass_terminal
def command(terminal: Terminal, as_json: bool) -> None:
    """List every code that a finding can have: of `check`, of batches and encoders, of smoke runs and of gates."""
    from gte_surgery.gate.codes import all_codes
    from gte_surgery.render.rules import rules_json, rules_text

    rules = tuple(all_codes().values())
    terminal.result(rules_json(rules) if as_json else rules_text(rules, terminal.has_color))
