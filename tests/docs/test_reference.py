"""The command reference is that of the program as it is, complete, and a page that `man` can show."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from gte_surgery.cli import exits
from gte_surgery.cli.group import COMMANDS
from tests.docs.reference import MANUAL, REFERENCE, command, exit_codes, written


@pytest.mark.parametrize("path", [REFERENCE, MANUAL], ids=lambda path: path.name)
def test_the_reference_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == written()[path], "`python -m tests.docs.reference` writes it"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_of_each_command_is_in_it(name: str) -> None:
    sections = REFERENCE.read_text(encoding="utf-8").split("\n## ")
    (section,) = [each for each in sections if each.startswith(f"{name}\n")]
    told = [each for each in command(name).params if isinstance(each, click.Option) and not each.hidden]
    flags = [max(each.opts, key=len) for each in told]
    assert [flag for flag in flags if flag not in section] == []


def test_man_shows_it_without_a_complaint() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    words = ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", str(MANUAL)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    for name in COMMANDS:
        assert f"gte-surgery {name}" in ran.stdout.replace("\u2010", "-").replace("\u2212", "-")


def test_each_exit_code_is_told() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert {int(code) for code, told in exit_codes() if told} == codes
