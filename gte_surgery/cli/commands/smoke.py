"""`gte-surgery smoke`: the forward, and the backward, that proves a checkpoint on a device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from gte_surgery.cli import exits
from gte_surgery.cli.extras import missing
from gte_surgery.cli.options import checkpoint_argument, example, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    "smoke",
    short_help="Prove a checkpoint by running it.",
    epilog=example(
        "gte-surgery smoke ckpt/ --attention all --train 3",
        "gte-surgery smoke small/ --against ckpt/ --device cpu",
        "torchrun --nproc_per_node=2 -m gte_surgery smoke ckpt/ --train 3",
    ),
)
@checkpoint_argument
@click.option("--device", default="cuda", show_default=True, help="Where to run: cuda, cuda:1, cpu.")
@click.option("--dtype", default="auto", show_default=True, metavar="NAMES", help="auto, or of fp32,fp16,bf16.")
@click.option(
    "--attention",
    type=click.Choice(["auto", "all", "xformers", "varlen", "sdpa", "eager"]),
    default="auto",
    show_default=True,
    help="The fastest backend that works, every one, or this one.",
)
@click.option("--batch", type=int, default=16, show_default=True, metavar="ROWS", help="Rows of the batch.")
@click.option("--max-length", type=int, default=512, show_default=True, metavar="N", help="Tokens of its longest row.")
@click.option(
    "--task",
    type=click.Choice(["embed", "mlm", "regression"]),
    default="embed",
    show_default=True,
    help="What to train: embeddings, masked tokens, a linear head on the CLS state.",
)
@click.option("--train", type=int, default=0, show_default=True, metavar="STEPS", help="Take real training steps.")
@click.option("--compile", is_flag=True, help="Prove and time the compiled packed path as well.")
@click.option("--save-reference", type=_FILE, metavar="FILE", help="Save the batch and its embeddings.")
@click.option("--compare", type=_FILE, metavar="FILE", help="Compare with a saved reference.")
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="OLD", help="Prove instead what it preserves of this one."
)
@click.option("--map", type=_FILE, metavar="FILE", help="Old id by new id, where no receipt tells.")
@click.option(
    "--runtime",
    type=click.Choice(["native", "remote"]),
    default="native",
    show_default=True,
    help="transformers' own model, or the checkpoint's own code against it.",
)
@click.option("--trust-remote-code", is_flag=True, help="Allow the checkpoint's own code to run.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Seed of the batch.")
@json_option
@pass_terminal
def command(terminal: Terminal, /, checkpoint: Path, as_json: bool, **chosen: Any) -> int:
    """Run CHECKPOINT on a device and prove that it does what it should.

    Finite outputs, embeddings of length 1, packed as padded, indifferent to padding and row order, low precision near
    float32, a pad row that stays zero: each proof has a measured value and a tolerance. A failed one makes the exit
    code 1. Under torchrun every process proves on its own GPU, and they train together.

    With --against the proofs are others: what a surgery claimed, of the ids that its receipt or --map keeps.
    """
    from gte_surgery.render.smoke import smoke_json, smoke_text
    from gte_surgery.smoke.options import SmokeOptions

    options = SmokeOptions(**chosen)
    try:
        from gte_surgery.smoke.run import smoke
    except ImportError as error:
        raise missing(error, "smoke") from error
    is_first = os.environ.get("RANK", "0") == "0"
    result = smoke(checkpoint, options, terminal.message if is_first else None)
    if is_first:
        terminal.result(smoke_json(result) if as_json else smoke_text(result, terminal.has_color))
    return exits.GOOD if result.has_passed else exits.FINDINGS
