"""Times whole processes, start to end: wall time, peak memory, exit code, and the last thing that was said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
print(json.dumps([seconds, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)]))
"""
"""A process counts the memory of the one that it was forked from; so a small one stands between us and the command."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command: wall seconds, peak resident memory in bytes, exit code, last line on stderr."""

    seconds: float
    peak: int
    code: int
    said: str = ""


def run(command: Sequence[str | Path], codes: Collection[int] = (0,)) -> Run:
    """Runs a command once, its output thrown away; raises RuntimeError when it ends with another exit code."""
    wanted = [sys.executable, "-S", "-c", LAUNCHER, *map(str, command)]
    launched = subprocess.run(wanted, capture_output=True, text=True, errors="replace", check=True)
    lines = [line.strip() for line in launched.stderr.splitlines() if line.strip()]
    found = Run(*json.loads(launched.stdout), said=lines[-1] if lines else "")
    if found.code not in codes:
        raise RuntimeError(f"exit {found.code}: {found.said}")
    return found


def run_clean(command: Sequence[str | Path], prepare: Callable[[], None], codes: Collection[int] = (0,)) -> Run:
    """`run` after `prepare`, and after everything that others wrote is on disk."""
    prepare()
    os.sync()
    return run(command, codes)


def removing(*paths: Path) -> Callable[[], None]:
    """Removes files and folders, so that a command finds its place empty."""

    def remove() -> None:
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    return remove
