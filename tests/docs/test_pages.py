"""The pages tell of everything that the program has, what they show is real, and what they point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gte_surgery
from gte_surgery.gate.codes import all_codes
from tests.docs import sources
from tests.docs.picture import PICTURE, drawn, words
from tests.docs.sessions import CONTRIBUTING, PAGES, PYTHON, README, REFERENCE, ROOT, cut_as, matches, run, steps


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_readme_is_one_that_one_reads() -> None:
    assert len(text(README).splitlines()) <= 340


@pytest.mark.slow
def test_the_picture_reads_what_the_commands_print() -> None:
    assert words(text(PICTURE)) == words(drawn())


def test_each_family_of_rules_is_told() -> None:
    assert set(re.findall(r"GTE\dxx", text(REFERENCE))) == {f"{code[:4]}xx" for code in all_codes()}


def test_each_public_name_of_the_package_is_told() -> None:
    told = text(PYTHON)
    assert {name for name in gte_surgery.__all__ if f"`{name}" not in told and f" {name}" not in told} == set()


def test_the_changelog_is_about_this_version() -> None:
    newest = re.search(r"^## (\S+)", text(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == gte_surgery.__version__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_the_pages_are_linked() -> None:
    """From the README every other page can be reached."""
    linked = {(README.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text(README))}
    assert set(PAGES) - linked == {README}


def test_the_files_of_the_reading_order_are_there() -> None:
    files = re.findall(r"^\| `([\w/.]+\.py)` \|", text(CONTRIBUTING), re.MULTILINE)
    assert len(files) > 20
    assert [name for name in files if not (ROOT / "gte_surgery" / name).exists()] == []


def test_every_room_has_its_lines_told() -> None:
    rooms = {path.parent.name for path in (ROOT / "gte_surgery").glob("*/__init__.py")}
    assert {room for room in rooms if f"| `{room}` |" not in text(CONTRIBUTING)} == set()


def test_every_rule_of_a_program_names_its_source_and_the_table_is_true() -> None:
    assert [rule.code for rule in sources.of_programs() if not sources.cited(rule)] == []
    assert sources.table() in text(CONTRIBUTING)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if list(steps(text(page)))], ids=lambda page: page.name)
def test_the_output_shown_is_the_output(page: Path, tmp_path: Path) -> None:
    """Runs every console session of a page, in order, in one folder."""
    for step in steps(text(page)):
        output = run(step.command, tmp_path)
        if not matches(step.output, output):
            assert output == step.output, f"$ {step.command}: `python -m tests.docs.sessions` writes the real output"


def test_no_session_is_told_twice() -> None:
    """But for making the checkpoint that a page works on."""
    told = [step.command for page in PAGES for step in steps(text(page)) if " new " not in step.command]
    assert {command for command in told if told.count(command) > 2} == set()


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("a\n1 b\n...\nd", "a\n2 b\nc\nc\nd", "a\n2 b\n...\nd"),
        ("a\n...\n1 d", "a\nb\nc\n2 d", "a\n...\n2 d"),
        ("a\n...\nd\n1", "a\nb\nd\n2", "a\n...\nd\n2"),
        ("a\n1", "a\n2\n3", "a\n2\n3"),
    ],
)
def test_what_a_page_leaves_out_stays_left_out_where_a_line_changes(old: str, new: str, wanted: str) -> None:
    assert cut_as(old, new) == wanted


@pytest.mark.parametrize(
    ("expected", "output", "is_match"),
    [
        ("a\nb", "a\nb", True),
        ("a\nb", "a\nc", False),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...", "a\nb\nc", True),
        ("...\nc", "a\nb\nc", True),
        ("...\nc\n...", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nb\nc", False),
        ("a.c", "abc", False),
    ],
)
def test_dots_stand_for_any_lines_and_nothing_else_does(expected: str, output: str, is_match: bool) -> None:
    assert matches(expected, output) is is_match
