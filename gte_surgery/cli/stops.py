"""How the program stops when it is asked to: Ctrl-C, `kill` and a closed terminal end a command by an exception, so
that it cleans up on its way out. One is enough; what follows it is ignored, since it could only disturb the cleaning.

Python swallows an exception that is raised while an object is finalized or an import lock goes; that stop is repeated.
Up to 3.11 it makes another of one that is raised while a class names its members [CPython 3.11, typeobject.c,
type_new_set_names]; the stop is behind it.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from gte_surgery.cli import exits
from gte_surgery.surgery.commit.stops import STOPS

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SOON = 0.01
"""Seconds after which a stop is repeated."""
_MEANINGS = {
    signal.SIGINT: ("interrupted", exits.INTERRUPTED),
    signal.SIGTERM: ("terminated", exits.TERMINATED),
    signal.SIGHUP: ("the terminal was closed", exits.HUNG_UP),
}


class StoppedError(KeyboardInterrupt):
    """The program was asked to stop; `reason` in words, and the exit code that shells know it by."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.number = signal.Signals(number)
        self.reason, self.exit_code = _MEANINGS[self.number]
        super().__init__(self.reason)


def heed_stops() -> None:
    """From now on the signals that ask to stop raise StoppedError; one that our caller told us to ignore stays so."""
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            ignore_stops()
            raise StoppedError(number)
        # A worker that was forked off: as if nothing had been set.
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def repeat(swallowed: UnraisableHookArgs) -> None:
        if not isinstance(swallowed.exc_value, StoppedError):
            sys.__unraisablehook__(swallowed)
            return
        again = swallowed.exc_value.number
        for number in heeded:
            signal.signal(number, stop)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(process, again))
        signal.setitimer(signal.ITIMER_REAL, _SOON)

    heeded = [n for n in STOPS if signal.getsignal(n) in (signal.SIG_DFL, signal.default_int_handler)]
    for number in heeded:
        signal.signal(number, stop)
    sys.unraisablehook = repeat


def stop_behind(error: BaseException) -> StoppedError | None:
    """The stop that an error was made of, if it was one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, StoppedError):
        cause = cause.__cause__
    return cause


def ignore_stops() -> None:
    """What is left to do takes less time than to stop it."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
