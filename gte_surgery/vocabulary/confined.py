"""The tokenizers package in a child process, with limits on memory and time: what is wrong with a file or a text is a
refusal, and so is the death of that process.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from gte_surgery.child import DiedError, First
from gte_surgery.errors import GteSurgeryError, RefusedError

MEMORY = 2 << 30
"""Bytes of address space beside two hundred times the size of the tokenizer."""
SECONDS = 600
"""A call that takes longer ends the process."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}


@contextmanager
def alone(*files: Path) -> Iterator[Callable[..., Any]]:
    """A process of its own for tokenizers that lie in some files; what is given, `asked(function, *args)`, calls a
    function there. That raises RefusedError for whatever the function raises, and where the process died of it.
    """
    first = First(__name__)

    def asked(*call: Any) -> Any:
        try:
            return first.call(confined, "", *call)
        except DiedError as error:
            raise death(error, "opening the tokenizer") from None

    try:
        asked(bound, sum(file.stat().st_size for file in files))
        yield asked
    finally:
        first.end()


def confined(place: str, function: Callable[..., Any], *args: Any) -> Any:
    """In the child: calls a function. Raises RefusedError for all that it raises, "FILE: " being the `place` of it."""
    os.environ.update(_ONE_THREAD)
    signal.alarm(SECONDS)
    try:
        return function(*args)
    except MemoryError:
        raise RefusedError(f"{place}a text is too long: {MEMORY >> 30} GiB do not hold what it is cut into") from None
    except GteSurgeryError as error:
        raise RefusedError(error.message, error.hint) from None
    except OSError as error:
        if error.errno not in _FULL:
            raise RefusedError(f"{place}{type(error).__name__}: {error}") from None
        raise RefusedError(f"{gettempdir()}: {error.strerror}", "TMPDIR says where else there is room") from None
    except BaseException as error:  # noqa: BLE001 - whatever the package raises is an answer, a panic of Rust too
        raise RefusedError(f"{place}{type(error).__name__}: {error}") from None
    finally:
        signal.alarm(0)


def bound(size: int) -> None:
    """In the child: bounds its memory for tokenizers of so many bytes, within what it may have; it leaves no core
    behind.
    """
    most, hard = MEMORY + 200 * size, resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def death(error: DiedError, what: str) -> RefusedError:
    """The refusal for a process that died of `what`."""
    how = " (it took too long)" if -error.code == signal.SIGALRM else ""
    hint = "it makes its reader overflow, hang or take all memory: take it again from where it comes from"
    if what != "opening the tokenizer":
        hint = f"a text of many megabytes does that, cut it into lines; or {hint}"
    return RefusedError(f"the tokenizers package died of {what}: {error}{how}", hint)
