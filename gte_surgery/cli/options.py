"""Arguments and options that more than one command takes; each help text stands here once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from gte_surgery.cli.completion import offering

Function = TypeVar("Function", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Several options as one decorator, in their order."""
    return lambda function: reduce(lambda decorated, option: option(decorated), reversed(options), function)


_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def size(text: str) -> int:
    """Bytes from a number with an optional unit: "5GB" is 5·10⁹, "5GiB" is 5·2³⁰. Raises click.BadParameter."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", text)
    if match is None or match[2].upper() not in _UNITS:
        raise click.BadParameter(f"{text!r} is not a size; write for example 5GB, 500MiB or 1000000")
    found = float(match[1]) * _UNITS[match[2].upper()]
    if found >= 2**63:
        raise click.BadParameter(f"{text!r} is more than any disk holds")
    return int(found)


def some_of(words: Sequence[str]) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[str, ...]]:
    """The callback of an option that takes some of a few words, comma apart or each in an option of its own."""
    one = click.Choice(words)

    def separate(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one.convert(word.strip(), param, ctx) for each in value for word in each.split(","))

    return separate


def example(*lines: str) -> str:
    """The epilog of a command's help: one or more command lines, not rewrapped."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


class _Path(click.Path):
    """A path of at least one character: an empty one would be the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("empty, must be a path; a variable that is not set gives none", param, ctx)
        return super().convert(value, param, ctx)


class _Output(_Path):
    """A file to be written; no two options of a command write the same."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if ctx is not None and param is not None and not path.is_relative_to("/dev"):
            taken: dict[str, str] = ctx.meta.setdefault(__name__, {})
            place = os.path.realpath(path)
            if place in taken:
                self.fail(f"{path}: {taken[place]} is written there already", param, ctx)
            taken[place] = param.opts[0]
        return path


PATH = _Path(path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
"""A file that is no checkpoint."""
OUTPUT = _Output(dir_okay=False, path_type=Path)
checkpoint_argument = click.argument("checkpoint", type=PATH)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def form_option(*forms: str) -> Callable[[Function], Function]:
    """--format of a command that prints text, JSON, or another of some `forms`; --json is short for one of them."""
    return click.option(
        "--format", "form", type=click.Choice(["text", "json", *forms]), help="What to print.  [default: text]"
    )


def form_of(form: str | None, as_json: bool) -> str:
    """The form to print. Raises click.UsageError where --json and --format name two."""
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} name two forms, one is printed")
    return "json" if as_json else form or "text"


seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, metavar="S", help="Seed of the numbers that are drawn."
)
init_option = click.option(
    "--init",
    default="normal",
    show_default=True,
    metavar="normal|mean|mean-cov|zeros|copy:ID|F.npy",
    shell_complete=offering(lambda: dict.fromkeys(("normal", "mean", "mean-cov", "zeros", "copy:"), ""), or_file=True),
    help="What new rows hold: draws, the old rows' mean, draws with their mean and covariance, zeros, a copy, or the"
    " rows of an array.",
)
round_to_option = click.option(
    "--round-to", type=int, default=1, metavar="N", help="Round the vocabulary size up to a multiple of N."
)


def tokenizer_option(*choices: str) -> Callable[[Any], Any]:
    """`--tokenizer`, the first of the choices being the default."""
    return click.option(
        "--tokenizer",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help="What becomes of the tokenizer's files.",
    )


_MOVES = "Your {} id: the row that plays this part now moves there."
role_options = together(
    *(
        click.option(f"--{role}", type=int, metavar="ID", help=_MOVES.format(role.upper()))
        for role in ("cls", "sep", "mask", "unk")
    )
)
"""Ids of one's own, to which the rows of these parts move."""
training_state_option = click.option(
    "--training-state",
    type=click.Choice(["follow", "drop", "refuse"]),
    default="refuse",
    show_default=True,
    help="What becomes of an optimizer.pt whose parameters change: its moments follow the rows, it goes, or refuse.",
)


def switch_off(flag: str, name: str, text: str) -> Callable[[Function], Function]:
    """A flag that makes the parameter `name`, which is True without it, False."""
    return click.option(flag, name, is_flag=True, callback=lambda ctx, param, value: not value, help=text)


writing_options = together(
    click.option(
        "--prove",
        is_flag=False,
        flag_value="cpu",
        metavar="[DEVICE]",
        help="Before the commit, run what the plan claims on both checkpoints.  [DEVICE: cpu, cuda]",
    ),
    click.option("--allow-inconclusive", is_flag=True, help="Commit where a proof can say nothing."),
    click.option("--dry-run", is_flag=True, help="Print the plan and touch nothing."),
    switch_off("--no-hash", "hashes", "Leave SHA-256 out of the receipt."),
    click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads to draw numbers with."),
    json_option,
)
"""What every command takes that writes weights."""

editing_options = together(
    click.option("--out", "-o", type=PATH, metavar="DIR", help="Write a new checkpoint here, not in place."),
    switch_off("--no-undo", "keep_undo", "Keep no way back for `undo`."),
    writing_options,
)
"""What every command takes that edits a checkpoint."""
