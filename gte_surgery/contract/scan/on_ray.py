"""The scan on a Ray cluster: the same plans and portions as tasks, summed up by further tasks.

Files are read where the tasks run, under the paths given, so every node must see them there. What comes back to the
caller are plans, token counts, and one summary. A task whose worker or node is lost runs again elsewhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from logging import ERROR
from tempfile import TemporaryDirectory
from typing import Any

import ray

from gte_surgery.contract.scan.local import Seen
from gte_surgery.contract.scan.portions import Portion
from gte_surgery.contract.scan.summary import Summary, merged
from gte_surgery.contract.scan.work import Planned, Request, failed, plan, scan
from gte_surgery.errors import RefusedError

RETRIES = 5
"""How often a task may lose its worker before the scan gives up."""

_DIED = f"{RETRIES + 1} processes that read it died"

_TOGETHER = 16
"""Summaries that one task adds up."""

_TASK = 16 << 20
"""Bytes on disk of the portions that make a task worth its while."""

_PATIENCE = 10.0
"""Seconds until a cluster must answer."""

_AHEAD = 4
"""Tasks under way for each processor of the cluster."""


class OnRay:
    """Runs plans and portions as tasks, `ahead` of them at a time."""

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead

    def plan(self, request: Request, names: Sequence[str]) -> list[Planned]:
        """The plan of each file, in their order."""
        asked = ray.put(request)
        task: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(plan)
        rest = enumerate(names)
        found: dict[int, Planned] = {}
        running: dict[Any, tuple[int, str]] = {}
        while len(found) < len(names):
            for order, name in islice(rest, self._ahead - len(running)):
                running[task.remote(asked, name, order, os.path.abspath(name))] = order, name
            (done,), _ = ray.wait(list(running))
            order, name = running.pop(done)
            try:
                found[order] = ray.get(done)
            except ray.exceptions.WorkerCrashedError:
                found[order] = Planned(failed=failed(request, name, order, _DIED))
        return [found[order] for order in range(len(names))]

    def scan(self, request: Request, portions: Sequence[Portion], start: Summary, seen: Seen) -> Summary:
        """The sum of all portions and of `start`. A summary stays where it was made until a task adds it to others."""
        asked = ray.put(request)
        task: Any = ray.remote(num_cpus=1, max_retries=RETRIES, num_returns=2)(_scan)
        add = ray.remote(num_cpus=1, max_retries=RETRIES)(_add)
        rest = _tasks(portions)
        running: dict[Any, tuple[Any, Sequence[Portion]]] = {}
        parts: list[Any] = [ray.put(start)]

        def begin(tasks: Iterable[Sequence[Portion]]) -> None:
            for together in tasks:
                tokens, summary = task.remote(asked, together)
                running[tokens] = (summary, together)

        begin(islice(rest, self._ahead))
        while running:
            (tokens,), _ = ray.wait(list(running))
            summary, together = running.pop(tokens)
            try:
                counts = ray.get(tokens)
            except ray.exceptions.WorkerCrashedError:
                if len(together) > 1:
                    begin([portion] for portion in together)
                    continue
                source = together[0].source
                counts, summary = [0], ray.put(failed(request, source.name, source.order, _DIED))
            for portion, count in zip(together, counts, strict=True):
                seen(portion, count)
            parts.append(summary)
            if len(parts) >= _TOGETHER:
                parts = [add.remote(request.most, *parts)]
            begin(islice(rest, 1))
        whole: Summary = ray.get(add.remote(request.most, *parts))
        return whole


def _tasks(portions: Sequence[Portion]) -> Iterator[Sequence[Portion]]:
    """What each task scans."""
    together: list[Portion] = []
    for portion in portions:
        together.append(portion)
        if sum(each.span.nbytes for each in together) >= _TASK:
            yield together
            together = []
    if together:
        yield together


def _scan(request: Request, portions: Sequence[Portion]) -> tuple[list[int], Summary]:
    """The tokens in each portion, and the sum of all."""
    summaries = [scan(request, portion) for portion in portions]
    return [summary.tokens for summary in summaries], merged(summaries, request.most)


def _add(most: int, *parts: Summary) -> Summary:
    return merged(parts, most)


@contextmanager
def cluster(address: str) -> Iterator[OnRay]:
    """The running cluster at `address`; "auto" finds the one of this machine. Raises RefusedError where there is none,
    or where a task failed for good."""
    is_ours = not ray.is_initialized()
    try:
        if is_ours:
            _connect(address)
        yield OnRay(_AHEAD * max(1, _processors()))
    except ray.exceptions.RayError as error:
        raise RefusedError(f"ray: {_reason(error)}", "do all nodes have this version of gte-surgery?") from error
    finally:
        if is_ours and ray.is_initialized():
            ray.shutdown()


def _processors() -> int:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("CPU", 1))


def _connect(address: str) -> None:
    try:
        _require_listener(address)
        with TemporaryDirectory() as empty, _inside(empty):
            ray.init(address=address, log_to_driver=False, logging_level=ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        hint = "start a cluster with `ray start --head`, or give the --address of one"
        raise RefusedError(f"ray: {_reason(error)}", hint) from error


@contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Ray gives its workers the working directory as the first place to import from [ray/_private/worker.py, connect]:
    let it see one that holds nothing."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _require_listener(address: str) -> None:
    """Where an address is HOST:PORT, somebody must listen there: ray.init would try for minutes. Raises OSError."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
        except OSError as error:
            raise OSError(f"nobody answers at {address}: {error.strerror or error}") from error


def _reason(error: Exception) -> str:
    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    return str(cause).strip().partition("\n")[0]
