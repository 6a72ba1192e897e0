"""`gte-surgery reinit`: fresh weights by the model's own rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gte_surgery.cli.operate import operate
from gte_surgery.cli.options import checkpoint_argument, editing_options, example, seed_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command(
    "reinit",
    short_help="Draw weights anew, all or some.",
    epilog=example(
        "gte-surgery reinit ckpt/ --seed 7 --out scratch/",
        "gte-surgery reinit ckpt/ --only 'encoder.layer.11.*' --only 'lm_head.*' --dry-run",
    ),
)
@checkpoint_argument
@click.option(
    "--only",
    multiple=True,
    metavar="GLOB",
    callback=lambda ctx, param, value: value or None,
    help="Only tensors whose stored or canonical name matches; may be given more than once.  [default: all]",
)
@seed_option
@editing_options
@pass_terminal
def command(terminal: Terminal, /, checkpoint: Path, as_json: bool, **edit: Any) -> None:
    """Give CHECKPOINT fresh weights by the model's own rules, in place or into --out.

    Linear and embedding weights are drawn from N(0, initializer_range), biases are 0, norms 1 and 0, the pad row is 0.
    With one seed the numbers are those of `new`, in whatever layout they are stored. Tensors that no GTE has are
    carried along untouched.
    """
    from gte_surgery.surgery.verbs import reinit

    operate(terminal, reinit, checkpoint, as_json, edit)
