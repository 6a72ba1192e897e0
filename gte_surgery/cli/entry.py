"""Where the program starts, and the only place where an exception becomes a message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click

from gte_surgery.cli import exits
from gte_surgery.cli.group import PROGRAM, program
from gte_surgery.cli.terminal import ReaderGoneError
from gte_surgery.errors import GteSurgeryError, UnfinishedSurgeryError, UsageError
from gte_surgery.render.ink import printable


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are told on stderr."""
    try:
        return _invoke(arguments)
    except GteSurgeryError as error:
        _tell(error.message, error.hint)
        return _exit_code(error)
    except click.ClickException as error:
        _tell(error.format_message(), _usage_hint(error))
        return exits.USAGE
    except click.Abort:
        _tell("interrupted", "the checkpoint is as it was, or `gte-surgery recover` finishes what had begun")
        return exits.INTERRUPTED
    except ReaderGoneError:
        return exits.READER_GONE
    except OSError as error:
        _tell(f"{error.filename or 'the system'}: {error.strerror or error}", "check that the path is there and yours")
        return exits.REFUSED
    except Exception as error:  # noqa: BLE001 - the last resort, and it hides nothing
        _report_bug(error)
        return exits.BUG


def _invoke(arguments: Sequence[str]) -> int:
    code = program.main(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
    return code if isinstance(code, int) else exits.GOOD


def _exit_code(error: GteSurgeryError) -> int:
    if isinstance(error, UsageError):
        return exits.USAGE
    if isinstance(error, UnfinishedSurgeryError):
        return exits.UNFINISHED
    return exits.REFUSED


def _usage_hint(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"see `{context.command_path if context else PROGRAM} --help`"


def _report_bug(error: Exception) -> None:
    import traceback

    from gte_surgery import __version__

    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    kind = type(error).__name__
    _tell(f"a bug in gte-surgery {__version__}: {kind}: {error}", "please report the lines above as an issue")


def _tell(message: str, hint: str) -> None:
    click.echo(f"error: {printable(message)}", err=True)
    if hint:
        click.echo(f"hint: {printable(hint)}", err=True)
