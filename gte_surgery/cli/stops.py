"""How the program stops when it is asked to: Ctrl-C, `kill` and a closed terminal end a command by an exception, so
that it cleans up on its way out. One is enough; what follows it is ignored, since it could only disturb the cleaning.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

from gte_surgery.cli import exits
from gte_surgery.surgery.stops import STOPS

_MEANINGS = {
    signal.SIGINT: ("interrupted", exits.INTERRUPTED),
    signal.SIGTERM: ("terminated", exits.TERMINATED),
    signal.SIGHUP: ("the terminal was closed", exits.HUNG_UP),
}


class StoppedError(KeyboardInterrupt):
    """The program was asked to stop; `reason` in words, and the exit code that shells know it by."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.reason, self.exit_code = _MEANINGS[signal.Signals(number)]
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

    for number in STOPS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)


def ignore_stops() -> None:
    """What is left to do takes less time than to stop it."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
