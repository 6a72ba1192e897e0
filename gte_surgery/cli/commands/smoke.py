"""`gte-surgery smoke`: the forward, and the backward, that proves a checkpoint on a device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from gte_surgery.cli import exits
from gte_surgery.cli.completion import offering
from gte_surgery.cli.operate import missing
from gte_surgery.cli.options import FILE, OUTPUT, PATH, checkpoint_argument, example, json_option, together
from gte_surgery.cli.page import html_option, require_page
from gte_surgery.cli.terminal import Terminal, pass_terminal
from gte_surgery.errors import UsageError
from gte_surgery.outputs import write_output

_THRESHOLDS = (
    ("--min-cosine", 0.99, "Least mean cosine of a text's embeddings."),
    ("--min-neighbours", 0.9, "Least share of its ten nearest texts in common."),
    ("--min-tau", 0.9, "Least Kendall's tau of the order of those."),
    ("--max-loss", 0.01, "Most that nDCG@10 and recall@10 may fall."),
)


@click.command(
    "smoke",
    short_help="Prove a checkpoint by running it.",
    epilog=example(
        "gte-surgery smoke ckpt/ --attention all --train 3",
        "gte-surgery smoke small/ --against ckpt/ --texts texts.txt --html texts.html",
        "torchrun --nproc_per_node=2 -m gte_surgery smoke ckpt/ --train 3",
    ),
)
@checkpoint_argument
@click.option("--device", default="cuda", show_default=True, help="Where to run: cuda, cuda:1, cpu.")
@click.option(
    "--dtype",
    default="auto",
    show_default=True,
    metavar="NAMES",
    shell_complete=offering(lambda: dict.fromkeys(("auto", "fp32", "fp16", "bf16"), "")),
    help="auto, or of fp32,fp16,bf16.",
)
@click.option(
    "--attention",
    type=click.Choice(["auto", "all", "cudnn", "xformers", "varlen", "sdpa", "eager"]),
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
@click.option(
    "--compile", is_flag=True, help="Prove and time the compiled packed path as well; its gradients with --train."
)
@click.option("--save-reference", type=OUTPUT, metavar="FILE", help="Save the batch and its embeddings.")
@click.option("--compare", type=FILE, metavar="FILE", help="Compare with a saved reference.")
@click.option("--against", type=PATH, metavar="OLD", help="Prove instead what it preserves of this one.")
@click.option("--map", type=FILE, metavar="FILE", help="Old id by new id, where no receipt tells.")
@click.option(
    "--texts", type=FILE, metavar="FILE", help="Measure what became of these: lines, JSON lines, csv, parquet."
)
@click.option("--queries", type=FILE, metavar="FILE", help="JSON lines of query and positives, to search in the texts.")
@click.option("--column", metavar="NAME", help="The column or key of the texts, or of lists of ids.  [default: text]")
@together(
    *(
        click.option(name, type=float, default=usual, show_default=True, metavar="X", help=text)
        for name, usual, text in _THRESHOLDS
    )
)
@html_option("Also write a page about the texts here.")
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
def command(terminal: Terminal, /, checkpoint: Path, as_json: bool, html: Path | None, **chosen: Any) -> int:
    """Run CHECKPOINT on a device and prove that it does what it should.

    Finite outputs, embeddings of length 1, packed as padded, indifferent to padding and row order, low precision near
    float32, a pad row that stays zero: each proof has a measured value and a tolerance. A failed one makes the exit
    code 1. Under torchrun every process proves on its own GPU, and they train together. What needs more memory than is
    free is refused before it starts, with the --max-length that fits.

    With --against the proofs are others: what a surgery claimed, of the ids that its receipt or --map keeps. With
    --texts both embed your texts, each with its own tokenizer, and tell how far they moved.
    """
    from gte_surgery.render.smoke import smoke_json, smoke_text
    from gte_surgery.smoke.options import SmokeOptions

    options = SmokeOptions(**chosen)
    read = (checkpoint, *(Path(each) for each in (options.against, options.texts, options.queries) if each is not None))
    if html is not None and options.texts is None:
        raise UsageError("html: the page is about texts, and none are given", "name them: --texts FILE")
    require_page(html, *read)
    try:
        from gte_surgery.smoke.run import smoke
    except ImportError as error:
        raise missing(error, "smoke") from error
    is_first = os.environ.get("RANK", "0") == "0"
    result = smoke(checkpoint, options, terminal.message if is_first else None)
    if is_first:
        quality = result.against.quality if result.against is not None else None
        if html is not None and quality is not None:
            from gte_surgery.render.corpus_page import quality_html
            from gte_surgery.smoke.codes import CODES

            write_output(html, quality_html(result, quality, CODES), read)
        elif html is not None:
            terminal.message(f"{html}: not written, for the texts were not measured")
        terminal.result(smoke_json(result) if as_json else smoke_text(result, terminal.has_color))
    return exits.GOOD if result.has_passed else exits.FINDINGS
