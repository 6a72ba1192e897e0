"""How the code is cut: sizes of modules and functions, docstrings, and words that no name may hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "gte_surgery"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

UNIT = PACKAGE.parent / "tests" / "unit"

LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
CROWDED = 16
"""More files side by side than this ask for a room inside the room; commands are a list, one file each."""
FORBIDDEN = {
    "manager", "helper", "helpers", "util", "utils", "handler", "handlers", "processor", "engine", "data", "info",
}  # fmt: skip
WORDS_OF_THE_FORMAT = {"data_start", "data_size", "data_offsets"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(module: Path) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


def names(module: Path) -> Iterator[str]:
    """Every name that a module gives to something: itself, functions, classes, arguments, variables."""
    yield from (part.removesuffix(".py") for part in module.parts)
    for node in ast.walk(tree(module)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name


def words(name: str) -> set[str]:
    """The words of a name: "parse_JsonHeader" → {"parse", "json", "header"}."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_is_short(module: Path) -> None:
    assert len((PACKAGE / module).read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_function_is_short(module: Path) -> None:
    functions = [node for node in ast.walk(tree(module)) if isinstance(node, Function)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_names_are_words_of_the_field(module: Path) -> None:
    assert {name for name in names(module) if words(name) & FORBIDDEN} <= WORDS_OF_THE_FORMAT


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_and_what_they_offer_have_docstrings(module: Path) -> None:
    top = tree(module)
    offered = [
        node for node in top.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    assert ast.get_docstring(top)
    assert [node.name for node in offered if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_nothing_is_left_for_later(module: Path) -> None:
    text = (PACKAGE / module).read_text(encoding="utf-8")
    assert re.findall(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError", text) == []


def test_the_forbidden_words_are_seen_inside_names() -> None:
    assert words("tensorData_info") & FORBIDDEN == {"data", "info"}
    assert words("metadata") & FORBIDDEN == set()


@pytest.mark.parametrize("room", sorted({module.parent for module in MODULES}), ids=str)
def test_a_room_is_not_crowded(room: Path) -> None:
    files = [module for module in MODULES if module.parent == room and module.name != "__init__.py"]
    assert len(files) <= CROWDED or room.name == "commands"


@pytest.mark.parametrize("folder", sorted({path.parent for path in UNIT.rglob("test_*.py")}), ids=str)
def test_the_unit_tests_mirror_the_package(folder: Path) -> None:
    room = folder.relative_to(UNIT)
    assert (PACKAGE / room).is_dir() or room.parts[0] == "bench"
