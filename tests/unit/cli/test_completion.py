"""TAB in the real shells: commands, options, releases, codes of rules, schemas and paths. A shell that is not here is
skipped, visibly.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.sessions import REFERENCE

COMPLETED = [
    ("gte-surgery expl", "explain"),
    ("gte-surgery check ckpt --fail", "--fail-on"),
    ("gte-surgery check ckpt --fail-on w", "warning"),
    ("gte-surgery new out --release snow", "snowflake-arctic-embed-m-v2.0"),
    ("gte-surgery explain GTE11", "GTE110"),
    ("gte-surgery check ckpt --select GTE112,GTE20", "GTE112,GTE203"),
    ("gte-surgery check ckpt --for vllm,te", "vllm,tei"),
    ("gte-surgery gate --skip scan,qua", "scan,quality"),
    ("gte-surgery resize ckpt --init ze", "zeros"),
    ("gte-surgery resize ckpt --init gte-mul", "gte-multilingual-mine"),
    ("gte-surgery smoke ckpt --dtype fp32,bf", "fp32,bf16"),
    ("gte-surgery schema rep", "report"),
    ("gte-surgery inspect gte-mul", "gte-multilingual-mine"),
    ("gte-surgery resize gte-mul", "gte-multilingual-mine"),
]
ASKED = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "bind 'set enable-bracketed-paste off'",
    ),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; unsetopt zle_bracketed_paste; PS1='> '"),
}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A working directory with one checkpoint's folder, and our program on the path."""
    (tmp_path / "gte-multilingual-mine").mkdir()
    monkeypatch.chdir(tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {
        "PATH": path,
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "XDG_CONFIG_HOME": str(tmp_path),
    }


def line_for(shell: str) -> str:
    """The line of the reference that switches completion on."""
    found = re.search(rf"^\| {shell} \|[^|]*\| `(.+)` \|$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"the reference says nothing about {shell}"
    return found[1].replace("\\|", "|")


def required(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


def read_until(master: int, wanted: str, seconds: float) -> str:
    """What a terminal shows until `wanted` stands there, or the time is up."""
    seen, end = "", time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                seen += os.read(master, 65536).decode("utf-8", "replace")
    return seen


@pytest.mark.parametrize("shell", ASKED)
def test_tab_completes_on_a_terminal(shell: str, environment: dict[str, str]) -> None:
    required(shell)
    words, setting = ASKED[shell]
    master, slave = pty.openpty()
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
    os.close(slave)
    try:
        os.write(master, f"{setting}\n{line_for(shell)}\necho rea''dy\n".encode())
        assert "ready" in read_until(master, "ready", 30)
        for typed, wanted in COMPLETED:
            os.write(master, f"{typed}\t\t".encode())
            shown = read_until(master, wanted, 20)
            assert wanted in shown, (typed, shown)
            os.write(master, b"\x15\necho e''nd\n")
            read_until(master, "end", 10)
    finally:
        process.kill()
        process.wait()
        os.close(master)


IN_FISH = [(typed, wanted) for typed, wanted in COMPLETED if "," not in wanted]
"""fish completes the first of several words with commas only."""


@pytest.mark.parametrize(("typed", "wanted"), IN_FISH, ids=lambda value: value.split()[-1])
def test_fish_completes(typed: str, wanted: str, environment: dict[str, str]) -> None:
    required("fish")
    script = f"{line_for('fish')}\ncomplete -C '{typed}'"
    words = ["fish", "--no-config", "-c", script]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    offered = [line.split("\t")[0].rstrip("/") for line in ran.stdout.splitlines()]
    assert wanted in offered, ran
