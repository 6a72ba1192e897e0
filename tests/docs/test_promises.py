"""Each promise, and each row of the table of attackers, names a test that would fail, and that test is there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.sessions import ROOT, SECURITY


def rows_of_the_tables() -> list[str]:
    """Every row of a table whose last column is what holds it."""
    tables = re.findall(r"^\|.*\| held by \|\n\|[-|]+\n((?:\|.*\n)+)", SECURITY.read_text("utf-8"), re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


def is_there(test: str) -> bool:
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def test_there_are_both_tables() -> None:
    assert len(rows_of_the_tables()) >= 13


@pytest.mark.parametrize("row", rows_of_the_tables(), ids=lambda row: row[2:42])
def test_a_row_names_tests_that_exist(row: str) -> None:
    tests = re.findall(r"`(tests/[\w/]+\.py::\w+)`", row)
    assert tests, "names no test"
    assert [test for test in tests if not is_there(test)] == []
    assert set(re.findall(r"`(tests/[^`]+)`", row)) == set(tests), "names a file, and not the test in it"
