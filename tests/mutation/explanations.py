"""Why a mutant lives that no test can tell from the original, or none should: what the files of explained/ say.

An entry `mutant` is about one mutant: its function, the line that was and what it becomes. An entry `kind` is about all
mutants of functions that a shell pattern names whose line holds the text `where` and differs in nothing but what
the regular expression `changed` matches. `python -m tests.mutation` counts them as survivors all the same.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutants import Mutant

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "explained"


@dataclass(frozen=True)
class Kind:
    """An entry `kind`."""

    functions: str
    changed: str
    where: str
    why: str

    def holds(self, mutant: Mutant) -> bool:
        before, after = (re.sub(self.changed, "", line) for line in (mutant.was, mutant.becomes))
        return self.where in mutant.was and before == after and fnmatch.fnmatch(mutant.function, self.functions)


class Explanations:
    """All that is explained."""

    def __init__(self, folder: Path = FOLDER) -> None:
        told = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.toml"))]
        self._kinds = [Kind(**entry) for file in told for entry in file.get("kind", ())]
        entries = [entry for file in told for entry in file.get("mutant", ())]
        self._single = {(entry["function"], entry["was"], entry["becomes"]) for entry in entries}

    def holds(self, mutant: Mutant) -> bool:
        """Whether a mutant is explained."""
        is_single = (mutant.function, mutant.was, mutant.becomes) in self._single
        return is_single or any(kind.holds(mutant) for kind in self._kinds)
