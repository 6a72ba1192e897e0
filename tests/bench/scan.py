"""How fast `scan` is beside pyarrow, which only decodes the columns, and beside itself with more processes or data.

python -m tests.bench.scan [FOLDER]
python -m tests.bench.scan --write FILE ROWS, or --decode FILE: the corpus, and decoding it, for `bin/bench`

All in one run; decoding and scanning take turns, so that both meet the same moods of the machine. Needs about 300 MB of
disk below the folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gte_surgery.contract.scan.corpus import CorpusReport, scan
from gte_surgery.contract.spec import IdContract

CONTRACT = IdContract(vocab_size=250_048, pad_token_id=1, type_vocab_size=1, max_length=8192)
COLUMNS = ["input_ids", "attention_mask"]
WIDTH = 1024
GROUP = 2500
DTYPES = {"int64": (np.int64, np.int64), "int32": (np.int32, np.int8)}
"""Of ids and mask: as tensors have them, and as the datasets library keeps them."""

PEAK = """
import re, sys
from pathlib import Path
from gte_surgery.contract.scan.corpus import scan
from gte_surgery.contract.spec import IdContract
scan(IdContract(250_048, 1, 1, 8192), sys.argv[1])
print(re.search(r"VmHWM:\\s*([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""
"""Prints its own peak; what wait4 tells of a child may be its parent's, from before the exec."""


def measure(folder: Path, repeat: int = 5, rows: int = 25_000) -> dict[str, float]:
    """Median seconds and their ratios, over a corpus of `rows` rows of 1024 ids with masks in parquet.

    `ratio …` is scan by decode (the target is 1.5); `two threads` is the time of one worker by that of two on ten times
    the data, of which 2 is the most; `memory` the peak with ten times the rows by that with once.
    """
    found: dict[str, float] = {}
    for name, dtypes in DTYPES.items():
        path = write(folder / f"{name}.parquet", rows, *dtypes)
        times = in_turns(repeat, lambda: decode(path), lambda: one_worker(path))  # noqa: B023 - called at once
        found |= {f"decode {name}": times[0], f"scan {name}": times[1], f"ratio {name}": times[1] / times[0]}
        found[f"million ids a second {name}"] = rows * WIDTH / times[1] / 1e6
    times = in_turns(repeat, lambda: one_worker(path), lambda: scan(CONTRACT, path, counts=True))
    found["counts"] = times[1] / times[0]
    copies = [linked(folder, path, count) for count in (1, 10)]
    times = in_turns(max(1, repeat // 2), lambda: one_worker(copies[1]), lambda: scan(CONTRACT, copies[1], workers=2))
    found["two threads"] = times[0] / times[1]
    peaks = [
        int(subprocess.run([sys.executable, "-c", PEAK, copies[n]], check=True, capture_output=True).stdout)
        for n in (0, 1)
    ]
    return found | {"memory": peaks[1] / peaks[0], "peak MB": peaks[1] / 1000}


def write(path: Path, rows: int, of_ids: type, of_mask: type) -> Path:
    """Right-padded rows of 16 to 1024 random ids, and their masks."""
    draw = np.random.default_rng(0)
    ids = draw.integers(2, CONTRACT.vocab_size, (rows, WIDTH))
    mask = np.arange(WIDTH) < draw.integers(16, WIDTH + 1, (rows, 1))
    ids[~mask] = CONTRACT.pad_token_id
    offsets = np.arange(0, rows * WIDTH + 1, WIDTH, dtype=np.int32)
    columns = (ids.astype(of_ids), mask.astype(of_mask))
    lists = [pa.ListArray.from_arrays(offsets, column.ravel()) for column in columns]
    pq.write_table(pa.table(lists, COLUMNS), path, row_group_size=GROUP)
    return path


def linked(folder: Path, path: Path, count: int) -> Path:
    """A folder with so many names for one file."""
    copies = folder / f"{count} times"
    copies.mkdir()
    for number in range(count):
        (copies / f"{number}.parquet").hardlink_to(path)
    return copies


def decode(path: Path) -> None:
    """What any reader has to do: decode both columns, in one thread."""
    for _ in pq.ParquetFile(path).iter_batches(GROUP, columns=COLUMNS, use_threads=False):
        pass


def one_worker(path: Path) -> CorpusReport:
    return scan(CONTRACT, path)


def in_turns(repeat: int, *acts: Callable[[], object]) -> list[float]:
    """Median seconds of each act; all are done once before, and then in turns."""
    times: list[list[float]] = [[] for _ in acts]
    for turn in range(repeat + 1):
        for act, taken in zip(acts, times, strict=True):
            begin = time.perf_counter()
            act()
            taken += [time.perf_counter() - begin] if turn else []
    return [median(taken) for taken in times]


def main() -> None:
    match sys.argv[1:]:
        case ["--write", path, rows]:
            write(Path(path), int(rows), *DTYPES["int64"])
        case ["--decode", path]:
            decode(Path(path))
        case folder:
            report(*folder)


def report(folder: str | None = None) -> None:
    """Prints the numbers of `measure`."""
    with tempfile.TemporaryDirectory(dir=folder) as below:
        sys.stdout.write(
            json.dumps({name: round(value, 3) for name, value in measure(Path(below)).items()}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
