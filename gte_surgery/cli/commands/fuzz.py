"""`gte-surgery fuzz`: sequences that break an encoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from gte_surgery.cli.options import checkpoint_argument, example
from gte_surgery.cli.reports import OrderedCommand, Reports, reporting_options

CUT = "; it is given max_length, and may cut to it"


@click.command(
    "fuzz",
    cls=OrderedCommand,
    short_help="Look for sequences that break an encoder.",
    epilog=example("gte-surgery fuzz ckpt/ --encoder my_project.encoding:encode --examples 2000"),
)
@checkpoint_argument
@click.option("--encoder", required=True, metavar="MODULE:CALLABLE", help="What makes batches of sequences of ids.")
@click.option(
    "--examples",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    metavar="N",
    help="Batches of sequences to try, for each break anew.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="The same seed tries the same.")
@click.option(
    "--strict-exceptions", is_flag=True, help="Let a clean ValueError on input that need not be taken count as well."
)
@reporting_options
def command(
    checkpoint: Path,
    encoder: str,
    examples: int,
    seed: int,
    strict_exceptions: bool,
    reports: Reports,
) -> int:
    """Look for the smallest sequences of ids for which an encoder's batch does not fit CHECKPOINT.

    CHECKPOINT may also be a contract's JSON file. The encoder is imported from the working directory, and its code
    runs: an object with encode_batch(sequences, add_special_tokens=..., max_length=...), or a callable that takes the
    sequences alone. It is asked for sequences that are empty, short, as long as the model takes and longer, with ids
    at both ends of the table and with pads inside, as lists, tuples, arrays and tensors. Exits with 1 if it breaks.
    """
    from gte_surgery.contract.codes import CODES
    from gte_surgery.contract.probe import find_encoder, may_cut
    from gte_surgery.contract.spec import IdContract
    from gte_surgery.errors import UnavailableError
    from gte_surgery.findings import Report, Severity
    from gte_surgery.render.fuzz import fuzz_json, fuzz_text

    try:
        from gte_surgery.contract.fuzz import fuzz
    except ModuleNotFoundError as error:
        hint = "`pip install 'gte-surgery[fuzz]'`"
        raise UnavailableError(f"{error.name}: not installed, fuzz needs it", hint) from error
    reports.require_free(checkpoint)
    contract = IdContract.read(checkpoint)
    found, is_class = find_encoder(encoder)
    encoder += "()" * is_class
    breaks = fuzz(found, contract, examples=examples, seed=seed, strict_exceptions=strict_exceptions)
    searched = f"{examples} examples, seed {seed}" + CUT * may_cut(found)
    own: dict[str, Callable[[bool], str]] = {
        "text": partial(fuzz_text, breaks, encoder, contract, searched),
        "json": lambda _: fuzz_json(breaks, encoder, contract),
    }
    codes = tuple(code for code in CODES if code < "GTE480" or code >= "GTE490")
    report = Report(encoder, tuple(each.finding for each in breaks), (), codes)
    return reports.deliver(report, Severity.ERROR, checkpoint, own=own)
