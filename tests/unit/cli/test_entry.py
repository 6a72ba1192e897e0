"""Exceptions become one error line, one hint line and an exit code, here and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from gte_surgery import errors
from gte_surgery.cli import entry
from gte_surgery.cli.entry import run
from gte_surgery.cli.terminal import ReaderGoneError


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes the program a command that raises `error`."""

    @click.command()
    def program() -> None:
        raise error

    monkeypatch.setattr(entry, "program", program)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("m", "h"), 2),
        (errors.CheckpointError("m", "h"), 3),
        (errors.HeaderError("hole", "m", hint="h"), 3),
        (errors.RefusedError("m", "h"), 3),
        (errors.LockedError("m", "h"), 3),
        (errors.WriteError("m", "h"), 3),
        (errors.UnfinishedSurgeryError("m", "h"), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_of_ours_has_its_exit_code(
    error: errors.GteSurgeryError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, error)
    assert run([]) == code
    assert capsys.readouterr() == ("", "error: m\nhint: h\n")


def test_a_message_stays_one_harmless_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, errors.RefusedError("a\nb\x1b[2J", ""))
    run([])
    assert capsys.readouterr().err == "error: a\\nb\\x1b[2J\n"


def test_a_bug_shows_its_traceback_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, ZeroDivisionError("oops"))
    assert run([]) == 70
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "error: a bug in gte-surgery" in told
    assert told.splitlines()[-1].startswith("hint: ")


def test_an_operating_system_error_is_refused_and_names_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, PermissionError(13, "Permission denied", "ckpt/config.json"))
    assert run([]) == 3
    assert capsys.readouterr().err.startswith("error: ckpt/config.json: Permission denied\nhint: ")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (ReaderGoneError(), 141)])
def test_interruptions_count_as_shells_count_them(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    assert run([]) == code


@pytest.mark.parametrize(
    "arguments", [["check"], ["check", "x", "--fail-on", "all"], ["--color", "pink"], ["rules", "x"]]
)
def test_a_wrong_command_line_is_one_error_and_one_hint(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("hint: see `gte-surgery")


def test_a_reader_that_leaves_is_no_error_to_tell(tmp_path: Path) -> None:
    """stdout is a pipe that nobody reads: no message, no traceback, the code that SIGPIPE would give."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-m", "gte_surgery", "rules"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_ctrl_c_ends_the_process_with_130_and_one_message(tmp_path: Path) -> None:
    """A named pipe holds the program up in its reading of stdin, where it is then interrupted."""
    script = (
        "import gte_surgery.cli.entry as entry, click, time\n"
        "entry.program = click.command()(lambda: (print('in', flush=True), time.sleep(30)))\n"
        "entry.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert process.returncode == 130
    assert told.decode().strip().startswith("error: interrupted\nhint: ")
