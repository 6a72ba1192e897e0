"""`gte-surgery history`: the receipts of past surgeries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from gte_surgery.cli.options import checkpoint_argument, example, form_of, form_option, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal
from gte_surgery.errors import RefusedError


@click.command(
    "history",
    short_help="Tell which surgeries a checkpoint has had.",
    epilog=example("gte-surgery history ckpt/", "gte-surgery history ckpt/ --format in-toto > ckpt.intoto.jsonl"),
)
@checkpoint_argument
@json_option
@form_option("in-toto")
@pass_terminal
def command(terminal: Terminal, /, checkpoint: Path, as_json: bool, form: str | None) -> None:
    """Tell which surgeries CHECKPOINT has had, oldest first, from the receipts that it carries.

    As in-toto each is a line: a Statement v1 with SLSA provenance v1, about the files that it wrote, by their SHA-256.
    Nothing is hashed for it.
    """
    from gte_surgery.render.settled import history_json, history_text
    from gte_surgery.surgery.verbs import history

    chosen, receipts = form_of(form, as_json), history(checkpoint)
    if chosen == "in-toto":
        _tell_statements(terminal, checkpoint, receipts)
    else:
        terminal.result(history_json(receipts) if chosen == "json" else history_text(receipts, terminal.has_color))


def _tell_statements(terminal: Terminal, checkpoint: Path, receipts: Sequence[Mapping[str, object]]) -> None:
    from gte_surgery.render.formats.provenance import statements

    lines = statements(receipts)
    if not lines:
        raise RefusedError(
            f"{checkpoint}: no receipt with a SHA-256, and a statement is about files by their hashes",
            "surgeries keep hashes unless --no-hash forbids it",
        )
    if silent := len(receipts) - len(lines):
        terminal.message(f"{silent} of {len(receipts)} surgeries left out: their receipts have no hashes")
    terminal.result("\n".join(lines))
