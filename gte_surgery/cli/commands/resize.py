"""`gte-surgery resize`: another vocabulary size, pad id or type vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gte_surgery.cli.operate import operate
from gte_surgery.cli.options import (
    checkpoint_argument,
    editing_options,
    example,
    init_option,
    role_options,
    round_to_option,
    seed_option,
    tokenizer_option,
    training_state_option,
)
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command(
    "resize",
    short_help="Change vocabulary size, pad id or type vocabulary.",
    epilog=example(
        "gte-surgery resize ckpt/ --vocab 32000 --pad 0 --dry-run",
        "gte-surgery resize ckpt/ --vocab 32000 --pad 0 --out small/",
    ),
)
@checkpoint_argument
@click.option("--vocab", type=int, required=True, metavar="N", help="The vocabulary size wanted.")
@click.option("--pad", type=int, required=True, metavar="ID", help="The pad id wanted; its row becomes zero.")
@click.option("--type-vocab", type=int, metavar="T", help="The type vocabulary size wanted.  [default: as it is]")
@click.option(
    "--type-vocab-mode",
    type=click.Choice(["fold", "drop"]),
    default="fold",
    show_default=True,
    help="When the type table goes: add its row 0 to every word row first, or just drop it.",
)
@init_option
@click.option(
    "--new-from",
    type=int,
    metavar="ID",
    help="Kept rows from here on count as new.  [default: those of tokens that were put into a release's spare rows]",
)
@round_to_option
@click.option(
    "--old-pad",
    type=click.Choice(["keep", "normal"]),
    default="keep",
    show_default=True,
    help="What the former pad row becomes: keep its zeros, or draw it anew.",
)
@role_options
@tokenizer_option("keep", "remove")
@seed_option
@training_state_option
@editing_options
@pass_terminal
def command(terminal: Terminal, /, checkpoint: Path, as_json: bool, **edit: Any) -> None:
    """Give CHECKPOINT a vocabulary of N rows with pad id ID, in place or into --out.

    Shrinking keeps the first N rows. Everything not asked for stays to the byte. After a kill or a full disk
    at any point the checkpoint is exactly the old or exactly the new one.
    """
    from gte_surgery.surgery.verbs import resize

    operate(terminal, resize, checkpoint, as_json, edit)
