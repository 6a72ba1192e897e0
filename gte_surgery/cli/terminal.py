"""Where output goes: results to stdout, messages and progress to stderr, and whether in colour.

Everything passes a last gate that lets no control character through but our own colours and line breaks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol, TextIO

import click

from gte_surgery.render.ink import harmless


class ReaderGoneError(Exception):
    """Whoever read our stdout, such as `head`, has had enough."""


class Advance(Protocol):
    """Takes the bytes done, the bytes in all, and a remark to show beside the bar."""

    def __call__(self, done: int, total: int, remark: str = "", /) -> None: ...


def remark(text: str, nl: bool = True) -> None:
    """Write to stderr. Where that takes nothing, remarks are lost, and the exit code alone tells."""
    try:
        click.echo(text, err=True, nl=nl)
    except OSError:
        to_nowhere(sys.stderr)


def to_nowhere(stream: TextIO) -> None:
    """What is still buffered must not fail once more when the interpreter flushes at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Terminal(NamedTuple):
    """What the global options and the streams allow; every command gets one."""

    is_quiet: bool
    has_color: bool

    @classmethod
    def for_streams(cls, quiet: bool, color: str) -> Terminal:
        """Decide on colour: what the flag says, else colour on a terminal that NO_COLOR leaves alone.

        And on the bars of huggingface_hub, which asks the environment when it is imported.
        """
        if quiet or not sys.stderr.isatty():
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()
        return cls(quiet, color == "always" or (color == "auto" and wanted))

    def result(self, text: str) -> None:
        """Write what the command was asked for to stdout. Raises ReaderGoneError when nobody reads it."""
        try:
            click.echo(harmless(text, self.has_color), color=True)
        except BrokenPipeError as error:
            to_nowhere(sys.stdout)
            raise ReaderGoneError from error

    def message(self, text: str) -> None:
        """Write a remark to stderr, unless --quiet."""
        if not self.is_quiet:
            remark(harmless(text))

    @contextmanager
    def progress(self, label: str) -> Iterator[Advance | None]:
        """A callback that draws a bar on stderr, with the time that is left; None where no terminal shows it."""
        if self.is_quiet or not sys.stderr.isatty():
            yield None
            return
        with click.progressbar(
            length=1,
            label=label,
            file=sys.stderr,
            update_min_steps=1,
            item_show_func=lambda remark: remark and harmless(remark),
        ) as bar:

            def advance(done: int, total: int, remark: str = "", /) -> None:
                bar.length = total
                bar.update(done - bar.pos, remark)

            yield advance


pass_terminal = click.make_pass_decorator(Terminal)
