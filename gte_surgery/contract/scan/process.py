"""A process of a scan, and those that wait for the next one.

Nothing that judges or reads is imported here, so that a process can begin before the one that asks it is ready.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Pipe
from pathlib import Path

from gte_surgery.errors import RefusedError

BOOT = "import sys; sys.path[:] = sys.argv[2:]; from gte_surgery.contract.scan import worker; worker.serve(sys.argv[1])"
"""Started as `python -I -c BOOT DESCRIPTOR PATH…`: isolated, until the path of the caller, made safe, is its own."""

READY = "ready"
"""The first answer, before any question: what ends the process from here on is what it reads."""

_NOT_BEGUN = f"`{sys.executable} -c 'import gte_surgery.contract.scan.worker'` says why"


class FailedError(Exception):
    """What went wrong in the process, by its traceback: a bug of ours, for files never raise."""


class Process:
    """A process that answers; see `worker`."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        command = [sys.executable, "-I", "-c", BOOT, str(theirs.fileno()), *safe_path(sys.path)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=quiet, stdout=quiet, stderr=quiet)
        theirs.close()
        self.caller, self.folder = os.getpid(), _folder()
        self.is_ready = False
        self.is_alive = True

    def takes(self, question: object) -> bool:
        """Whether the question could be put; a process that never began will tell by its end."""
        try:
            self.connection.send(question)
        except OSError:
            return False
        return True

    def obituary(self) -> str:
        """What ended it, in words. Raises RefusedError where it did not even start."""
        self.is_alive = False
        self.end()
        code = self._process.returncode
        if not self.is_ready:
            raise RefusedError(f"a process of the scan ended with exit code {code} before it began", _NOT_BEGUN)
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the process that read it ended by {cause}" + (", was memory short?" if cause == "SIGKILL" else "")

    def end(self) -> None:
        """End it, if it has not ended."""
        self.connection.close()
        self._process.kill()
        self._process.wait()


WAITING: list[Process] = []
"""One idle process of each scan that is over, for the next one to begin at once; they end with this one."""


def prepare() -> None:
    """Let a process begin for a scan that comes soon."""
    WAITING.append(waiting() or Process())


@atexit.register
def end_waiting() -> None:
    """End the processes that wait for another scan."""
    while (process := waiting()) is not None:
        process.end()


def waiting() -> Process | None:
    """One that waits, unless it waits for the process that this one was forked from, or stands in another folder."""
    while WAITING:
        process = WAITING.pop()
        if process.caller == os.getpid():
            if process.folder == _folder():
                return process
            process.end()
    return None


def _folder() -> tuple[int, int]:
    """Which folder the names of files are taken from."""
    here = os.stat(os.curdir)
    return here.st_dev, here.st_ino


def safe_path(path: list[str]) -> list[str]:
    """A path of modules without the working directory, unless that is where this package itself lies."""
    ours = str(Path(__file__).parents[3])
    here = os.path.realpath(os.curdir)
    return [ours, *(each for each in path if os.path.isabs(each) and os.path.realpath(each) != here)]
