"""What one process does: plan a file, scan a portion. Both take and give plain values, so that it does not matter on
which machine they run, and neither ever raises for what is in a file: that becomes a finding with the file's name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from gte_surgery import __version__
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.files import tell
from gte_surgery.contract.scan.judging.blocks import RawBlock
from gte_surgery.contract.scan.judging.judge import judge
from gte_surgery.contract.scan.judging.tally import Tally
from gte_surgery.contract.scan.portions import EXPANDED, Format, Portion, Source, Span, most_bytes
from gte_surgery.contract.scan.summary import Summary
from gte_surgery.contract.terms import Terms
from gte_surgery.errors import CheckpointError, RefusedError

_NO_ROWS = "no row, some were to be expected"
_NO_MEMORY = "needs more memory than a file of its size should; smaller row groups or record batches need less"

_READERS = {
    Format.PARQUET: "parquet",
    Format.ARROW: "arrow",
    Format.JSON_LINES: "json_lines",
    Format.NPY: "array_files",
    Format.NPZ: "array_files",
    Format.SAFETENSORS: "array_files",
}
"""The modules that read each format, imported when a file asks for them: only the first three need pyarrow."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to judge by and what to look at, the same for every portion.

    `most` findings are kept; `limit` is the number of rows, in all files together, that nobody looks beyond.
    """

    contract: Terms
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


def plan(request: Request, name: str, order: int, path: str = "") -> Planned:
    """Portions of the file called `name`, which is the `order`-th of the scan and lies at `path`, if another directory
    is the working one here; reads footers and headers."""
    path = path or os.path.abspath(name)
    try:
        with _blamed():
            form = tell(path)
            if isinstance(form, str):
                raise CorpusError(Fault.UNREADABLE, form)
            source = Source(name, path, order, *form)
            spans = _counted(source, _reader(source.format).plan(source, request.columns), request.limit)
        if not spans:
            raise CorpusError(Fault.NO_ROWS, _NO_ROWS)
    except CorpusError as error:
        return Planned(failed=failed(request, name, order, error.reason, error.fault))
    return Planned(tuple(Portion(source, span, len(spans) == 1) for span in spans))


def scan(request: Request, portion: Portion) -> Summary:
    """All that there is to see in one portion. Raises RefusedError where another version of this package was asked."""
    if request.version != __version__:
        raise RefusedError(f"gte-surgery {__version__} is on this node, must be the caller's {request.version}")
    source = portion.source
    tally = Tally(request.contract, source.name, source.order, request.has_counts)
    try:
        for raw in _rows(portion, request.columns):
            judge(raw, request.contract, tally)
        if portion.is_whole and tally.rows == 0:
            raise CorpusError(Fault.NO_ROWS, _NO_ROWS)
    except CorpusError as error:
        tally.report_file(error.fault, error.reason)
    return tally.summary()


def failed(request: Request, name: str, order: int, reason: str, fault: Fault = Fault.UNREADABLE) -> Summary:
    """The summary of a file of which nothing can be told but what is wrong with it."""
    tally = Tally(request.contract, name, order, request.has_counts)
    tally.report_file(fault, reason)
    return tally.summary()


def _rows(portion: Portion, columns: Columns) -> Iterator[RawBlock]:
    """The rows of a portion. Raises CorpusError for what is in the file, whatever the libraries raise for it, and
    where it makes more of itself than any honest file."""
    source, span = portion.source, portion.span
    end = None if span.rows is None else span.first_row + span.rows
    left = most_bytes(source.nbytes)
    with _blamed():
        for raw in _reader(source.format).read(source, span, columns):
            if (left := left - raw.nbytes) < 0:
                raise CorpusError(Fault.UNREADABLE, EXPANDED)
            yield raw if end is None else raw.before(end)
            if end is not None and len(raw.rows) and raw.rows[-1] >= end - 1:
                return


@contextmanager
def _blamed() -> Iterator[None]:
    """Whatever is raised here is what is wrong with the file, as a CorpusError."""
    try:
        yield
    except CorpusError:
        raise
    except CheckpointError as error:
        raise CorpusError(Fault.UNREADABLE, error.message) from None
    except MemoryError as error:
        raise CorpusError(Fault.UNREADABLE, _NO_MEMORY) from error
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).strip().partition("\n")[0]
        raise CorpusError(Fault.UNREADABLE, reason or type(error).__name__) from error


def _reader(form: Format) -> Any:
    """The module with `plan` and `read` for a format."""
    return import_module(f"gte_surgery.contract.scan.readers.{_READERS[form]}")


def _counted(source: Source, spans: list[Span], limit: int | None) -> list[Span]:
    """The spans, with the rows of each where a limit asks for them."""
    if limit is None:
        return spans
    reader = _reader(source.format)
    return [span if span.rows is not None else replace(span, rows=reader.count(source, span, limit)) for span in spans]
