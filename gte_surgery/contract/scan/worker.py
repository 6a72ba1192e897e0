"""What a process of a scan is asked: to plan a file, or to scan a portion, with no more memory than a file of its size
can honestly need.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gte_surgery.contract.scan.portions import Format, Portion
from gte_surgery.contract.scan.summary import Summary
from gte_surgery.contract.scan.work import Planned, Request, plan, scan

Item = tuple[str, int] | Portion
"""A file to plan, by name and place in the scan, or a portion to scan."""

_SPARE = {Format.ARROW: 1 << 30}
"""Bytes of memory for what a reader holds at once, whatever the size of the file; a record batch of Arrow may be
compressed, and is read whole."""

_USUAL_SPARE = 320 << 20


def answer(request: Request, item: Item) -> Planned | Summary:
    """What is found of a file to plan, or of a portion to scan."""
    return scan(request, item) if isinstance(item, Portion) else plan(request, *item)


def bounded_answer(request: Request, item: Item) -> Planned | Summary:
    """The same within a bound on the memory of this process."""
    with bounded(item):
        return answer(request, item)


@contextmanager
def bounded(item: Item) -> Iterator[None]:
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
