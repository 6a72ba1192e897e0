"""Child processes: an interpreter of its own, without the working directory on its path, that answers one call at a
time and forks into others, which share what it has imported and holds.

A library that crashes, hangs or takes all memory on the bytes of a stranger ends such a process alone. Nothing that
reads or judges is imported here, so that a process can begin before the one that asks it is ready.
"""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from threading import Thread
from typing import Any

from gte_surgery.errors import GteSurgeryError, RefusedError

BOOT = "import sys; sys.path[:] = sys.argv[3:]; from gte_surgery.child import main; main(*sys.argv[1:3])"
"""Started as `python -I -c BOOT DESCRIPTOR MODULE PATH…`: isolated, until the path of the caller, made safe, is its
own."""

Call = tuple[Any, ...]
"""A function that can be imported by its name, and what it is called with; all of it is pickled."""


class DiedError(Exception):
    """The process ended; `code` is that of `subprocess`, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(signal.Signals(-code).name if -code in list(signal.Signals) else f"exit code {code}")
        self.code = code


class LostError(DiedError):
    """The process that the others are forked from ended, and all of them with it."""


class FailedError(Exception):
    """What went wrong in the process, by its traceback: a bug of ours."""


class Child:
    """A process at the other end of a connection; `code` waits for its end, and gives the exit code."""

    def __init__(self, connection: Any, code: Callable[[], int]) -> None:
        self.connection = connection
        self._code = code

    def ask(self, *call: Any) -> bool:
        """Whether the process could still be asked; `answer` must follow before the next call."""
        with suppress(OSError):
            self.connection.send(call)
            return True
        return False

    def answer(self) -> Any:
        """What the call gave. Raises what it raised where that is a GteSurgeryError, FailedError for anything else, and
        DiedError where the process ended of it.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            raise DiedError(self._code()) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def call(self, *call: Any) -> Any:
        """Asks, and waits for the answer."""
        self.ask(*call)
        return self.answer()


class First(Child):
    """A new interpreter, which imports a module at once. Raises RefusedError where none begins."""

    def __init__(self, module: str) -> None:
        try:
            ours, self._process = _begun(module)
        except (OSError, TypeError) as error:  # TypeError where Python does not know what it runs in
            raise RefusedError(f"no other Python begins: {error}", f"sys.executable is {sys.executable!r}") from None
        self._use = _use()
        super().__init__(ours, self._code_of_all)

    @property
    def is_of_use(self) -> bool:
        """Whether it has not ended, is a child of this process, and takes names of files from the same folder."""
        return self._use == _use() and self._process.poll() is None

    def answer(self) -> Any:
        """What the call gave, as from each. Raises LostError where this process ended."""
        try:
            return super().answer()
        except DiedError as error:
            raise LostError(error.code) from None

    def fork(self) -> Child:
        """Another process, with all that this one holds. Raises RefusedError where there can be none."""
        pid = self.call(_fork)
        try:
            handle = recv_handle(self.connection)
        except EOFError:
            raise LostError(self._code_of_all()) from None
        except (OSError, RuntimeError):  # RuntimeError where the kernel dropped the descriptor
            raise _no_fork("too many open files") from None
        return Child(Connection(handle), lambda: self.call(_ended, pid))

    def end_forks(self) -> None:
        """Ends all that were forked, whatever they do."""
        self.call(_end_forks)

    def end(self) -> None:
        """Ends it and all that were forked, unless they are those of the process that this one was forked from."""
        self.connection.close()
        if self._use[0] != os.getpid():
            self._process.returncode = 0  # nothing here waits for it
        elif self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _code_of_all(self) -> int:
        """The exit code of this process, which ends; those that it forked are ended while its id is still its own."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self.end()
        return self._process.returncode


class Forks:
    """Up to `most` forks of a process. Where what they hold is not theirs alone, one that was killed while it was idle
    `is_replaced`.
    """

    def __init__(self, first: First, most: int, is_replaced: bool) -> None:
        self.first = first
        self._most = most
        self._is_replaced = is_replaced
        self._idle: list[Child] = []

    def each(self, calls: Iterable[Call], most: int | None = None) -> Iterator[tuple[Call, Any]]:
        """(call, what it gave) as they come, by `most` forks at a time. In place of what it gave is a DiedError where a
        process died of it; others go on. Raises what else a call raises, LostError where the first ended, and
        RefusedError where nothing can be forked.
        """
        rest, busy = iter(calls), dict[Any, tuple[Child, Call]]()
        busy.update(self._asked(islice(rest, min(most or self._most, self._most))))
        while busy:
            for connection in wait(list(busy)):
                child, call = busy.pop(connection)
                try:
                    found = child.answer()
                    self._idle.append(child)
                except LostError:
                    raise
                except DiedError as error:
                    found = error
                busy.update(self._asked(islice(rest, 1)))
                yield call, found

    def all(self, *call: Any) -> list[Any]:
        """What a call gives in each fork that there is. Raises what any raises, or DiedError."""
        for child in self._idle:
            child.ask(*call)
        return [child.answer() for child in self._idle]

    def end(self) -> None:
        """Ends them; others are forked when something is asked."""
        if self._idle:
            with suppress(LostError):  # they ended with it
                self.first.end_forks()
            self._idle.clear()

    def _asked(self, calls: Iterable[Call]) -> Iterator[tuple[Any, tuple[Child, Call]]]:
        for call in calls:
            child = self._idle.pop() if self._idle else self.first.fork()
            while not child.ask(*call) and self._is_replaced:
                child = self.first.fork()
            yield child.connection, (child, call)


def safe_path(path: Iterable[object]) -> list[str]:
    """A path of modules without the working directory, unless that is where this package itself lies."""
    ours = str(Path(__file__).parents[1])
    here = _here()
    safe = [each for each in path if isinstance(each, str) and os.path.isabs(each) and os.path.realpath(each) != here]
    return safe if ours in safe else [ours, *safe]


def _begun(module: str) -> tuple[Any, subprocess.Popen[bytes]]:
    """Our end of the connection, and the process."""
    ours, theirs = Pipe()
    descriptor = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)  # beyond those that are made quiet
    theirs.close()
    command = [sys.executable, "-I", "-c", BOOT, str(descriptor), module, *safe_path(sys.path)]
    quiet = subprocess.DEVNULL
    try:
        return ours, subprocess.Popen(
            command, pass_fds=[descriptor], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
    finally:
        os.close(descriptor)


def _use() -> tuple[int, int, int]:
    """This process, and the folder that it takes names of files from."""
    here = os.stat(os.curdir)
    return os.getpid(), here.st_dev, here.st_ino


def _here() -> str | None:
    """The working directory, None where it was removed."""
    with suppress(FileNotFoundError):
        return os.path.realpath(os.curdir)
    return None


def main(descriptor: str, module: str) -> None:
    """In the process: answers calls until nobody asks."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGALRM, signal.SIGCHLD, signal.SIGIO):
        signal.signal(number, signal.SIG_DFL)
    import_module(module)
    _serve(Connection(int(descriptor)))
    _end_forks()


