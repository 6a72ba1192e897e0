"""The README tells of everything that the command line has, and what it shows is real."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import gte_surgery
from gte_surgery.cli import exits
from gte_surgery.cli.codes import all_codes
from gte_surgery.cli.group import COMMANDS, program
from tests.docs.sessions import ROOT, matches, run, steps

README = (ROOT / "README.md").read_text(encoding="utf-8")


def parameters(name: str) -> list[click.Parameter]:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    return command.params


def section(heading: str) -> str:
    """The text under a heading, up to the next of its level or above."""
    level, _, _ = heading.partition(" ")
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, f"README has no heading {heading!r}"
    return found[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_section_with_every_option(name: str) -> None:
    text = section(f"### {name}")
    options = {parameter.opts[0] for parameter in parameters(name) if isinstance(parameter, click.Option)}
    assert {option for option in options if not re.search(rf"`{option}\b", text)} == set()


def test_the_global_options_are_told() -> None:
    for parameter in program.params:
        assert f"`{parameter.opts[0]}" in README


def test_each_exit_code_is_told() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section("## Exit codes"), re.MULTILINE)} == codes


def test_each_family_of_rules_is_told() -> None:
    families = {f"{code[:4]}xx" for code in all_codes()}
    assert set(re.findall(r"GTE\dxx", section("### check"))) == families


def test_each_public_name_of_the_package_is_told() -> None:
    text = section("## From Python")
    assert {name for name in gte_surgery.__all__ if f"`{name}" not in text and f" {name}" not in text} == set()


def test_the_changelog_is_about_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == gte_surgery.__version__


def test_every_file_that_the_readme_points_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"^\| `([\w/.]+\.py)` \|", README, re.MULTILINE)
    assert links
    assert [link for link in links if not (ROOT / link).exists() and not (ROOT / "gte_surgery" / link).exists()] == []


def test_the_output_shown_is_the_output(tmp_path: Path) -> None:
    """Runs every console session of the README, in order, in one folder."""
    shown = list(steps(README))
    assert shown
    for step in shown:
        output = run(step.command, tmp_path)
        if not matches(step.output, output):
            assert output == step.output, f"$ {step.command}: `python -m tests.docs.sessions` writes the real output"


@pytest.mark.parametrize(
    ("expected", "output", "is_match"),
    [
        ("a\nb", "a\nb", True),
        ("a\nb", "a\nc", False),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...", "a\nb\nc", True),
        ("a\n...\nd", "a\nb\nc", False),
        ("a.c", "abc", False),
    ],
)
def test_dots_stand_for_any_lines_and_nothing_else_does(expected: str, output: str, is_match: bool) -> None:
    assert matches(expected, output) is is_match
