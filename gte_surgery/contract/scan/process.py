"""The process that scans are forked from: it begins before the one that asks is ready, and waits for the next scan."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import suppress

from gte_surgery.child import First

_MODULE = "gte_surgery.contract.scan.worker"
NOT_BEGUN = f"`{sys.executable} -c 'import {_MODULE}'` says why"

WAITING: list[First] = []
"""One of each scan that is over; they end with this one."""


def prepare() -> None:
    """Let one begin for a scan that comes soon."""
    give_back(taken())


def taken() -> First:
    """One that waits, or a new one."""
    for process in _popped():
        if process.is_of_use:
            return process
        process.end()
    return First(_MODULE)


def give_back(process: First) -> None:
    """Let it wait for the next scan."""
    WAITING.append(process)


@atexit.register
def end_waiting() -> None:
    """End those that wait for another scan."""
    for process in _popped():
        process.end()


os.register_at_fork(after_in_child=end_waiting)  # a fork hangs up, lest they wait for it when this process is gone


def _popped() -> Iterator[First]:
    """Those that wait, which do so no more; other threads may ask for them, too."""
    with suppress(IndexError):
        while True:
            yield WAITING.pop()
