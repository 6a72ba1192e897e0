"""`gte-surgery undo`: back to what a checkpoint was before its last surgery."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli.options import checkpoint_argument, example, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command("undo", short_help="Take back the last surgery.", epilog=example("gte-surgery undo ckpt/"))
@checkpoint_argument
@json_option
@pass_terminal
def command(terminal: Terminal, checkpoint: Path, as_json: bool) -> None:
    """Take back the last surgery on CHECKPOINT. Undoing twice is redoing.

    One previous generation is kept, in CHECKPOINT/.gte-surgery; a surgery with --no-undo keeps none.
    """
    from gte_surgery.render.settled import undone_json, undone_text
    from gte_surgery.surgery.verbs import undo

    names = undo(checkpoint)
    terminal.result(undone_json(checkpoint, names) if as_json else undone_text(checkpoint, names, terminal.has_color))