def _serve(caller: Any) -> None:
    fcntl.fcntl(caller.fileno(), fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(caller.fileno(), fcntl.F_GETFL)
    while True:
        try:
            function, *args = caller.recv()
        except EOFError:
            return
        if function is not _fork:
            with _ended_with(caller, flags):
                found = _outcome(function, args)
            caller.send(found)
        elif (own := _fork(caller)) is not None:
            thread = Thread(target=_serve, args=(own,))  # which allocates apart from what the others share
            thread.start()
            thread.join()
            return


def _outcome(function: Callable[..., Any], args: Iterable[Any]) -> Any:
    try:
        return function(*args)
    except GteSurgeryError as error:
        return error
    except BaseException:  # noqa: BLE001 - it is raised where the call was made; a panic of Rust is no Exception
        from traceback import format_exc

        return FailedError(format_exc())


@contextmanager
def _ended_with(caller: Any, flags: int) -> Iterator[None]:
    """Meanwhile the kernel ends this process, whatever it does, when the one that asks ends: it hangs up, and nothing
    else comes from it before it has its answer.
    """
    fcntl.fcntl(caller.fileno(), fcntl.F_SETFL, flags | os.O_ASYNC)
    if caller.poll():  # it hung up before
        os.kill(os.getpid(), signal.SIGIO)
    yield
    fcntl.fcntl(caller.fileno(), fcntl.F_SETFL, flags)


_FORKS: set[int] = set()
"""The processes that this one forked, and that were not waited for."""


def _fork(caller: Any) -> Any:
    """In the new process its own end of a connection; here None, and the caller has got the process id and the other
    end.
    """
    gc.freeze()  # collecting would write into each object, and the memory of all be shared no more
    try:
        here, there = Pipe()
        pid = os.fork()
    except OSError as error:
        caller.send(_no_fork(error.strerror))
        return None
    if pid == 0:
        _FORKS.clear()
        caller.close()
        there.close()
        return here
    here.close()
    _FORKS.add(pid)
    caller.send(pid)
    send_handle(caller, there.fileno(), None)
    there.close()
    return None


def _no_fork(reason: str | None) -> RefusedError:
    return RefusedError(f"no other process begins: {reason}", "`ulimit -u` and `ulimit -n` tell how many may")


def _ended(pid: int) -> int:
    _FORKS.remove(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _end_forks() -> None:
    for pid in _FORKS:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    _FORKS.clear()
