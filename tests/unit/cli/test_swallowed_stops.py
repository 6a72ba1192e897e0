"""A stop that comes where Python swallows exceptions is not lost."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, time
from gte_surgery.cli.stops import StoppedError, heed_stops

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
heed_stops()
try:
    Finalized()
    for _ in range(500):
        time.sleep(0.01)
except StoppedError as stop:
    print(stop.reason)
"""


@pytest.mark.parametrize(
    ("name", "told"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "the terminal was closed")]
)
def test_a_stop_that_comes_while_an_object_is_finalized_is_repeated(name: str, told: str) -> None:
    program = PROGRAM.format(name=signal.Signals[name].name)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"{told}\n", "")
