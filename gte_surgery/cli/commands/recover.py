"""`gte-surgery recover`: settles an interrupted surgery."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli.options import checkpoint_argument, example, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command("recover", short_help="Settle an interrupted surgery.", epilog=example("gte-surgery recover ckpt/"))
@checkpoint_argument
@json_option
@pass_terminal
def command(terminal: Terminal, checkpoint: Path, as_json: bool) -> None:
    """Settle what an interrupted surgery left in CHECKPOINT: forward if it was committed, back if not.

    May itself be interrupted and run again. Nothing to settle is good too.
    """
    from gte_surgery.render.settled import recovered_json, recovered_text
    from gte_surgery.surgery.verbs import recover

    recovery = recover(checkpoint)
    if as_json:
        terminal.result(recovered_json(checkpoint, recovery))
    else:
        terminal.result(recovered_text(checkpoint, recovery, terminal.has_color))
