"""Commands over several checkpoints: one after the other, or some at a time in processes of their own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click

from gte_surgery.cli.options import PATH

Result = TypeVar("Result")

checkpoints_argument = click.argument("checkpoints", metavar="CHECKPOINT...", nargs=-1, required=True, type=PATH)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Read so many checkpoints at a time.",
)


def each_of(work: Callable[[Path], Result], checkpoints: Sequence[Path], jobs: int) -> Iterator[Result]:
    """What `work` makes of each checkpoint, in their order; at most `jobs` are read at a time.

    The processes are forked before any thread is begun, so they cost nothing but what they read.
    """
    if jobs == 1 or len(checkpoints) == 1:
        yield from map(work, checkpoints)
        return
    from multiprocessing import get_context

    with get_context("fork").Pool(min(jobs, len(checkpoints)), _quiet) as pool:
        yield from pool.imap(work, checkpoints)


def _quiet() -> None:
    """What stops the command stops its processes by the pool, and not in the middle of a word."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def require_one(checkpoints: Sequence[Path], *options: tuple[str, object]) -> None:
    """Raises click.UsageError when there are several checkpoints and an option that goes with one."""
    given = [name for name, value in options if value]
    if len(checkpoints) > 1 and given:
        raise click.UsageError(f"{given[0]} goes with one checkpoint, there are {len(checkpoints)}")
