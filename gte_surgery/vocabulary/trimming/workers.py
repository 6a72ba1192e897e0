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
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from socket import recv_fds, socket, socketpair
from threading import Lock
from typing import Any

from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.token_files import AddedToken

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from gte_surgery.vocabulary.trimming.child import main; main(int(sys.argv[2]))"
)

Request = dict[str, Any]
Answer = dict[str, Any]


class Worker:
    """A child process at the other end of a socket; `wait` waits for its end, and gives the code."""

    def __init__(self, channel: socket, wait: Callable[[], int]) -> None:
        self.channel = channel
        self._answers = channel.makefile("rb")
        self._wait = wait
        self._asked: Request = {}

    def send(self, request: Request) -> None:
        """Asks; `answer` must follow before the next."""
        self._asked = request
        with suppress(ConnectionError):
            self.channel.sendall(json.dumps(request).encode() + b"\n")

    def answer(self) -> Answer:
        """The answer. Raises RefusedError for what the child refuses, and where it died of it."""
        line = b""
        with suppress(ConnectionError):
            line = self._answers.readline()
        if not line:
            raise RefusedError(*_death(self._wait(), self._asked))
        answer: Answer = json.loads(line)
        if "error" in answer:
            raise RefusedError(answer["error"], answer["hint"])
        return answer

    def close(self) -> None:
        """Hangs up, which ends a child that waits."""
        self._answers.close()
        self.channel.close()


class Workers:
    """So many children. One opens the tokenizers and begets the others, which share the memory that those take; where
    it is to be one alone, that does all.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._process, channel = _started()
        self._first = Worker(channel, self._process.wait)
        self._others: dict[int, Worker] = {}
        self._is_opening = False
        self._telling = Lock()

    def open(self, beside: Iterable[AddedToken] = (), **paths: Path) -> None:
        """Has tokenizers opened beside those that are, by name, each with the tokens `beside` added to it. Whoever is
        asked next waits until it is done.
        """
        self.rest()
        self._first.send({"do": "open", "beside": stated(beside), **{name: str(path) for name, path in paths.items()}})
        self._is_opening = True

    def all(self, request: Request) -> list[Answer]:
        """The answers of each worker to one request."""
        workers = self._workers()
        for worker in workers:
            worker.send(request)
        return [worker.answer() for worker in workers]

    def spread(self, requests: Iterable[Request], told: Callable[[], None] = lambda: None) -> Iterator[Answer]:
        """The answers to many requests, in their order, each asked of whichever worker is free."""
        free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers():
            free.put(worker)

        def asked(request: Request) -> Answer:
            worker = free.get()
            try:
                worker.send(request)
                return worker.answer()
            finally:
                free.put(worker)

        waiting = iter(requests)
        with ThreadPoolExecutor(self._count) as pool:
            while some := list(islice(waiting, 16 * self._count)):
                for answer in pool.map(asked, some):
                    told()
                    yield answer

    def rest(self) -> None:
        """Frees what all but the first hold; they are begotten anew when they are asked."""
        self._settle()
        self._end_others()

    def stop(self) -> None:
        """Ends all of them: the first, where it waits, ends the others when it is hung up on."""
        if not self._others:
            self._process.kill()
        self._first.close()
        self._process.wait()
        for worker in self._others.values():
            worker.close()

    def _workers(self) -> list[Worker]:
        self._settle()
        if self._count == 1:
            return [self._first]
        while len(self._others) < self._count:
            self._beget()
        return list(self._others.values())

    def _settle(self) -> None:
        if self._is_opening:
            self._is_opening = False
            self._first.answer()

    def _beget(self) -> None:
        self._first.send({"do": "fork"})
        descriptors: list[int] = []
        with suppress(ConnectionError):
            _, descriptors, _, _ = recv_fds(self._first.channel, 1, 1)
        pid = self._first.answer()["pid"]
        self._others[pid] = Worker(socket(fileno=descriptors[0]), lambda: self._end_of(pid))

    def _end_of(self, pid: int) -> int:
        with self._telling:
            self._first.send({"do": "wait", "pid": pid})
            code: int = self._first.answer()["code"]
        return code

    def _end_others(self) -> None:
        if self._others:
            self._first.send({"do": "end"})
            self._first.answer()
        for worker in self._others.values():
            worker.close()
        self._others.clear()


def stated(beside: Iterable[AddedToken]) -> list[tuple[str, list[str]]]:
    """Tokens beside a tokenizer.json, as a request states them."""
    return [(token.text, [*token.flags]) for token in beside]


@contextmanager
def started(count: int | None) -> Iterator[Workers]:
    """So many workers, as many as there are processors for None; all are ended at the end."""
    workers = Workers(count or len(os.sched_getaffinity(0)))
    try:
        yield workers
    finally:
        workers.stop()


def _started() -> tuple[subprocess.Popen[bytes], socket]:
    here = os.getcwd()
    path = [each for each in sys.path if (each and os.path.abspath(each) != here) or os.path.isfile(each)]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    ours, theirs = socketpair()
    descriptor = theirs.fileno()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, json.dumps([package, *path]), str(descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[descriptor],
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"},
        )
    return process, ours


def _death(code: int, request: Request) -> tuple[str, str]:
    name = signal.Signals(-code).name if -code in list(signal.Signals) else f"exit {code}"
    is_opening = request.get("do") in ("open", "between", "reach")
    what = "opening the tokenizer" if is_opening else "reading the texts"
    how = " (it took too long)" if name == "SIGALRM" else ""
    message = f"tokenizer.json: the tokenizers package died of {what}: {name}{how}"
    hint = "it makes its reader overflow, hang or take all memory: take it again from where it comes from"
    return message, hint if is_opening else f"a text of many megabytes does that, cut it into lines; or {hint}"
