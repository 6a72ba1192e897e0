"""The mutants of a room, and a copy of the project that holds them all. mutmut writes each mutant of a function beside
the function, under another name; `switch.py` chooses among them, so that no file changes between two mutants.
"""

from __future__ import annotations

import difflib
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutmut.mutation.file_mutation import MutatedFile, mutate_file_contents

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("gte_surgery", "schemas", "tests", "pyproject.toml", "README.md", "CHANGELOG.md", ".github")
SWITCH = "from gte_surgery._switch import MutantDict, _mutmut_mutated"
TRAMPOLINE = "from mutmut.mutation.trampoline import wrap_in_trampoline as _mutmut_mutated, MutantDict"


@dataclass(frozen=True)
class Mutant:
    """One changed function: `name` is what the switch knows, `function` what readers know (gte.rope.describe)."""

    name: str
    function: str
    was: str
    becomes: str
    digest: str

    @property
    def key(self) -> str:
        """What its outcome is kept under: another text of the function is another mutant."""
        return f"{self.name} {self.digest}"

    @property
    def order(self) -> str:
        """A random number that depends on the mutant alone."""
        return hashlib.sha256(self.key.encode()).hexdigest()

    @property
    def home(self) -> str:
        """The function as the switch reports it: gte_surgery.gte.new_impl.rope.x_describe."""
        return self.name.partition("__mutmut_")[0]


def copy_with_mutants(sources: Sequence[Path], folder: Path) -> tuple[Mutant, ...]:
    """A copy of the project in `folder`, in which `sources` (relative to the root) hold all their mutants."""
    for name in COPIED:
        target = folder / name
        if target.is_dir():
            shutil.rmtree(target)
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis")
            )
        else:
            shutil.copy2(ROOT / name, target)
    shutil.copy2(Path(__file__).with_name("switch.py"), folder / "gte_surgery" / "_switch.py")
    return tuple(mutant for source in sources for mutant in _mutate(source, folder))


def _mutate(source: Path, folder: Path) -> Iterator[Mutant]:
    mutated = mutate_file_contents(str(source), (folder / source).read_text(encoding="utf-8"))
    (folder / source).write_text(mutated.code.replace(TRAMPOLINE, SWITCH), encoding="utf-8")
    module = ".".join(source.with_suffix("").parts)
    for name in mutated.mutant_names:
        stem = name.partition("__mutmut_")[0]
        was, becomes = _difference(mutated, f"{stem}__mutmut_orig", name)
        function = stem.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
        digest = hashlib.sha256("\n".join(_lines(mutated, name)).encode()).hexdigest()[:16]
        yield Mutant(f"{module}.{name}", f"{module.removeprefix('gte_surgery.')}.{function}", was, becomes, digest)


def _lines(mutated: MutatedFile, name: str) -> list[str]:
    span = mutated.line_span_by_function_name[name]
    lines = mutated.code.splitlines()[span.start - 1 : span.end]
    return [line.replace(name, name.partition("__mutmut_")[0]) for line in lines]


def _difference(mutated: MutatedFile, original: str, name: str) -> tuple[str, str]:
    """The lines that a mutant has otherwise, without their indentation: those that were, and those that are."""
    lines = list(difflib.ndiff(_lines(mutated, original), _lines(mutated, name)))
    was, becomes = ([line[2:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
    return " ".join(was), " ".join(becomes)
