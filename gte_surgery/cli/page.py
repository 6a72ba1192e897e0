"""`--html`: the page about a checkpoint, for `inspect` and `check`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gte_surgery.cli.options import OUTPUT, Function
from gte_surgery.cli.terminal import Terminal
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.outputs import require_output, write_output

if TYPE_CHECKING:
    from gte_surgery.checkpoint.directory import Checkpoint
    from gte_surgery.findings import Report


def html_option(text: str) -> Callable[[Function], Function]:
    """--html, with what the page of a command is."""
    return click.option("--html", type=OUTPUT, metavar="FILE", help=text)


plots_option = html_option("Also write a page with plots here; reads all weights.")


def require_page(path: Path | None, *read: Path) -> None:
    """Raises RefusedError when a page is wanted at a path where it may not stand, or cannot be drawn; `read` are the
    files of this command."""
    if path is None:
        return
    from importlib.util import find_spec

    require_output(path, read)
    if find_spec("jinja2") is None:
        raise RefusedError("jinja2: not installed, --html needs it", "`pip install 'gte-surgery[report]'`")


def write_page(terminal: Terminal, path: Path, checkpoint: Checkpoint, report: Report | None = None) -> None:
    """Writes the page about a checkpoint, with the findings of `report` if there is one. Raises OSError, and
    CheckpointError when the weights change under our hands."""
    from gte_surgery.checks.description import describe
    from gte_surgery.checks.registry import all_rules
    from gte_surgery.compare.portrait import portray
    from gte_surgery.render.formats.html import page_html

    try:
        with terminal.progress("reading") as progress:
            portrait = portray(checkpoint, progress)
    except EOFError as error:
        raise CheckpointError(f"{checkpoint.name}: changed while it was read: {error}") from None
    text = page_html(describe(checkpoint), portrait, report, all_rules())
    write_output(path, text, (checkpoint.path,))
