"""`gte-surgery recover`: settles an interrupted surgery."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli.options import checkpoint_argument, example, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command("recover", short_help="Settle an interrupted surgery.", epilog=example("gte-surgery recover ckpt/"))
@checkpoint_argument
@click.option("--dry-run", is_flag=True, help="Only show what it would do, and to which files.")
@click.option(
    "--force", is_flag=True, help="Forward, whoever began it, and whatever was saved since; undo brings that back."
)
@json_option
@pass_terminal
def command(terminal: Terminal, checkpoint: Path, dry_run: bool, force: bool, as_json: bool) -> None:
    """Settle what an interrupted surgery left in CHECKPOINT: forward if it was committed, back if not.

    Back as well where another program has saved into the checkpoint since. A surgery that another user began, or that
    began on another machine, is followed with --force alone. May itself be interrupted and run again. Nothing to settle
    is good too.
    """
    from gte_surgery.render.settled import recovered_json, recovered_text
    from gte_surgery.surgery.verbs import expected_recovery, recover

    recovery, names = expected_recovery(checkpoint) if dry_run else (recover(checkpoint, force=force), None)
    text = recovered_text(checkpoint, recovery, names, terminal.has_color)
    terminal.result(recovered_json(checkpoint, recovery, names) if as_json else text)
