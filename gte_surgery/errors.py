"""Everything that this package raises on purpose.

    GteSurgeryError              the root: one message (object, found, wanted) and one hint (what to do)
    ├── UsageError               a request that no checkpoint could satisfy
    ├── CheckpointError          what lies on disk cannot be read as a checkpoint
    │   ├── JsonError            a file is not strict JSON; knows line and column
    │   └── HeaderError          a file is not a well-formed safetensors file; knows the fault and the tensor
    ├── RefusedError             the request would lose something or cannot be done; nothing was changed
    │   ├── UnsoundError         the checkpoint itself is not fit for surgery; `check` says why
    │   ├── LockedError          another surgery holds the checkpoint
    │   └── UnavailableError     a package or a device that this needs is not here
    ├── BatchError               a batch breaks the contract of ids and masks; carries the report
    ├── UnfinishedSurgeryError   a committed surgery was cut short and must be recovered first
    ├── WriteError               the operating system failed us before the commit; nothing was changed
    └── FetchError               a hub could not be reached, or did not give what it had listed; nothing was changed

The command line translates them to exit codes in one place, `gte_surgery.cli`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gte_surgery.findings import Report


class GteSurgeryError(Exception):
    """A failure that the user can understand and act on.

    Where it is known how the request would do, `typed` is the word of it that was wrong and `meant` what would stand in
    its place; with nothing `typed`, `meant` are words to add.
    """

    def __init__(self, message: str, hint: str = "", typed: str = "", meant: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.typed = typed
        self.meant = meant

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled as it is, whatever its class was made of: it comes whole out of another process."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[GteSurgeryError], words: tuple[object, ...], members: dict[str, object]) -> GteSurgeryError:
    error = kind.__new__(kind, *words)
    error.__dict__.update(members)
    return error


class UsageError(GteSurgeryError):
    """A request that no checkpoint could satisfy, such as a vocabulary of zero rows."""


class CheckpointError(GteSurgeryError):
    """What lies on disk cannot be read as a checkpoint."""


class JsonError(CheckpointError):
    """A file is not strict JSON; `line` and `column` count from 1."""

    def __init__(self, source: str, line: int, column: int, reason: str, hint: str = "") -> None:
        super().__init__(f"{source}:{line}:{column}: {reason}", hint)
        self.source = source
        self.line = line
        self.column = column
        self.reason = reason


class HeaderError(CheckpointError):
    """A file is not a well-formed safetensors file; `fault` is a `HeaderFault` value, `tensor` the culprit or ""."""

    def __init__(self, fault: str, reason: str, tensor: str = "", hint: str = "") -> None:
        super().__init__(f"`{tensor}`: {reason}" if tensor else reason, hint)
        self.fault = fault
        self.reason = reason
        self.tensor = tensor


class RefusedError(GteSurgeryError):
    """The request would lose something or cannot be done; nothing was changed."""


class UnsoundError(RefusedError):
    """The checkpoint itself is not fit for surgery; `check` says why."""


class LockedError(RefusedError):
    """Another surgery holds the checkpoint."""


class UnavailableError(RefusedError):
    """A package or a device that this needs is not here."""


class BatchError(GteSurgeryError):
    """A batch breaks the contract of ids and masks; `report` tells all of it, the message its first finding."""

    def __init__(self, report: Report) -> None:
        first, *others = report.findings
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(f"{first.code} {first}{more}", first.hint)
        self.report = report


class UnfinishedSurgeryError(GteSurgeryError):
    """A committed surgery was cut short and must be recovered first."""


class WriteError(GteSurgeryError):
    """The operating system failed before the commit; nothing was changed."""


class FetchError(GteSurgeryError):
    """A hub could not be reached, refused, or did not give what it had listed; nothing was changed."""
