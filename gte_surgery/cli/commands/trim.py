"""`gte-surgery trim`: table, tokenizer and config cut together to what texts use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gte_surgery.cli.operate import operate
from gte_surgery.cli.options import (
    OUTPUT,
    PATH,
    checkpoint_argument,
    editing_options,
    example,
    round_to_option,
    seed_option,
    training_state_option,
)
from gte_surgery.cli.page import require_page
from gte_surgery.cli.terminal import Terminal, pass_terminal
from gte_surgery.outputs import write_output


@click.command(
    "trim",
    short_help="Cut vocabulary and tokenizer to what texts use.",
    epilog=example(
        "gte-surgery trim ckpt/ --texts corpus.txt --round-to 64 --dry-run",
        "gte-surgery trim ckpt/ --texts de.jsonl --texts fr.jsonl --held-out 0.1 --out small/",
        "gte-surgery trim ckpt/ --texts de.txt --weight 3 --texts en.txt --weight 1 --html curve.html --dry-run",
        "gte-surgery trim ckpt/ --counts used.tsv --top 32000 --out small/",
    ),
)
@checkpoint_argument
@click.option("--texts", type=PATH, multiple=True, metavar="FILE", help="Texts: lines, JSON lines, csv or parquet.")
@click.option(
    "--weight", type=int, multiple=True, metavar="N", help="Count each text of a file N times; one for each --texts."
)
@click.option("--column", metavar="NAME", help="The column or key that holds the texts.  [default: text]")
@click.option("--counts", type=PATH, multiple=True, metavar="FILE", help="Counts that `--write-counts` wrote.")
@click.option("--top", "--vocab", type=int, metavar="K", help="Keep K tokens in all, the most frequent ones.")
@click.option("--coverage", type=float, metavar="SHARE", help="Keep tokens that make up this share of all, as 0.9995.")
@click.option("--min-count", type=int, metavar="N", help="Keep tokens that occur N times.  [default: all that occur]")
@click.option("--keep-tokens", type=PATH, metavar="FILE", help="Tokens to keep whatever their count.")
@click.option(
    "--held-out", type=float, default=0.0, metavar="SHARE", help="Leave out this share of the texts, and tell."
)
@click.option("--write-counts", type=OUTPUT, metavar="FILE", help="Write how often each id occurs.")
@click.option("--html", type=OUTPUT, metavar="FILE", help="Also write a page with the curve of sizes here.")
@round_to_option
@training_state_option
@seed_option
@editing_options
@pass_terminal
def command(terminal: Terminal, /, checkpoint: Path, as_json: bool, html: Path | None, **edit: Any) -> None:
    """Cut CHECKPOINT to the tokens that texts use, in place or into --out.

    Table, heads, tokenizer files and config.json change together. Kept whatever their count are special and added
    tokens, single characters, and what merges pass through. Every distinct word of the texts is encoded again with the
    new tokenizer: those whose tokens are all kept must give the same ones, or nothing is written.
    """
    from gte_surgery.surgery.trim import trim

    read = (checkpoint, *edit["texts"], *edit["counts"])
    require_page(html, *read)
    outcome = operate(terminal, trim, checkpoint, as_json, edit)
    if html is not None:
        from gte_surgery.render.corpus_page import trim_html

        write_output(html, trim_html(outcome.plan, outcome.target), read)
