"""Who may import whom: the rooms of the house form layers, and each third-party package has its one home."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "gte_surgery"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

LAYERS = (
    "findings", "errors", "child", "whole", "outputs", "checkpoint", "gte", "vocabulary", "checks", "surgery",
    "compare", "contract", "model", "smoke", "gate", "cli",
)  # fmt: skip
"""Each may import those before it."""

RENDER_SHOWS = {
    "contract.fuzz",
    "contract.spec",
    "findings",
    "checks.description",
    "checks.registry",
    "contract.scan.corpus",
    "contract.scan.summary",
    "smoke.result",
    "compare.difference",
    "compare.tokenizers",
    "checkpoint.adapters",
    "vocabulary.row_map",
    "surgery.planning.plan",
    "surgery.pieces.piece",
    "compare.portrait",
    "surgery.commit.transaction",
    "surgery.commit.recovery",
}

HOMES = {
    "click": "cli/",
    "huggingface_hub": "checkpoint/hub/",
    "model_signing": ("checks/signature.py", "checks/signing.py"),
    "jsonschema": "gte/schemas.py",
    "referencing": "gte/schemas.py",
    "tomli": "checks/policy.py",
    "hypothesis": ("contract/strategies.py", "contract/fuzz.py"),
    "jinja2": "render/pages.py",
    "numpy": (
        "surgery/pieces/",
        "vocabulary/",
        "compare/",
        "contract/scan/",
        "checks/statistics.py",
        "checks/block_reader.py",
        "checks/weights.py",
    ),
    "tokenizers": "vocabulary/",
    "torch": ("model/", "smoke/"),
    "transformers": ("model/", "smoke/", "vocabulary/rewriting/made.py"),
    "safetensors": ("model/", "smoke/"),
    "cudnn": "model/cudnn_library.py",
    "xformers": "model/",
    "pyarrow": ("contract/scan/", "vocabulary/trimming/"),
    "ray": "contract/scan/on_ray.py",
    "typing_extensions": ("surgery/verbs.py", "surgery/trim.py"),
}
"""Where a third-party package may be imported; one that is not listed may be imported nowhere."""

AT_MODULE_LEVEL = {"click", "hypothesis", "torch", "transformers", "safetensors"}
"""The others are imported inside functions, so that what does not need them does not pay."""

AT_MODULE_LEVEL_IN = "contract/scan/"
"""Here everything may be, for `scan` alone imports this room, and all of it works on arrays."""


def room(module: Path) -> str:
    """checkpoint/headers/header.py → checkpoint; errors.py → errors; __init__.py → ""."""
    name = module.parts[0].removesuffix(".py")
    return "" if name in ("__init__", "__main__") else name


def imports(module: Path) -> Iterator[tuple[str, bool]]:
    """Each imported module by its dotted name, and whether the import stands at module level."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    outermost = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in outermost
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", id(node) in outermost


def ours(module: Path) -> set[str]:
    """The modules of ours that a module imports: {"checkpoint.header", "findings"}."""
    return {name.removeprefix("gte_surgery.") for name, _ in imports(module) if name.startswith("gte_surgery.")}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_room_imports_only_the_rooms_below_it(module: Path) -> None:
    home = room(module)
    if home in ("", "cli"):
        return
    if home == "render":
        assert {name for name in ours(module) if not name.startswith("render.")} <= RENDER_SHOWS
        return
    allowed = LAYERS[: LAYERS.index(home) + 1]
    assert {name for name in ours(module) if name.partition(".")[0] not in allowed} == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_third_party_packages_are_imported_in_their_home_only(module: Path) -> None:
    import sys

    for name, is_outermost in imports(module):
        package = name.partition(".")[0]
        if package in sys.stdlib_module_names or package == "gte_surgery":
            continue
        assert package in HOMES, f"{module} imports {package}"
        assert module.as_posix().startswith(HOMES[package]), f"{module} imports {package}"
        is_free = package in AT_MODULE_LEVEL or module.as_posix().startswith(AT_MODULE_LEVEL_IN)
        assert not is_outermost or is_free, f"{module} imports {package} at module level"


@pytest.mark.parametrize(
    "module",
    [path for path in MODULES if path.name == "__init__.py" and path.parent.parts and room(path) != "smoke"],
    ids=str,
)
def test_the_door_of_a_room_holds_a_docstring_and_nothing_else(module: Path) -> None:
    body = ast.parse((PACKAGE / module).read_text(encoding="utf-8")).body
    assert [type(node).__name__ for node in body] == ["Expr"]


