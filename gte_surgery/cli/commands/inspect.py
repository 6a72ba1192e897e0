"""`gte-surgery inspect`: what a checkpoint is."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli.options import checkpoint_argument, example, json_option
from gte_surgery.cli.page import html_option, require_page, write_page
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command("inspect", short_help="Tell what a checkpoint is.", epilog=example("gte-surgery inspect ckpt/"))
@checkpoint_argument
@json_option
@click.option("--tensors", is_flag=True, help="List every tensor as well.")
@html_option
@pass_terminal
def command(terminal: Terminal, checkpoint: Path, as_json: bool, tensors: bool, html: Path | None) -> None:
    """Tell what CHECKPOINT is: release, dialect, names, head, sizes, vocabulary, pad row, rope, files.

    Reads JSON, headers and single rows; a whole tensor only for --html.
    """
    from gte_surgery.checkpoint.directory import open_found
    from gte_surgery.checks.description import describe
    from gte_surgery.render.description import description_json, description_text

    require_page(html, checkpoint)
    opened = open_found(checkpoint)
    description = describe(opened)
    if html is not None:
        write_page(terminal, html, opened)
    if as_json:
        terminal.result(description_json(description, tensors))
    else:
        terminal.result(description_text(description, tensors, terminal.has_color))
