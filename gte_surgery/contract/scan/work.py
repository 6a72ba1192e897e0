"""What one process does: plan a file, scan a portion. Both take and give plain values, so that it does not matter on
which machine they run, and neither ever raises for what is in a file: that becomes a finding with the file's name.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from gte_surgery import __version__
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.files import tell
from gte_surgery.contract.scan.judging.judge import judge
from gte_surgery.contract.scan.judging.tally import Tally
from gte_surgery.contract.scan.portions import Format, Portion, Source, Span
from gte_surgery.contract.scan.summary import Summary
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import CheckpointError, RefusedError

_UNREADABLE = (OSError, ValueError, EOFError, OverflowError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What numpy, zipfile and the system raise for a file that is not what it seems; RuntimeError is for a zip with a
password."""

_NO_ROWS = "no row, some were to be expected"

_READERS = {
    Format.PARQUET: "parquet",
    Format.ARROW: "arrow",
    Format.JSON_LINES: "json_lines",
    Format.NPY: "npy",
    Format.NPZ: "npy",
    Format.SAFETENSORS: "tensors",
}
"""The modules that read each format, imported when a file asks for them: only the first three need pyarrow."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to judge by and what to look at, the same for every portion.

    `most` findings are kept; `limit` is the number of rows, in all files together, that nobody looks beyond.
    """

    contract: IdContract
    columns: Columns
    has_counts: bool
    most: int
    limit: int | None = None
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done for one file, or `failed`: what was wrong with it as a whole."""

    portions: tuple[Portion, ...] = ()
    failed: Summary | None = None


def plan(request: Request, name: str, order: int) -> Planned:
    """Portions of the file called `name`, which is the `order`-th of the scan; reads footers and headers."""
    tally = Tally(request.contract, name, order, request.has_counts)
    portions: list[Portion] = []

    def find_portions() -> None:
        form = tell(name)
        if isinstance(form, str):
            raise CorpusError(Fault.UNREADABLE, form)
        source = Source(name, os.path.abspath(name), order, *form)
        spans = _counted(source, _reader(source.format).plan(source, request.columns), request.limit)
        if not spans:
            raise CorpusError(Fault.NO_ROWS, _NO_ROWS)
        portions.extend(Portion(source, span, len(spans) == 1) for span in spans)

    return Planned(tuple(portions)) if _was_read(find_portions, tally) else Planned(failed=tally.summary())


def scan(request: Request, portion: Portion) -> Summary:
    """All that there is to see in one portion. Raises RefusedError where another version of this package was asked."""
    if request.version != __version__:
        raise RefusedError(f"gte-surgery {__version__} is on this node, must be the caller's {request.version}")
    source, span = portion.source, portion.span
    tally = Tally(request.contract, source.name, source.order, request.has_counts)
    end = None if span.rows is None else span.first_row + span.rows

    def judge_rows() -> None:
        for raw in _reader(source.format).read(source, span, request.columns):
            judge(raw if end is None else raw.before(end), request.contract, tally)
            if end is not None and len(raw.rows) and raw.rows[-1] >= end - 1:
                break

    if _was_read(judge_rows, tally) and portion.is_whole and tally.rows == 0:
        tally.report_file(Fault.NO_ROWS, _NO_ROWS)
    return tally.summary()


def _reader(form: Format) -> Any:
    """The module with `plan` and `read` for a format."""
    return import_module(f"gte_surgery.contract.scan.readers.{_READERS[form]}")


def _counted(source: Source, spans: list[Span], limit: int | None) -> list[Span]:
    """The spans, with the rows of each where a limit asks for them."""
    if limit is None:
        return spans
    reader = _reader(source.format)
    return [span if span.rows is not None else replace(span, rows=reader.count(source, span, limit)) for span in spans]


def _was_read(act: Callable[[], None], tally: Tally) -> bool:
    """Whether a file could be read to the end; if not, the tally tells why."""
    try:
        act()
    except CorpusError as error:
        tally.report_file(error.fault, error.reason)
    except CheckpointError as error:
        tally.report_file(Fault.UNREADABLE, error.message)
    except _UNREADABLE as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).partition("\n")[0]
        tally.report_file(Fault.UNREADABLE, reason or type(error).__name__)
    else:
        return True
    return False
