"""A process that plans files and scans portions for another: what kills a library on the bytes of a stranger kills this
process alone.

It imports nothing from the working directory, whatever lies there, and takes no more memory than a file of its size
can honestly need.
"""

from __future__ import annotations

import resource
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from gte_surgery.contract.scan.portions import Format, Portion
from gte_surgery.contract.scan.process import READY, FailedError
from gte_surgery.contract.scan.work import plan, scan

_SPARE = {Format.ARROW: 1 << 30}
"""Bytes of memory for what a reader holds at once, whatever the size of the file; a record batch of Arrow may be
compressed, and is read whole."""

_USUAL_SPARE = 320 << 20


def serve(descriptor: str) -> None:
    """Answer questions (request, item), an item being a file to plan or a portion to scan, until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(int(descriptor)) as caller:
        caller.send(READY)
        while True:
            try:
                request, item = caller.recv()
            except EOFError:
                return
            try:
                with bounded(item):
                    answer: object = scan(request, item) if isinstance(item, Portion) else plan(request, *item)
            except Exception:  # noqa: BLE001 - it is raised where the question was asked
                answer = FailedError(traceback.format_exc())
            caller.send(answer)


@contextmanager
def bounded(item: Portion | tuple[object, ...]) -> Iterator[None]:
    """A bound on the memory of this process, beyond what it has: Linux counts private memory that can be written."""
    usage = Path("/proc/self/statm")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if usage.exists():
        held = int(usage.read_text().split()[5]) * resource.getpagesize()
        spare = _USUAL_SPARE
        if isinstance(item, Portion):
            spare = _SPARE.get(item.source.format, spare) + 2 * item.source.nbytes
        resource.setrlimit(resource.RLIMIT_DATA, (_least(held + spare, soft, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _least(*limits: int) -> int:
    return min(limit for limit in limits if limit != resource.RLIM_INFINITY)
