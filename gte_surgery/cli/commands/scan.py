"""`gte-surgery scan`: a whole corpus against the contract."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from gte_surgery.cli.completion import files
from gte_surgery.cli.options import OUTPUT, checkpoint_argument, example, together
from gte_surgery.cli.page import html_option, require_page
from gte_surgery.cli.reports import OrderedCommand, Reports, fail_on_option, reporting_options
from gte_surgery.cli.terminal import Advance, Terminal, pass_terminal
from gte_surgery.outputs import require_output, write_output

if TYPE_CHECKING:
    from gte_surgery.contract.scan.corpus import CorpusReport

_COLUMNS = (
    ("--ids", "The column, tensor or key that holds the ids.  [default: input_ids]"),
    ("--mask", "The one with the mask.  [default: attention_mask, where it is there]"),
    ("--types", "The one with the token types.  [default: token_type_ids, where it is there]"),
    ("--labels", "The one with labels of tokens; without it none is judged."),
    ("--positions", "The one with positions; without it none is judged."),
    ("--offsets", "The one that cuts flat ids into rows.  [default: offsets or cu_seqlens, of flat arrays]"),
)


@click.command(
    "scan",
    cls=OrderedCommand,
    short_help="Judge a corpus of ids and masks by the contract.",
    epilog=example(
        "gte-surgery scan ckpt/ corpus/*.parquet --write-counts used.tsv",
        "gte-surgery scan ckpt/ /shared/corpus --engine ray --address ray-head:6379",
    ),
)
@checkpoint_argument
@click.argument("paths", metavar="DATA...", nargs=-1, required=True, shell_complete=files)
@together(*(click.option(name, metavar="NAME", help=text) for name, text in _COLUMNS))
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes on this machine.  [default: all]")
@click.option(
    "--engine", "runner", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where to work."
)
@click.option("--address", default="auto", show_default=True, metavar="A", help="The Ray cluster to work on.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Look at the first N rows only.")
@click.option(
    "--max-findings",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="Tell of the first N; all are counted.",
)
@click.option("--write-counts", type=OUTPUT, metavar="FILE", help="Write how often each id occurs, for `remap --keep`.")
@html_option("Also write a page with a histogram here.")
@fail_on_option("error")
@reporting_options
@pass_terminal
def command(
    terminal: Terminal,
    /,
    checkpoint: Path,
    paths: tuple[str, ...],
    workers: int | None,
    runner: Any,
    address: str,
    limit: int | None,
    max_findings: int,
    write_counts: Path | None,
    html: Path | None,
    fail_on: str | None,
    reports: Reports,
    **names: str | None,
) -> int:
    """Judge DATA, files, folders and patterns, by the contract of CHECKPOINT or of a JSON file.

    Reads parquet, Arrow and Hugging Face datasets folders, JSON lines (also .gz, .zst), .npy, .npz and safetensors,
    block by block, in constant memory. Tells what the corpus is like and the first offenders of each file.
    """
    from gte_surgery.contract.scan.process import prepare

    if runner == "local":
        prepare()
    from gte_surgery.contract.scan.columns import Columns
    from gte_surgery.contract.scan.corpus import scan
    from gte_surgery.findings import Report, Severity
    from gte_surgery.render.corpus import corpus_json, corpus_text, counts_text

    read = (checkpoint, *map(Path, paths))
    require_page(html, *read)
    reports.require_free(*read)
    if write_counts is not None:
        require_output(write_counts, read)
    with terminal.progress("scanning") as advance:
        report = scan(
            checkpoint,
            *paths,
            columns=Columns(**{name: value for name, value in names.items() if value is not None}),
            workers=workers or os.cpu_count() or 1,
            limit=limit,
            max_findings=max_findings,
            counts=write_counts is not None,
            runner=runner,
            address=address,
            progress=None if advance is None else _with_rate(advance),
        )
    if write_counts is not None:
        write_output(write_counts, counts_text(report), read)
    if html is not None:
        write_output(html, _page(paths, report), read)
    bar = Severity[(fail_on or "error").upper()]
    own: dict[str, Callable[[bool], str]] = {
        "text": partial(corpus_text, report),
        "json": lambda _: corpus_json(report),
    }
    whole = Report(_title(paths), report.findings, (), report.codes, folder="")
    return reports.deliver(whole, bar, *read, own=own, worst=report.worst)


def _title(paths: tuple[str, ...]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more"


def _page(paths: tuple[str, ...], report: CorpusReport) -> str:
    from gte_surgery.contract.codes import CODES
    from gte_surgery.render.corpus_page import corpus_html

    return corpus_html(_title(paths), report, CODES)


def _with_rate(advance: Advance) -> Callable[[int, int, int], None]:
    """Progress that also shows how many ids are judged in a second."""
    begin = monotonic()

    def told(done: int, total: int, tokens: int) -> None:
        advance(done, total, f"{tokens / 1e6 / max(monotonic() - begin, 1e-3):.1f} M ids/s")

    return told
