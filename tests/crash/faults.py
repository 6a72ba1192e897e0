"""A file system that fails at one operation: the process dies there, a write is torn, or the system says no.

The real operations run on a real directory. `fsync` does nothing, since a process that dies loses nothing of what the
kernel already has; `tests/crash/power_loss.py` is about that.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass

from gte_surgery.surgery.commit.filesystem import Filesystem

OPERATIONS = tuple(name for name in dir(Filesystem) if callable(getattr(Filesystem, name)) and name[0] != "_")
NEEDS_SPACE = frozenset({"mkdir", "create", "write", "copy_range", "link", "set_attribute"})

CHANGES = NEEDS_SPACE | {"chmod", "replace", "exchange", "move", "unlink", "rmdir"}
"""A process that dies before anything else dies, for the disk, before the next of these."""


_pids = itertools.count(1_000_000)
_dead: set[int] = set()
"""Numbers of the processes that a file system here stands for."""


class Crashed(BaseException):
    """The process is dead: nothing that runs after this may touch the disk."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at operation `at`, counted from 0 among those named in `counted`.

    Without `error` the process dies before the operation. `is_torn` lets half of a write happen first. `is_lasting`
    makes every later operation that needs space fail too.
    """

    at: int
    error: int = 0
    is_torn: bool = False
    is_lasting: bool = False
    counted: frozenset[str] = frozenset(OPERATIONS)


class FaultyFilesystem(Filesystem):
    """Fails as `fault` says; `failed` is the first operation that did, empty if it did not come to that."""

    def __init__(self, fault: Fault | None = None, has_hard_links: bool = True, has_exchange: bool = True) -> None:
        self.fault = fault
        self.pid = next(_pids)
        self.has_exchange = has_exchange
        self.count = 0
        self.failed = ""
        self.is_gone = False
        self.has_hard_links = has_hard_links
        self._open: set[int] = set()

    @property
    def has_failed(self) -> bool:
        """Whether the fault was met."""
        return bool(self.failed)

    def perform(self, operation: str, real: Callable[..., object], arguments: tuple[object, ...]) -> object:
        if self.is_gone:
            raise Crashed
        fault = self.fault
        if fault is not None and operation in fault.counted and self._strikes(fault, operation):
            self.failed = self.failed or operation
            if fault.is_torn:
                self._tear(operation, arguments)
            if operation == "close":
                self._close(arguments[0])
            if not fault.error:
                self.die()
            raise OSError(fault.error, os.strerror(fault.error))
        return self._really(operation, real, arguments)

    def die(self) -> None:
        """Do what the kernel does for a dead process: close its files, which ends its locks."""
        self.is_gone = True
        _dead.add(self.pid)
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()
        raise Crashed

    def _strikes(self, fault: Fault, operation: str) -> bool:
        at = self.count
        self.count += 1
        return at == fault.at or (fault.is_lasting and at > fault.at and operation in NEEDS_SPACE)

    def _tear(self, operation: str, arguments: tuple[object, ...]) -> None:
        if operation == "write":
            descriptor, content = arguments
            Filesystem.write(self, descriptor, content[: len(content) // 2])
        elif operation == "copy_range":
            source, destination, offset, count = arguments
            Filesystem.copy_range(self, source, destination, offset, count // 2)

    def _close(self, descriptor: object) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def _really(self, operation: str, real: Callable[..., object], arguments: tuple[object, ...]) -> object:
        if operation in ("fsync", "fsync_directory"):
            return None
        if operation == "close":
            return self._close(*arguments)
        if operation == "link" and not self.has_hard_links:
            raise OSError(95, "no hard links here")
        if operation in ("exchange", "move") and not self.has_exchange:
            raise OSError(22, "no such rename here")
        if operation == "holder":
            return real(self)._replace(pid=self.pid)
        if operation == "is_dead":
            return arguments[0].pid in _dead
        if operation == "wait":
            return None
        result = real(self, *arguments)
        if operation in ("create", "open_read", "open_own"):
            self._open.add(result)
        return result


def _faulty(operation: str) -> Callable[..., object]:
    real = getattr(Filesystem, operation)

    def method(self: FaultyFilesystem, *arguments: object) -> object:
        return self.perform(operation, real, arguments)

    return method


for _operation in OPERATIONS:
    setattr(FaultyFilesystem, _operation, _faulty(_operation))
