"""`gte-surgery new`: a checkpoint from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gte_surgery.cli.completion import offering, releases
from gte_surgery.cli.operate import operate
from gte_surgery.cli.options import PATH, example, seed_option, size, together, writing_options
from gte_surgery.cli.terminal import Terminal, pass_terminal

_SIZES = (
    ("--vocab", "N", "Vocabulary size."),
    ("--pad", "ID", "Pad id; its row is zero."),
    ("--type-vocab", "T", "Type vocabulary size."),
    ("--layers", "L", "Number of layers."),
    ("--hidden", "H", "Hidden size."),
    ("--heads", "A", "Number of attention heads."),
    ("--intermediate", "I", "Width of the feed-forward."),
    ("--max-positions", "P", "Longest input."),
)


@click.command(
    "new",
    short_help="Make a checkpoint from scratch.",
    epilog=example("gte-surgery new small/ --release gte-multilingual-base --vocab 32000 --pad 0"),
)
@click.argument("out", type=PATH)
@click.option(
    "--release",
    required=True,
    metavar="NAME",
    help="The published release whose structure to take.",
    shell_complete=offering(releases),
)
@together(
    *(
        click.option(name, type=int, metavar=letter, help=f"{text}  [default: as released]")
        for name, letter, text in _SIZES
    )
)
@click.option("--head", type=click.Choice(["none", "mlm", "classifier", "reranker"]), help="Another head.")
@click.option("--dtype", type=click.Choice(["F32", "F16", "BF16"]), help="Another dtype.")
@click.option(
    "--dialect", type=click.Choice(["native", "remote"]), default="native", show_default=True, help="Of config.json."
)
@seed_option
@click.option(
    "--shard-size", type=size, metavar="SIZE", help="Split the weights into files of at most this: 5GB, 500MiB."
)
@writing_options
@pass_terminal
def command(terminal: Terminal, /, out: Path, as_json: bool, **edit: Any) -> None:
    """Make a checkpoint in OUT with fresh weights by the model's own rules, streamed to disk.

    The same seed gives the same bytes on every machine.
    """
    from gte_surgery.surgery.verbs import new

    operate(terminal, new, out, as_json, edit)
