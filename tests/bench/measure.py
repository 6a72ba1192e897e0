"""Times whole processes: wall time and peak memory of a command, the median of several runs."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Timing:
    """Median wall seconds and largest peak memory (resident set, bytes) of some runs of one command."""

    seconds: float
    peak: int
    runs: tuple[float, ...]


def time_command(command: Sequence[str], repeat: int, prepare: Callable[[], None], quiet: bool = True) -> Timing:
    """Runs `prepare` and then the command, `repeat` times; raises RuntimeError when the command fails."""
    seconds, peak = [], 0
    for _ in range(repeat):
        prepare()
        os.sync()
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL if quiet else None)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - start)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}")
        peak = max(peak, usage.ru_maxrss * 1024)
    return Timing(statistics.median(seconds), peak, tuple(seconds))


def joined(timings: Sequence[Timing]) -> Timing:
    """The runs of several timings of one command as one."""
    runs = tuple(seconds for timing in timings for seconds in timing.runs)
    return Timing(statistics.median(runs), max(timing.peak for timing in timings), runs)


def removing(*paths: Path) -> Callable[[], None]:
    """Removes files and folders, so that a command finds its place empty."""

    def remove() -> None:
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    return remove
