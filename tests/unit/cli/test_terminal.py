"""What the flags, the environment and the streams decide."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gte_surgery.cli.terminal import Terminal


@pytest.mark.parametrize(
    ("flag", "is_terminal", "environment", "colored"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {}, True),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_colour_follows_the_flag_then_no_color_then_the_terminal(
    flag: str, is_terminal: bool, environment: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    assert Terminal.for_streams(False, flag).has_color is colored


def test_quiet_drops_remarks_and_keeps_results(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(is_quiet=True, has_color=False)
    terminal.result("result")
    terminal.message("remark")
    assert capsys.readouterr() == ("result\n", "")


def test_progress_has_no_listener_where_no_terminal_is() -> None:
    with Terminal(is_quiet=False, has_color=False).progress("writing") as advance:
        assert advance is None


def drawn(*arguments: str) -> tuple[bytes, bytes]:
    """What a command line writes to a terminal on stderr, and to stdout."""
    ours, theirs = pty.openpty()
    ran = subprocess.Popen([sys.executable, "-m", "gte_surgery", *arguments], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side of a pty has closed
        while part := os.read(ours, 4096):
            seen += part
    os.close(ours)
    result, _ = ran.communicate()
    return seen, result


@pytest.mark.parametrize(("flags", "is_drawn"), [([], True), (["--quiet"], False)], ids=["loud", "quiet"])
def test_progress_is_drawn_on_a_terminal_and_on_stderr_alone(flags: list[str], is_drawn: bool, tmp_path: Path) -> None:
    arguments = ["new", str(tmp_path / "ckpt"), "--release", "gte-base-en-v1.5", "--layers", "1", "--vocab", "64"]
    seen, result = drawn(*flags, *arguments)
    assert (b"100%" in seen) is is_drawn
    assert result.startswith(b"new ")
    assert b"%" not in result


def test_progress_of_a_scan_tells_its_rate(golden: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"input_ids": [0, 5, 7]}\n' * 1000)
    seen, _ = drawn("scan", str(golden / "legacy-multilingual"), str(corpus))
    assert b"100%" in seen
    assert b"M ids/s" in seen
