"""Mutation testing of a room: `python -m tests.mutation ROOM` with ROOM one of gte, plan and contract.

python -m tests.mutation ROOM [--again] [--only PATTERN] [--part N] [--minutes M] [--quick] [--at-once N]
    [--work FOLDER]

Needs `pip install ".[mutation]"`. Prints the counts, the score, and each survivor that explained/ does not explain.
Outcomes are kept in FOLDER (build/mutation): the next call tries only mutants that are new or survived, unless --again.
Mutants are tried in a random order, always the same, so that those tried when the time was up are a fair sample.
Exits with 1 below a score of 85 %.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutation.explanations import Explanations
from tests.mutation.mutants import ROOT, Mutant, copy_with_mutants

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
TARGET = 85.0
ALIVE = ("survived", "no tests")


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
    "--basetemp=tmp",
)
"""The folder for files is the run's own: another pytest that ends removes what no process holds of the common one, and
then each mutant fails every test that writes a file."""


def _alternatives(pattern: str) -> Iterator[str]:
    before, brace, rest = pattern.partition("{")
    inside, _, after = rest.partition("}")
    yield from (before + each + after for each in inside.split(",")) if brace else (pattern,)


def rooms() -> dict[str, list[Part]]:
    """The rooms by name."""
    told = tomllib.loads((HERE / "rooms.toml").read_text(encoding="utf-8"))
    return {room: [Part(**part) for part in parts] for room, parts in told.items()}


def environment(mutant: str = "") -> dict[str, str]:
    """One thread each, since the processes are forked; the same examples every time."""
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **alone, "CI": "1", "GTE_SURGERY_MUTANT": mutant, "PYTHONDONTWRITEBYTECODE": "1"}


def forked(part: Part, mutants: Sequence[Mutant], folder: Path, at_once: int, minutes: float) -> list[Any]:
    """What plugin.py finds out about these mutants, in lines: what it saw before, then [mutant, outcome] each."""
    wanted, told = folder / "wanted.json", folder / "told.jsonl"
    wanted.write_text(json.dumps([(each.name, each.home) for each in mutants]))
    told.unlink(missing_ok=True)
    options = [f"--mutants={wanted}", f"--outcomes={told}", f"--at-once={at_once}", f"--minutes={minutes}"]
    command = part.command("-p", "tests.mutation.plugin", *options, f"--examples={part.examples}")
    subprocess.run(command, cwd=folder, env=environment(), check=False)
    lines = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
    if len(lines) < 2:
        raise SystemExit("the tests do not pass without a mutant, or could not run")
    return lines


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


def tried(
    part: Part, mutants: Sequence[Mutant], folder: Path, at_once: int, minutes: float, is_quick: bool
) -> dict[str, str]:
    """What became of the mutants that there was time for."""
    before, *lines = forked(part, mutants, folder, at_once, minutes)
    outcomes = dict(lines)
    for mutant in mutants:
        if outcomes.get(mutant.name) not in ALIVE or mutant.home not in before["at_import"]:
            continue
        if is_quick:
            del outcomes[mutant.name]
        else:
            outcomes[mutant.name] = fresh(part, mutant, folder, 60 + 6 * before["seconds"])
    return outcomes


@dataclass(frozen=True)
class Count:
    """Of a part: its mutants, how many were tried, and how many of those a test noticed."""

    mutants: int
    tried: int
    noticed: int


def score(counts: Sequence[Count]) -> tuple[float, float]:
    """The share of mutants that are noticed, and how far off it may be, in percent: half of a 95 % interval.

    Each part weighs as much as it has mutants. What was tried of a part is a random sample, of which the interval is
    the normal one, with a half of each outcome added so that a sample without survivors does not promise too much.
    """
    total = sum(each.mutants for each in counts)
    share = sum(each.mutants / total * each.noticed / each.tried for each in counts)
    variance = 0.0
    for each in counts:
        smoothed = (each.noticed + 0.5) / (each.tried + 1)
        rest = 1 - each.tried / each.mutants
        variance += (each.mutants / total) ** 2 * smoothed * (1 - smoothed) / each.tried * rest
    return 100 * share, 196 * math.sqrt(variance)


def report(parts: Sequence[Sequence[Mutant]], outcomes: Mapping[str, str]) -> float:
    """Prints counts, survivors and the score, in which survivors that are explained still count as survivors."""
    explained = Explanations()
    counts = []
    kinds: Counter[str] = Counter()
    alive: list[Mutant] = []
    for mutants in parts:
        seen = [outcomes[mutant.key] for mutant in mutants if mutant.key in outcomes]
        surviving = [mutant for mutant in mutants if outcomes.get(mutant.key) in ALIVE]
        counts.append(Count(len(mutants), len(seen), len(seen) - len(surviving)))
        kinds.update(seen)
        alive += surviving
    unexplained = [each for each in alive if not explained.holds(each)]
    for each in unexplained:
        print(f"{outcomes[each.key]}: {each.function}\n  - {each.was}\n  + {each.becomes}")
    for number, count in enumerate(counts, 1):
        print(f"part {number}: {count.mutants} mutants, {count.tried} tried, {count.noticed} noticed")
    share, off = score([count for count in counts if count.tried])
    told = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    print(f"{sum(each.tried for each in counts)} of {sum(each.mutants for each in counts)} mutants tried: {told}")
    print(f"score {share:.1f} %" + (f" ± {off:.1f}" if off else ""), end="; ")
    print(f"{len(alive) - len(unexplained)} survivors explained, {len(unexplained)} not")
    return share


def main() -> int:
    """One room from copying to its score."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("room", choices=rooms())
    parser.add_argument("--again", action="store_true", help="try every mutant, not only what is new or survived")
    parser.add_argument("--only", default="*", help="a pattern of functions, as gte.rope.*")
    parser.add_argument("--part", type=int, default=0, help="try mutants of this part of the room alone")
    parser.add_argument("--minutes", type=float, default=1e9, help="for each part of the room; the next call goes on")
    parser.add_argument("--quick", action="store_true", help="leave out what takes a process: survivors run at import")
    parser.add_argument("--at-once", type=int, default=1, help="mutants tried at the same time")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "mutation", help="where copies and outcomes go")
    chosen = parser.parse_args()
    kept = chosen.work.resolve() / f"{chosen.room}.json"
    known: dict[str, str] = json.loads(kept.read_text()) if kept.exists() and not chosen.again else {}
    parts: list[list[Mutant]] = []
    for number, part in enumerate(rooms()[chosen.room], 1):
        folder = kept.with_suffix("") / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        made = copy_with_mutants(part.files(), folder)
        mutants = sorted((each for each in made if fnmatch.fnmatch(each.function, chosen.only)), key=lambda m: m.order)
        if not mutants:
            continue
        unknown = [each for each in mutants if each.key not in known]
        survivors = [each for each in mutants if known.get(each.key) in ALIVE]
        if (unknown or survivors) and chosen.part in (0, number):
            outcomes = tried(part, [*survivors, *unknown], folder, chosen.at_once, chosen.minutes, chosen.quick)
            known |= {each.key: outcomes[each.name] for each in mutants if each.name in outcomes}
            kept.write_text(json.dumps(known, indent=0))
        parts.append(mutants)
    return int(report(parts, known) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
