"""Ctrl-C, `kill` and a closed terminal, held back where they must not strike: around a lock, a commit, a cleaning up.

Python runs what was set for a signal in the main thread, between any two instructions. Held back, a signal is noted
and answered at the end; what the answer is (KeyboardInterrupt, unless the program has set another) is not our business.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import current_thread, main_thread
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Answer = Callable[[int, FrameType | None], object]


class HeldStops:
    """Holds the signals `STOPS` back while it is entered, and answers those that came when it is left.

    A signal that no Python function answers, as when the kernel ends the process, is left alone; so are all of them
    outside the main thread, where Python never answers one.
    """

    def __init__(self) -> None:
        self._answers: dict[signal.Signals, _Answer] = {}
        self._came: list[signal.Signals] = []

    def __enter__(self) -> HeldStops:
        if current_thread() is main_thread():
            for number in STOPS:
                answer = signal.getsignal(number)
                if callable(answer):
                    self._answers[number] = answer
        self.hold()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def let_through(self) -> LetThrough:
        """Within the hold, a block that signals may interrupt, by those that already came as well."""
        return LetThrough(self)

    def hold(self) -> None:
        """Note signals from now on."""
        for number in self._answers:
            signal.signal(number, self._note)

    def release(self) -> None:
        """Answer signals from now on, those that came first."""
        for number, answer in self._answers.items():
            signal.signal(number, answer)
        while self._came:
            number = self._came.pop(0)
            self._answers[number](number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append(signal.Signals(number))


class LetThrough:
    """The inside-out of `HeldStops`."""

    def __init__(self, held: HeldStops) -> None:
        self._held = held

    def __enter__(self) -> None:
        try:
            self._held.release()
        except BaseException:
            self._held.hold()
            raise

    def __exit__(self, *_: object) -> None:
        self._held.hold()
