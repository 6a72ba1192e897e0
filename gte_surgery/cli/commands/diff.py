"""`gte-surgery diff`: what lies between two checkpoints, or two tokenizers."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli import exits
from gte_surgery.cli.options import PATH, example, json_option
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command(
    "diff",
    short_help="Compare two checkpoints, or tokenizers.",
    epilog=example(
        "gte-surgery diff before/ after/ --values",
        "gte-surgery diff before/tokenizer.json after/tokenizer.json --texts corpus.txt",
    ),
)
@click.argument("left", type=PATH)
@click.argument("right", type=PATH)
@click.option("--values", is_flag=True, help="Tell how far the numbers are apart, and which rows changed.")
@click.option("--brief", is_flag=True, help="Only whether they are equal; end at the first difference.")
@click.option("--tokenizers", is_flag=True, help="Compare their tokenizers alone.")
@click.option("--texts", type=PATH, multiple=True, metavar="FILE", help="Tell what these cost by both tokenizers.")
@click.option("--column", metavar="NAME", help="The column or key that holds the texts.  [default: text]")
@json_option
@pass_terminal
def command(
    terminal: Terminal,
    left: Path,
    right: Path,
    values: bool,
    brief: bool,
    tokenizers: bool,
    texts: tuple[Path, ...],
    column: str | None,
    as_json: bool,
) -> int:
    """Compare the checkpoints LEFT and RIGHT: configs by meaning, tensors by name, dtype, shape and bytes.

    Dialects, tensor names, packing and sharding make no difference: a checkpoint and its exact conversion are equal.
    Of two tokenizer.json, or with --tokenizers or --texts: whether one is the other with fewer tokens under new ids,
    which went and came, and what the texts cost by each. The exit code is 0 when they are equal and 1 when not.
    Nothing is changed.
    """
    if tokenizers or texts or left.suffix == right.suffix == ".json":
        if values or brief:
            raise click.UsageError("--values and --brief speak of tensors, and tokenizers are compared")
        return _compare_tokenizers(terminal, left, right, texts, column, as_json)
    from gte_surgery.compare.difference import diff
    from gte_surgery.render.difference import difference_json, difference_text, verdict_text

    with terminal.progress("comparing") as progress:
        found = diff(left, right, values=values, brief=brief, progress=progress)
    text = verdict_text if brief else difference_text
    terminal.result(difference_json(found) if as_json else text(found, terminal.has_color))
    return exits.GOOD if found.is_equal else exits.DIFFERENT


def _compare_tokenizers(
    terminal: Terminal, left: Path, right: Path, texts: tuple[Path, ...], column: str | None, as_json: bool
) -> int:
    from gte_surgery.compare.tokenizers import diff_tokenizers
    from gte_surgery.render.difference import tokenizers_json, tokenizers_text

    found = diff_tokenizers(left, right, texts=texts, column=column)
    terminal.result(tokenizers_json(found) if as_json else tokenizers_text(found, terminal.has_color))
    return exits.GOOD if found.is_equal else exits.DIFFERENT
