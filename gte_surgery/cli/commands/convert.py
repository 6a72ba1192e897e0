"""`gte-surgery convert`: another dialect, dtype, sharding or tensor layout of the same network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gte_surgery.cli.operate import operate
from gte_surgery.cli.options import checkpoint_argument, editing_options, example, size, training_state_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command(
    "convert",
    short_help="Change dialect, dtype, sharding, tensor names or head.",
    epilog=example(
        "gte-surgery convert ckpt/ --to native",
        "gte-surgery convert ckpt/ --dtype BF16 --shard-size 5GB --out small/",
    ),
)
@checkpoint_argument
@click.option(
    "--to",
    type=click.Choice(["native", "remote"]),
    help="The config dialect: native for transformers 5.18 and later, remote for the published code.",
)
@click.option("--dtype", type=click.Choice(["F32", "F16", "BF16"]), help="Cast float tensors; others stay.")
@click.option(
    "--shard-size",
    type=size,
    metavar="SIZE",
    help="Bytes of tensors per file, such as 5GB; all in one file if they fit.",
)
@click.option(
    "--layout",
    type=click.Choice(["a", "b", "d", "f"]),
    help="The tensor names, by the letters that `inspect --json` shows.  [default: the dialect's own]",
)
@click.option("--allow-overflow", is_flag=True, help="Let numbers too large for the dtype become infinite.")
@click.option("--strip-prefix", metavar="PREFIX", help="Take this wrapper's prefix off every tensor name.")
@click.option("--drop", multiple=True, metavar="GLOB", help="Leave out tensors of these names; may be repeated.")
@click.option(
    "--head", type=click.Choice(["none", "mlm", "classifier", "reranker"]), help="Another head, drawn anew, or none."
)
@click.option("--seed", type=int, metavar="S", help="Seed of the head that is drawn.  [default: 0]")
@training_state_option
@editing_options
@pass_terminal
def command(terminal: Terminal, /, checkpoint: Path, as_json: bool, **edit: Any) -> None:
    """Convert CHECKPOINT exactly, in place or into --out.

    Between dialects the rope is expressed with all its digits, and tensors are rewritten only where they must be:
    split q, k, v packed, damaged prefixes mended, a decoder weight that equals the embeddings dropped. What a dialect
    cannot express is refused. With --head, tensors that the old head and the new one both have stay as they are;
    the others are what `new` with the same seed would make.
    """
    from gte_surgery.surgery.verbs import convert

    operate(terminal, convert, checkpoint, as_json, edit)
