"""No fenced block of a page goes unproved: each is run somewhere, or stands here with the reason why not."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest

from gte_surgery import new
from gte_surgery.checks.policy import read_policy
from gte_surgery.cli.group import program
from tests.docs.sessions import PAGES, ROOT, read, recipes, steps

TEXT = "\n".join(map(read, PAGES))
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)

ELSEWHERE = {
    "console": "tests/docs/test_pages.py runs every command and compares what it prints",
    "yaml": "tests/docs/test_ci.py runs the command lines of each",
    "python": "tests/docs/test_recipes.py runs the recipes, the tests below the others",
    "toml": "read below",
    "sh": "UNRUN below says of each command why it is not run, and what is held instead",
    "": "drawings",
}
UNRUN = {
    "git clone": "asks the network, of an address that is a placeholder",
    "python3 -m venv": "tests/packaging installs what a release builds",
    "pip install": "asks the network; its extras exist",
    "pipx install": "asks the network",
    "uvx": "asks the network; its options are parsed",
    "bin/": "makes an environment from the network; the script is there and may be run",
    "ray start": "starts a cluster on several machines",
    "gte-surgery scan ckpt /shared/corpus --engine ray": "needs that cluster; its options are parsed",
    "gte-surgery smoke mine/ --attention all": "needs a GPU; its options are parsed, tests/gpu/bench.py runs it there",
    "torchrun": "needs two GPUs; its options are parsed, tests/gpu/bench.py runs it there",
}


def of(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def commands(language: str) -> list[str]:
    lines = [line.partition(" #")[0].strip() for block in of(language) for line in block.splitlines()]
    return [line for line in lines if line]


def parsed(line: str) -> click.Context:
    """A command line of ours, taken apart as the program does; raises click.UsageError."""
    words = shlex.split(line.partition(" > ")[0])
    begin = next(at for at, word in enumerate(words) if word in ("gte-surgery", "gte_surgery"))
    name, *rest = words[begin + 1 :]
    command = program.get_command(click.Context(program), name)
    assert command is not None, line
    return command.make_context(name, rest)


def test_each_language_of_a_block_has_its_proof() -> None:
    assert {language for language, _ in BLOCKS} <= set(ELSEWHERE)


def test_nothing_in_a_session_is_passed_over() -> None:
    """Every block begins with a command, and every line that begins with a prompt is a step that is run."""
    sessions = of("console")
    assert all(block.startswith("$ ") for block in sessions)
    prompts = [line[2:] for block in sessions for line in block.splitlines() if line.startswith("$ ")]
    assert prompts == [step.command for step in steps(TEXT)]


def test_a_command_that_is_not_run_has_its_reason_and_no_reason_is_idle() -> None:
    reasons = {line: [start for start in UNRUN if line.startswith(start)] for line in commands("sh")}
    assert {line for line, found in reasons.items() if len(found) != 1} == set()
    assert {start for found in reasons.values() for start in found} == set(UNRUN)


@pytest.mark.parametrize("line", commands("sh"))
def test_what_is_not_run_is_possible(line: str) -> None:
    extras = re.search(r"(?:gte-surgery|\.)\[([\w,]+)\]", line)
    for extra in extras[1].split(",") if extras else ():
        assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if line.startswith("bin/"):
        assert os.access(ROOT / line.split()[0], os.X_OK)
    if line.startswith(("gte-surgery", "torchrun", "uvx")):
        parsed(line)


def test_the_policy_shown_is_one(tmp_path: Path) -> None:
    for block in of("toml"):
        path = tmp_path / "gte-surgery.toml"
        path.write_text(block, encoding="utf-8")
        assert read_policy(path).suppressions


def test_the_python_outside_the_recipes_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [block for block in of("python") if block not in recipes().values()]
    assert len(blocks) >= 2
    monkeypatch.chdir(tmp_path)
    new("ckpt", release="gte-base-en-v1.5", layers=1, hidden=64, heads=4, intermediate=96, vocab=33000, pad=0)
    for block in blocks:
        left: dict[str, object] = {
            "batch": {"input_ids": np.array([[5, 7, 0]]), "attention_mask": np.array([[1, 1, 0]])}
        }
        exec(compile(block, "a page", "exec"), left)  # noqa: S102
        assert left["report"].worst is None or "resize" in block  # type: ignore[attr-defined]
