"""`gte-surgery history`: the receipts of past surgeries."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli.options import checkpoint_argument, example, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command(
    "history", short_help="Tell which surgeries a checkpoint has had.", epilog=example("gte-surgery history ckpt/")
)
@checkpoint_argument
@json_option
@pass_terminal
def command(terminal: Terminal, checkpoint: Path, as_json: bool) -> None:
    """Tell which surgeries CHECKPOINT has had, oldest first, from the receipts that it carries."""
    from gte_surgery.render.receipts import history_json, history_text
    from gte_surgery.surgery.verbs import history

    receipts = history(checkpoint)
    terminal.result(history_json(receipts) if as_json else history_text(receipts, terminal.has_color))
