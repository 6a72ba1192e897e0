"""`gte-surgery undo`: back to what a checkpoint was before its last surgery."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli.options import checkpoint_argument, example, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command("undo", short_help="Take back the last surgery.", epilog=example("gte-surgery undo ckpt/"))
@checkpoint_argument
@click.option(
    "--force", is_flag=True, help="Also where files were saved since; they are kept, and undo brings them back."
)
@click.option("--verify", is_flag=True, help="Tell files that were saved since by their content, not by size and time.")
@click.option("--drop", is_flag=True, help="Undo nothing: free what is kept for it.")
@json_option
@pass_terminal
def command(terminal: Terminal, checkpoint: Path, force: bool, verify: bool, drop: bool, as_json: bool) -> None:
    """Take back the last surgery on CHECKPOINT. Undoing twice is redoing.

    One previous generation is kept, in CHECKPOINT/.gte-surgery; a surgery with --no-undo keeps none, and --out takes
    none along. A copy of the directory copies it: --drop frees it. Files that were saved after the surgery, such as
    weights that were trained on, are not taken away unless by --force.
    """
    from gte_surgery.checkpoint.listing import kept_for_undo
    from gte_surgery.errors import UsageError
    from gte_surgery.render.settled import dropped_text, undone_json, undone_text
    from gte_surgery.surgery.verbs import drop_undo, undo

    if drop and (force or verify):
        raise UsageError("--drop: undoes nothing, goes with neither --force nor --verify")
    if drop:
        _, nbytes = kept_for_undo(checkpoint)
        freed = drop_undo(checkpoint)
        terminal.result(undone_json(checkpoint, (), "dropped") if as_json else dropped_text(checkpoint, freed, nbytes))
        return
    names = undo(checkpoint, force=force, verify=verify)
    did = "redone" if names.is_redo else "undone"
    terminal.result(
        undone_json(checkpoint, names, did) if as_json else undone_text(checkpoint, names, did, terminal.has_color)
    )
