"""Every command is there, helps, and ends its help with an example."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import gte_surgery.cli.commands
from gte_surgery.cli.entry import run
from gte_surgery.cli.group import COMMANDS, program


def command(name: str) -> click.Command:
    found = program.get_command(click.Context(program), name)
    assert found is not None
    return found


def test_each_module_of_commands_is_listed_and_the_other_way_round() -> None:
    folder = Path(gte_surgery.cli.commands.__path__[0])
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(COMMANDS)


PROGRAM = r"(?:gte-surgery|torchrun .* -m gte_surgery)"
"""How an example calls us."""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_of_that_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    last = capsys.readouterr().out.rstrip().rpartition("\n")[2]
    assert re.fullmatch(rf"\s+{PROGRAM} {name}\b.*", last)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_an_example_exist(name: str) -> None:
    options = {option for parameter in command(name).params for option in parameter.opts}
    ours = re.sub(rf"(?m)^.*?{PROGRAM} ", "", command(name).epilog or "")
    assert set(re.findall(r"--[a-z-]+", ours)) <= options


def examples(shown: click.Command) -> list[str]:
    """The command lines at the end of a help text, from our name on and up to a redirection."""
    lines = [line for line in (shown.epilog or "").splitlines() if line.startswith("  ")]
    return [re.sub(rf"^.*?{PROGRAM} ", "", line).partition(" > ")[0] for line in lines]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_example_is_a_command_line_that_is_taken(name: str) -> None:
    lines = examples(command(name))
    assert lines
    for line in lines:
        first, *words = shlex.split(line)
        assert first == name
        command(name).make_context(name, words)


def test_the_example_of_the_program_itself_is_taken() -> None:
    (line,) = examples(program)
    first, *words = shlex.split(line)
    command(first).make_context(first, words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    options = [parameter for parameter in command(name).params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("frobnicate", "see `gte-surgery --help`"),
        ("reszie", "did you mean `gte-surgery resize`?"),
        ("fix", "did you mean `gte-surgery check`?"),
    ],
)
def test_an_unknown_command_is_a_usage_error(typed: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([typed]) == 2
    assert capsys.readouterr().err == f"error: {typed}: no such command\nhint: {told}\n"


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    alone = capsys.readouterr()
    assert run(["--help"]) == 0
    assert alone == capsys.readouterr()
