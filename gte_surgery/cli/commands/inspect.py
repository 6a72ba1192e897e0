"""`gte-surgery inspect`: what a checkpoint is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gte_surgery.cli.options import example, form_of, form_option, json_option
from gte_surgery.cli.page import plots_option, require_page, write_page
from gte_surgery.cli.several import checkpoints_argument, each_of, jobs_option, require_one
from gte_surgery.cli.terminal import Terminal, pass_terminal

if TYPE_CHECKING:
    from gte_surgery.checkpoint.directory import Checkpoint
    from gte_surgery.checks.description import Description
    from gte_surgery.render.description import LoneAdapter


@click.command(
    "inspect",
    short_help="Tell what a checkpoint is.",
    epilog=example("gte-surgery inspect ckpt/", "gte-surgery inspect runs/*/checkpoint-*"),
)
@checkpoints_argument
@json_option
@form_option("cyclonedx")
@click.option("--tensors", is_flag=True, help="List every tensor as well.")
@plots_option
@jobs_option
@pass_terminal
def command(
    terminal: Terminal,
    /,
    checkpoints: tuple[Path, ...],
    as_json: bool,
    form: str | None,
    tensors: bool,
    html: Path | None,
    jobs: int,
) -> None:
    """Tell what each CHECKPOINT is: release, dialect, names, head, sizes, vocabulary, pad row, rope, files.

    Reads JSON, headers and single rows; a whole tensor only for --html. Of several checkpoints each is told in a line,
    and in full where it has faults; as JSON they are a list. Of an adapter of PEFT: which base it is of, and whether
    its tables fit that base's vocabulary. As cyclonedx one is a CycloneDX 1.6 ML-BOM, with the hashes that receipts
    keep.
    """
    from gte_surgery.render.description import description_json, description_text

    chosen = form_of(form, as_json)
    require_one(checkpoints, ("--html", html), ("--format cyclonedx", chosen == "cyclonedx"))
    require_page(html, *checkpoints)
    if html is not None:
        write_page(terminal, html, _opened(checkpoints[0]))
    if chosen == "cyclonedx":
        terminal.result(_bill(checkpoints[0]))
        return
    found = each_of(_told, checkpoints, jobs)
    if chosen == "json":
        terminal.result(description_json(*found, has_tensors=tensors))
    else:
        terminal.result(description_text(*found, has_tensors=tensors, color=terminal.has_color))


def _told(checkpoint: Path) -> Description | LoneAdapter:
    """What the folder holds: a model, or an adapter of PEFT alone."""
    from gte_surgery.checkpoint.directory import adapter_in

    alone = adapter_in(checkpoint)
    return _described(checkpoint) if alone is None else (str(checkpoint), alone)


def _described(checkpoint: Path) -> Description:
    from gte_surgery.checks.description import describe

    return describe(_opened(checkpoint))


def _bill(checkpoint: Path) -> str:
    """Of all files but bills, of which the one that is being written may be there already."""
    from dataclasses import replace

    from gte_surgery.checkpoint.receipts import receipts_of
    from gte_surgery.checks.signature import is_bill
    from gte_surgery.render.formats.provenance import bill_of_materials

    found = _described(checkpoint)
    described = replace(found, files=tuple(file for file in found.files if not is_bill(file.name)))
    return bill_of_materials(described, receipts_of(_opened(checkpoint)))


def _opened(checkpoint: Path) -> Checkpoint:
    from gte_surgery.checkpoint.directory import open_found

    return open_found(checkpoint)
