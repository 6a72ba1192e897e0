"""The process that scans are forked from: it begins before the one that asks is ready, and waits for the next scan."""

from __future__ import annotations

import atexit
import os
import sys

from gte_surgery.child import First

_MODULE = "gte_surgery.contract.scan.worker"
NOT_BEGUN = f"`{sys.executable} -c 'import {_MODULE}'` says why"

WAITING: list[tuple[tuple[int, ...], First]] = []
"""One of each scan that is over, and where it is of use; they end with this one."""


def prepare() -> None:
    """Let one begin for a scan that comes soon."""
    give_back(taken())


def taken() -> First:
    """One that waits, or a new one."""
    while WAITING:
        use, process = WAITING.pop()
        if use == _use() and process.is_alive:
            return process
        _end(use, process)
    return First(_MODULE)


def give_back(process: First) -> None:
    """Let it wait for the next scan."""
    WAITING.append((_use(), process))


@atexit.register
def end_waiting() -> None:
    """End those that wait for another scan."""
    while WAITING:
        _end(*WAITING.pop())


def _end(use: tuple[int, ...], process: First) -> None:
    """End one, unless it is that of the process that this one was forked from."""
    if use[0] == os.getpid():
        process.end()


def _use() -> tuple[int, ...]:
    """Who may ask: this process, as long as names of files are taken from this folder."""
    here = os.stat(os.curdir)
    return os.getpid(), here.st_dev, here.st_ino
