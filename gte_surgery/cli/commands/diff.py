"""`gte-surgery diff`: what lies between two checkpoints."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli import exits
from gte_surgery.cli.options import example, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command(
    "diff",
    short_help="Compare two checkpoints.",
    epilog=example("gte-surgery diff before/ after/ --values"),
)
@click.argument("left", type=click.Path(path_type=Path))
@click.argument("right", type=click.Path(path_type=Path))
@click.option("--values", is_flag=True, help="Tell how far the numbers are apart, and which rows changed.")
@click.option("--brief", is_flag=True, help="Only whether they are equal; end at the first difference.")
@json_option
@pass_terminal
def command(terminal: Terminal, left: Path, right: Path, values: bool, brief: bool, as_json: bool) -> int:
    """Compare the checkpoints LEFT and RIGHT: configs by meaning, tensors by name, dtype, shape and bytes.

    Dialects, tensor names, packing and sharding make no difference: a checkpoint and its exact conversion are equal.
    The exit code is 0 when they are equal and 1 when not. Nothing is changed.
    """
    from gte_surgery.compare.difference import diff
    from gte_surgery.render.difference import difference_json, difference_text, verdict_text

    with terminal.progress("comparing") as progress:
        found = diff(left, right, values=values, brief=brief, progress=progress)
    text = verdict_text if brief else difference_text
    terminal.result(difference_json(found) if as_json else text(found, terminal.has_color))
    return exits.GOOD if found.is_equal else exits.DIFFERENT
