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


NAMING = """
import os, signal, sys, time
from gte_surgery.cli import entry, group

class Named:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

def main(**_):
    class Owner:
        member = Named()

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
group.program.main = main
sys.argv = ["gte-surgery", "rules"]
entry.main()
"""


def test_a_stop_that_comes_while_a_class_names_its_members_is_none_of_a_bug() -> None:
    done = subprocess.run([sys.executable, "-c", NAMING], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.partition("\n")[0]) == (143, "error: terminated")
