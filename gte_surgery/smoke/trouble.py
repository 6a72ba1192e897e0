"""When the run itself breaks: memory, device-side asserts and driver errors become findings with the batch in hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gte_surgery.findings import Finding, Location
from gte_surgery.smoke.batches import Batch
from gte_surgery.smoke.codes import CODES

_ASSERTS = ("device-side assert", "index out of range", "out of bounds", "indexSelectLargeIndex")


class BrokenRunError(Exception):
    """The run cannot go on; `finding` says why. `is_fatal` where the device takes no more work in this process."""

    def __init__(self, finding: Finding, is_fatal: bool) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.is_fatal = is_fatal


@contextmanager
def watched(batch: Batch, doing: str) -> Iterator[None]:
    """Raise BrokenRunError for whatever the device or a kernel throws while `doing` something with the batch.

    The batch is put into words first: after a device-side assert nothing can be read back.
    """
    described = batch.described()
    try:
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    except torch.OutOfMemoryError as error:
        raise BrokenRunError(_finding("GTE520", doing, described, error), is_fatal=False) from error
    except IndexError as error:
        raise BrokenRunError(_finding("GTE521", doing, described, error), is_fatal=False) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise BrokenRunError(_finding("GTE520", doing, described, error), is_fatal=False) from error
        is_assert = any(sign in str(error) for sign in _ASSERTS)
        is_fatal = is_assert or "CUDA error" in str(error)
        code = "GTE521" if is_assert else "GTE522"
        raise BrokenRunError(_finding(code, doing, described, error), is_fatal) from error


def _finding(code: str, doing: str, described: str, error: Exception) -> Finding:
    said = " ".join(str(error).split())[:300]
    return CODES[code].found(Location(), f"{doing}: {described}: {type(error).__name__}: {said}")