FAMILIES = "gte/families.py"
"""Where the families are known one by one; all else asks the `Family` that a checkpoint has."""


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_family_is_asked_and_never_imported(module: Path) -> None:
    found = {name for name in ours(module) if _is_family(Path(*name.split(".")))}
    assert not found or module.as_posix() == FAMILIES or _is_family(module), found


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) != "gte"], ids=str)
def test_no_family_is_singled_out_outside_the_room_that_knows_them(module: Path) -> None:
    compared = [node for node in ast.walk(_parsed(module)) if isinstance(node, ast.Compare)]
    sides = [ast.unparse(side) for node in compared for side in (node.left, *node.comparators)]
    assert [side for side in sides if re.search(r"family(\.name)?$|model_types?$", side)] == []


def _is_family(module: Path) -> bool:
    """Whether a module is one family's: gte/new_impl/rope_reading.py, gte/bert.py."""
    rest = module.parts[1:]
    return module.parts[0] == "gte" and bool(rest) and rest[0].removesuffix(".py") in ("new_impl", "bert", "modernbert")


def _parsed(module: Path) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


IMPORTED_BY_NAME = {
    "child.py": "the module of ours that a process is for",
    "contract/frameworks.py": "torch or numpy for a caller who asks for tensors; judging imports neither",
    "contract/probe.py": "the user's own encoder",
}
"""Modules that import by a name that is not written down in an import statement, and what."""


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_what_is_imported_by_name_is_ours_or_has_a_reason(module: Path) -> None:
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) in ("import_module", "__import__")]
    foreign = [name for name in named if not re.match(r"f?[\"']gte_surgery\.", name)]
    assert bool(foreign) == (module.as_posix() in IMPORTED_BY_NAME), foreign


def test_every_room_has_a_place_in_the_order() -> None:
    assert {room(module) for module in MODULES} <= {"", "render", *LAYERS}


def neighbours() -> dict[str, set[str]]:
    """Each module of ours by its dotted name, and those that it imports, wherever in the file."""
    named = {".".join(module.with_suffix("").parts): module for module in MODULES}
    found: dict[str, set[str]] = {}
    for name, module in named.items():
        tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
        asked = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        dotted = {f"{node.module}.{alias.name}" for node in asked for alias in node.names}
        dotted |= {str(node.module) for node in asked}
        found[name] = {each.removeprefix("gte_surgery.") for each in dotted} & named.keys() - {name}
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of modules that import each other, directly or through others."""
    reached = {name: _reached(name, graph) for name in graph}
    alike = {name: {other for other in reached[name] if name in reached[other]} for name in graph}
    return sorted({frozenset(circle) for circle in alike.values() if len(circle) > 1}, key=sorted)


def _reached(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(neighbours()) == []


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


OPENING = {
    "open", "os.open", "os.pread", "os.preadv", "os.read", "os.readv", "os.copy_file_range", "os.sendfile", "mmap.mmap",
    "np.load", "np.memmap", "np.fromfile", "safe_open",
}  # fmt: skip
OPENING_METHODS = {"read_bytes", "read_text"}

OPENS_BY_ITSELF = {
    "outputs.py": "where reports go",
    "checkpoint/source.py": "this is where checkpoints are opened",
    "checkpoint/hub/reading.py": "the spool of what came from the hub",
    "checkpoint/nearby.py": "refs/main of the hub's cache, to guess what was meant",
    "checks/policy.py": "the project's policy",
    "checks/signing.py": "a signature that another package writes into a folder of its own",
    "gte/schemas.py": "our own schemas",
    "surgery/commit/filesystem.py": "writing, and the state of a surgery",
    "surgery/commit/holder.py": "what the kernel tells of a process",
    "vocabulary/map_files.py": "the user's own list of ids",
    "vocabulary/token_map.py": "the user's own tokenizer",
    "vocabulary/trimming/child.py": "the words of the user's texts, in a folder of their own",
    "vocabulary/trimming/counting.py": "the words of the user's texts, in a folder of their own",
    "smoke/prove/memory.py": "what the kernel tells of memory",
    "model/weights.py": "safetensors reads straight to the device, from a path that `source` gives",
    "cli/entry.py": "what stands for a stream that was closed",
    "cli/terminal.py": "where output goes when its reader is gone",
    "cli/commands/demo.py": "the checkpoint that it made itself",
}
"""Modules that open files without asking `checkpoint.source`, and which; the user's corpora are `contract.scan`'s."""


def openings(module: Path) -> set[str]:
    """How a module opens or reads files by itself."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {name for name in called if name in OPENING or name.rpartition(".")[2] in OPENING_METHODS}


@pytest.mark.parametrize("module", [each for each in MODULES if each.parts[:2] != ("contract", "scan")], ids=str)
def test_checkpoints_are_opened_by_their_source_only(module: Path) -> None:
    assert bool(openings(module)) == (module.as_posix() in OPENS_BY_ITSELF), openings(module)
