"""Where the program starts, and the only place where an exception becomes a message and an exit code.

Its imports at the top are few and light, so that asking the program to stop is answered from its first moments.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING

from gte_surgery.cli import exits
from gte_surgery.cli.stops import StoppedError, heed_stops, ignore_stops, stop_behind

if TYPE_CHECKING:
    from gte_surgery.errors import GteSurgeryError

_ARENA_MAX = -8
"""M_ARENA_MAX [malloc.h of glibc]."""


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    _open_closed()
    heed_stops()
    if any(word.startswith("hf://") for word in sys.argv):
        _share_memory()
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        code = run(sys.argv[1:])
    except (StoppedError, RuntimeError) as error:
        if (stop := stop_behind(error)) is None:
            raise
        code = _stopped(stop)
    ignore_stops()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are told on stderr."""
    import click

    from gte_surgery.cli import mistakes
    from gte_surgery.cli.terminal import ReaderGoneError, to_nowhere
    from gte_surgery.errors import GteSurgeryError

    try:
        return _invoke(arguments)
    except GteSurgeryError as error:
        hint = mistakes.hint_of(arguments, error.hint, error.typed, error.meant, error.__cause__)
        _tell(error.message, hint)
        return _exit_code(error)
    except click.ClickException as error:
        _tell(mistakes.usage_message(error), mistakes.usage_hint(error, arguments))
        return exits.USAGE
    except click.Abort as error:
        return _stopped(error.__cause__ if isinstance(error.__cause__, StoppedError) else StoppedError())
    except ReaderGoneError:
        return exits.READER_GONE
    except OSError as error:
        if error.filename is None and sys.stdout is not None:
            to_nowhere(sys.stdout)
        _tell(f"{error.filename or 'the output'}: {error.strerror or error}", mistakes.system_hint(error))
        return exits.REFUSED
    except Exception as error:  # noqa: BLE001 - the last resort, and it hides nothing
        if (stop := stop_behind(error)) is not None:
            return _stopped(stop)
        _report_bug(error)
        return exits.BUG


def _open_closed() -> None:
    """Give a stream that was closed (`>&-`) a file again: no file of ours shall get its number. A result that is
    written to it fails, and messages are lost as was asked for.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            if opened != number:  # another one has its number already
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))


def _share_memory() -> None:
    """Let all threads take memory from one arena: glibc keeps a MiB aside for each thread that fetches."""
    import ctypes

    with suppress(AttributeError, OSError):  # other C libraries have no such thing
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def _invoke(arguments: Sequence[str]) -> int:
    from gte_surgery.cli.group import PROGRAM, program

    try:
        code = program.main(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except SystemExit:  # how click leaves when nobody reads its help
        return exits.READER_GONE
    return code if isinstance(code, int) else exits.GOOD


def _exit_code(error: GteSurgeryError) -> int:
    from gte_surgery.errors import UnfinishedSurgeryError, UsageError

    if isinstance(error, UsageError):
        return exits.USAGE
    if isinstance(error, UnfinishedSurgeryError):
        return exits.UNFINISHED
    return exits.REFUSED


def _stopped(stop: StoppedError) -> int:
    """Tell that the command was stopped, and return the exit code for it."""
    _tell(stop.reason, "nothing is half done: a checkpoint under surgery is wholly the old or wholly the new one")
    return stop.exit_code


def _report_bug(error: Exception) -> None:
    import traceback

    from gte_surgery import __version__
    from gte_surgery.cli.terminal import remark
    from gte_surgery.render.ink import harmless

    remark(harmless("".join(traceback.format_exception(error))), nl=False)
    kind = type(error).__name__
    _tell(f"a bug in gte-surgery {__version__}: {kind}: {error}", "please report the lines above as an issue")


def _tell(message: str, hint: str) -> None:
    from gte_surgery.cli import mistakes
    from gte_surgery.cli.terminal import remark
    from gte_surgery.render.ink import printable

    remark(f"error: {printable(mistakes.from_here(message))}")
    if hint:
        remark(f"hint: {printable(mistakes.from_here(hint))}")
