"""`gte-surgery remap`: a new vocabulary made of chosen rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gte_surgery.cli.operate import operate
from gte_surgery.cli.options import (
    PATH,
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
    "remap",
    short_help="Make a new vocabulary of chosen rows.",
    epilog=example(
        "gte-surgery remap ckpt/ --keep ids.txt --round-to 64 --dry-run",
        "gte-surgery remap ckpt/ --map new-to-old.json --pad 0 --init mean --out small/",
        "gte-surgery remap ckpt/ --to-tokenizer mine/tokenizer.json --init mean",
    ),
)
@checkpoint_argument
@click.option("--map", type=PATH, metavar="FILE", help="Old id by new id: a JSON object, lines with a tab, or a .npy.")
@click.option("--keep", type=PATH, metavar="FILE", help="Old ids to keep, in their order: lines, a JSON list, a .npy.")
@click.option("--to-tokenizer", type=PATH, metavar="FILE", help="The tokenizer.json whose tokens get the rows.")
@click.option(
    "--from-tokenizer",
    type=PATH,
    metavar="FILE",
    help="The tokenizer.json whose tokens have the rows now.  [default: the checkpoint's own]",
)
@click.option("--pad", type=int, metavar="ID", help="The new pad id; its row becomes zero.  [default: after the map]")
@click.option("--vocab", type=int, metavar="N", help="Make so many rows.  [default: as many as the map names]")
@round_to_option
@init_option
@click.option("--allow-repeats", is_flag=True, help="Let several new ids have the same old row.")
@role_options
@tokenizer_option("rewrite", "keep", "remove")
@seed_option
@training_state_option
@editing_options
@pass_terminal
def command(terminal: Terminal, /, checkpoint: Path, as_json: bool, **edit: Any) -> None:
    """Give CHECKPOINT a vocabulary made of chosen rows, in place or into --out.

    Name the rows by one of --map, --keep and --to-tokenizer. Between tokenizers, shared tokens keep their rows, and
    new ones get the mean of the rows of the pieces that the old tokenizer cuts them into. Heads, the pad id, the
    special ids in config.json and the tokenizer's files follow; --to-tokenizer installs that tokenizer.
    """
    from gte_surgery.surgery.verbs import remap

    operate(terminal, remap, checkpoint, as_json, edit)
