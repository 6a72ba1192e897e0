"""Real processes that are asked to stop, by every signal that asks, at random moments of every writing command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="waits for a process by /proc, which is Linux's")
def test_a_surgery_that_is_asked_to_stop_leaves_one_of_the_checkpoints_says_so_and_clears_up(
    tmp_path: Path, long: bool
) -> None:
    stops = 2000 if long else 20
    command = [sys.executable, str(ROOT / "tests" / "crash" / "stop_loop.py"), str(tmp_path), str(stops)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    counts = {name: int(count) for name, count in (pair.split("=") for pair in done.stdout.split())}
    assert counts["stopped"] == stops == counts["SIGINT"] + counts["SIGTERM"] + counts["SIGHUP"]
    assert counts["old"] > stops // 2
