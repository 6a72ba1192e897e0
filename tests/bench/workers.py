"""How much faster two workers scan than one, beside two separate programs with half of the data each: the most that
this machine gives, whatever the cause (memory, cores that share a clock, other load).

python -m tests.bench.workers [FOLDER] [ROUNDS]

All take turns, and the best of each counts. Needs about 110 MB of disk below the folder.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

from gte_surgery.contract.scan import local
from gte_surgery.contract.scan.corpus import scan
from tests.bench.scan import CONTRACT, DTYPES, write

ROWS = 25_000


def measure(folder: Path, rounds: int, rows: int = ROWS) -> dict[str, dict[str, float]]:
    """For each pair of dtypes the best seconds of one worker, of two and of two programs;
    the gain of each over one worker, and the share of the programs' gain that the workers reach."""
    return {name: _measure(folder / name, rounds, rows, dtypes) for name, dtypes in DTYPES.items()}


def _measure(folder: Path, rounds: int, rows: int, dtypes: tuple[type, type]) -> dict[str, float]:
    folder.mkdir()
    halves = [write(folder / f"{part}.parquet", rows // 2, *dtypes) for part in ("a", "b")]
    with _programs(halves) as programs:
        best = _best(
            rounds,
            {
                "one": lambda: scan(CONTRACT, folder),
                "workers": lambda: _by_two(folder),
                "programs": programs,
            },
        )
    gains = {f"gain of {name}": best["one"] / best[name] for name in ("workers", "programs")}
    return best | gains | {"workers reach": best["programs"] / best["workers"]}


def _by_two(folder: Path) -> None:
    with patch.object(local, "_WORTH", 1):
        scan(CONTRACT, folder, workers=2)


def _best(rounds: int, acts: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each act at its best; all are done once before, and then in turns."""
    best = dict.fromkeys(acts, float("inf"))
    for turn in range(rounds + 1):
        for name, act in acts.items():
            begin = time.perf_counter()
            act()
            if turn:
                best[name] = min(best[name], time.perf_counter() - begin)
    return best


@contextmanager
def _programs(paths: list[Path]) -> Iterator[Callable[[], None]]:
    """An act in which every path is scanned by a program of its own, all of them started and warm."""
    context = get_context("spawn")
    ours, theirs = zip(*(context.Pipe() for _ in paths), strict=True)
    running = [context.Process(target=_program, args=(path, end)) for path, end in zip(paths, theirs, strict=True)]
    for process in running:
        process.start()

    def act() -> None:
        for end in ours:
            end.send(True)
        for end in ours:
            end.recv()

    try:
        act()
        yield act
    finally:
        for end, process in zip(ours, running, strict=True):
            end.send(False)
            process.join()


def _program(path: Path, asked: Connection) -> None:
    while asked.recv():
        scan(CONTRACT, path)
        asked.send(True)


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    folder, rounds = arguments.get(1), arguments.get(2, "15")
    with tempfile.TemporaryDirectory(dir=folder) as below:
        found = measure(Path(below), int(rounds))
    told = {name: {key: round(value, 3) for key, value in each.items()} for name, each in found.items()}
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
