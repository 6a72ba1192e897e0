"""Mutation testing of a room: `python -m tests.mutation ROOM` with ROOM one of gte, plan and contract.

python -m tests.mutation ROOM [--again] [--only PATTERN] [--sample SHARE] [--at-once N] [--work FOLDER]

Needs `pip install ".[mutation]"`. Prints the counts, the score, and each survivor that explained.toml does not explain.
Outcomes are kept in FOLDER (build/mutation): the next call tries only mutants that are new or survived, unless --again.
Exits with 1 below a score of 85 %.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutation.mutants import ROOT, Mutant, copy_with_mutants

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
TARGET = 85.0
ALIVE = ("survived", "no tests")
EXPLAINED = HERE / "explained.toml"


@dataclass(frozen=True)
class Part:
    """A part of a room, see rooms.toml."""

    sources: Sequence[str]
    tests: Sequence[str]
    left_out: Sequence[str] = ()
    not_mutated: Sequence[str] = ()
    examples: int = 25

    def files(self) -> list[Path]:
        """The sources, relative to the root; braces in a pattern name alternatives."""
        patterns = [each for pattern in self.sources for each in _alternatives(pattern)]
        found = sorted(path.relative_to(ROOT) for pattern in patterns for path in ROOT.glob(pattern))
        return [path for path in found if path.name not in self.not_mutated]

    def command(self, *more: str) -> list[str]:
        """Runs the tests, without what the cache and other plugins would add."""
        without = [f"--deselect={test}" for test in self.left_out]
        return [sys.executable, "-m", "pytest", *PLAIN, *without, *more, *self.tests]


PLAIN = (
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "--capture=sys",
    "-o",
    "tmp_path_retention_policy=none",
)


def _alternatives(pattern: str) -> Iterator[str]:
    before, brace, rest = pattern.partition("{")
    inside, _, after = rest.partition("}")
    yield from (before + each + after for each in inside.split(",")) if brace else (pattern,)


def rooms() -> dict[str, list[Part]]:
    """The rooms by name."""
    told = tomllib.loads((HERE / "rooms.toml").read_text(encoding="utf-8"))
    return {room: [Part(**part) for part in parts] for room, parts in told.items()}


def explanations() -> dict[tuple[str, str, str], str]:
    """Why a mutant cannot be told from the original: (function, was, becomes) → the reason."""
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("mutant", [])
    return {(entry["function"], entry["was"], entry["becomes"]): entry["why"] for entry in entries}


def environment(mutant: str = "") -> dict[str, str]:
    """One thread each, since the processes are forked; the same examples every time."""
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **alone, "CI": "1", "GTE_SURGERY_MUTANT": mutant, "PYTHONDONTWRITEBYTECODE": "1"}


def forked(part: Part, mutants: Sequence[Mutant], folder: Path, at_once: int) -> dict[str, Any]:
    """What plugin.py finds out about these mutants."""
    wanted, found = folder / "wanted.json", folder / "found.json"
    wanted.write_text(json.dumps([(each.name, each.home) for each in mutants]))
    found.unlink(missing_ok=True)
    options = (f"--mutants={wanted}", f"--outcomes={found}", f"--at-once={at_once}", f"--examples={part.examples}")
    subprocess.run(part.command("-p", "tests.mutation.plugin", *options), cwd=folder, env=environment(), check=False)
    if not found.exists():
        raise SystemExit("the tests do not pass without a mutant, or could not run")
    outcomes: dict[str, Any] = json.loads(found.read_text())
    return outcomes


def fresh(part: Part, mutant: Mutant, folder: Path, seconds: float) -> str:
    """What becomes of a mutant that is in force from the first import on."""
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        run = subprocess.run(
            part.command(), cwd=folder, env=environment(mutant.name), timeout=seconds, check=False, **silent
        )
    except subprocess.TimeoutExpired:
        return "timeout"
    return "survived" if run.returncode == 0 else "killed"


def tried(part: Part, mutants: Sequence[Mutant], folder: Path, at_once: int) -> dict[str, str]:
    """What became of each mutant."""
    found = forked(part, mutants, folder, at_once)
    outcomes: dict[str, str] = found["outcomes"]
    for mutant in mutants:
        if outcomes[mutant.name] in ALIVE and mutant.home in found["at_import"]:
            outcomes[mutant.name] = fresh(part, mutant, folder, 60 + 6 * found["seconds"])
    return outcomes


def report(mutants: Sequence[Mutant], outcomes: Mapping[str, str]) -> float:
    """Prints counts, survivors and the score, in which survivors that are explained still count as survivors."""
    why = explanations()
    alive = [mutant for mutant in mutants if outcomes[mutant.name] in ALIVE]
    unexplained = [each for each in alive if (each.function, each.was, each.becomes) not in why]
    for each in unexplained:
        print(f"{outcomes[each.name]}: {each.function}\n  - {each.was}\n  + {each.becomes}")
    counts = Counter(outcomes[mutant.name] for mutant in mutants)
    score = 100 * (len(mutants) - len(alive)) / max(len(mutants), 1)
    print(f"{len(mutants)} mutants:", ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    print(f"score {score:.1f} %; {len(alive) - len(unexplained)} survivors explained, {len(unexplained)} not")
    return score


def main() -> int:
    """One room from copying to its score."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("room", choices=rooms())
    parser.add_argument("--again", action="store_true", help="try every mutant, not only what is new or survived")
    parser.add_argument("--only", default="*", help="a pattern of functions, as gte.rope.*")
    parser.add_argument("--sample", type=float, default=1.0, help="the share of mutants to take, always the same ones")
    parser.add_argument("--at-once", type=int, default=1, help="mutants tried at the same time")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "mutation", help="where copies and outcomes go")
    chosen = parser.parse_args()
    kept = chosen.work.resolve() / f"{chosen.room}.json"
    known: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
    every: list[Mutant] = []
    for number, part in enumerate(rooms()[chosen.room], 1):
        folder = kept.with_suffix("") / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        mutants = [
            mutant
            for mutant in copy_with_mutants(part.files(), folder)
            if fnmatch.fnmatch(mutant.function, chosen.only) and int(mutant.digest, 16) < chosen.sample * 2**64
        ]
        settled = () if chosen.again else [each for each in mutants if known.get(each.key, "survived") not in ALIVE]
        trying = [each for each in mutants if each not in settled]
        if trying:
            outcomes = tried(part, trying, folder, chosen.at_once)
            known |= {each.key: outcomes[each.name] for each in trying}
            kept.write_text(json.dumps(known, indent=0))
        every += mutants
    return int(report(every, {each.name: known[each.key] for each in every}) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
