"""Workers: child processes that answer requests, one a processor. They start without the working directory on their
path, and their death is told as what it is: what was given to them did it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from typing import Any

from gte_surgery.errors import RefusedError

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from gte_surgery.vocabulary.trimming.child import main; main()"
)

Request = dict[str, Any]
Answer = dict[str, Any]


class Worker:
    """One child process."""

    def __init__(self) -> None:
        here = os.getcwd()
        path = [each for each in sys.path if (each and os.path.abspath(each) != here) or os.path.isfile(each)]
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        command = [sys.executable, "-I", "-c", _START, json.dumps([package, *path])]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )

    def ask(self, request: Request) -> Answer:
        """The answer to a request. Raises RefusedError for what the child refuses, and where it dies of it."""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
            line = self._process.stdout.readline()  # type: ignore[union-attr]
        except BrokenPipeError:
            line = b""
        if not line:
            raise RefusedError(*_death(self._process.wait(), request))
        answer: Answer = json.loads(line)
        if "error" in answer:
            raise RefusedError(answer["error"], answer["hint"])
        return answer

    def stop(self) -> None:
        """Ends the child."""
        self._process.kill()
        self._process.communicate()


class Workers:
    """Several children that were all asked the same at their start."""

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers

    def all(self, request: Request) -> list[Answer]:
        """The answers of each worker to one request."""
        with ThreadPoolExecutor(len(self.workers)) as pool:
            return list(pool.map(lambda worker: worker.ask(dict(request)), self.workers))

    def spread(self, requests: Iterable[Request], told: Callable[[], None] = lambda: None) -> Iterator[Answer]:
        """The answers to many requests, in their order, each asked of whichever worker is free."""
        free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self.workers:
            free.put(worker)

        def asked(request: Request) -> Answer:
            worker = free.get()
            try:
                return worker.ask(request)
            finally:
                free.put(worker)

        waiting = iter(requests)
        with ThreadPoolExecutor(len(self.workers)) as pool:
            while some := list(islice(waiting, 16 * len(self.workers))):
                for answer in pool.map(asked, some):
                    told()
                    yield answer


@contextmanager
def started(count: int | None) -> Iterator[Workers]:
    """So many workers, as many as there are processors for None; all are ended at the end."""
    workers = [Worker() for _ in range(count or len(os.sched_getaffinity(0)))]
    try:
        yield Workers(workers)
    finally:
        for worker in workers:
            worker.stop()


def _death(code: int, request: Request) -> tuple[str, str]:
    name = signal.Signals(-code).name if -code in list(signal.Signals) else f"exit {code}"
    is_opening = request.get("do") in ("open", "between", "reach")
    what = "opening the tokenizer" if is_opening else "reading the texts"
    how = " (it took too long)" if name == "SIGALRM" else ""
    message = f"tokenizer.json: the tokenizers package died of {what}: {name}{how}"
    return (
        message,
        "it makes its reader overflow, hang or take all memory: take it again from where it comes from",
    )
