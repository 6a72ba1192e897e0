"""Exceptions become one error line, one hint line and an exit code, here and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gte_surgery import errors
from gte_surgery.cli import group
from gte_surgery.cli.entry import run
from gte_surgery.cli.terminal import ReaderGoneError


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes the program a command that raises `error`."""

    @click.command()
    def program() -> None:
        raise error

    monkeypatch.setattr(group, "program", program)


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
    assert capsys.readouterr() == ("", "error: m\nhint: h; see `gte-surgery --help`\n")


def test_a_message_stays_one_harmless_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, errors.RefusedError("a\nb\x1b[2J", ""))
    run([])
    assert capsys.readouterr().err.splitlines()[0] == "error: a\\nb\\x1b[2J"


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


STOPS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated"), signal.SIGHUP: (129, "the terminal")}


def started(program: str, hang_up: str = "SIG_DFL") -> subprocess.Popen[bytes]:
    """Our command line with another program, `program`, in it, which is at work once this returns."""
    script = (
        "import gte_surgery.cli.entry as entry, gte_surgery.cli.group as group, click, os, signal, time\n"
        f"def program():\n    print('in', flush=True)\n    {program}\n"
        "group.program = click.command()(program)\n"
        f"signal.signal(signal.SIGHUP, signal.{hang_up})\n"
        "entry.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.parametrize("stop", list(STOPS))
def test_being_asked_to_stop_ends_the_process_with_the_code_of_shells_and_one_message(stop: signal.Signals) -> None:
    code, words = STOPS[stop]
    process = started("time.sleep(30)")
    process.send_signal(stop)
    _, told = process.communicate(timeout=10)
    assert process.returncode == code
    assert told.decode().strip().startswith(f"error: {words}")
    assert told.count(b"\n") == 3
    assert b"Traceback" not in told


def test_one_request_to_stop_is_enough_and_the_others_do_not_disturb_the_cleaning_up() -> None:
    process = started(
        "\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n        time.sleep(30)\n    finally:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "        print('cleaned', flush=True)"
    )
    written, told = process.communicate(timeout=10)
    assert (process.returncode, written) == (130, b"cleaned\n")
    assert b"Traceback" not in told


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    """As under nohup."""
    process = started("os.kill(os.getpid(), signal.SIGHUP)", hang_up="SIG_IGN")
    process.communicate(timeout=10)
    assert process.returncode == 0


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_was_forked_off_answers_a_stop_as_if_nothing_had_been_set(stop: signal.Signals) -> None:
    """A pool ends its workers by SIGTERM, and each of them would tell of it."""
    process = started(
        f"child = os.fork()\n    (os.kill(os.getpid(), {int(stop)}), time.sleep(30)) if child == 0 else None\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)"
    )
    written, _ = process.communicate(timeout=10)
    assert written.split()[-1] == (b"-15" if stop == signal.SIGTERM else b"130")


@pytest.mark.parametrize(
    ("closed", "code", "out", "err"),
    [("<&-", 2, "", "error:"), (">&-", 2, "", "error:"), ("2>&-", 2, "", ""), ("<&- >&- 2>&-", 2, "", "")],
)
def test_a_closed_stream_is_no_bug(closed: str, code: int, out: str, err: str) -> None:
    """The shell's `>&-`: Python has None for it then, and the next file that is opened would get its number."""
    program = f"{sys.executable} -m gte_surgery explain GTE9999 {closed}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr[: len(err) or None]) == (code, out, err)


def test_a_result_that_nobody_takes_is_an_error() -> None:
    program = f"{sys.executable} -m gte_surgery explain GTE110 >&-"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, "error: the output: Bad file descriptor")
