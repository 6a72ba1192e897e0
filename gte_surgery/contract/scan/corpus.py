"""The scan as one function: find the files, plan them, judge their portions somewhere, and word what was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.files import find
from gte_surgery.contract.scan.portions import Portion
from gte_surgery.contract.scan.summary import Summary, empty, merged
from gte_surgery.contract.scan.wording import worded
from gte_surgery.contract.scan.work import Planned, Request, failed
from gte_surgery.contract.spec import IdContract
from gte_surgery.contract.terms import whole
from gte_surgery.errors import UnavailableError, UsageError
from gte_surgery.findings import Finding, Severity

Progress = Callable[[int, int, int], None]
"""(bytes on disk done, bytes in all, tokens seen): called now and then."""

_PLAIN = (".npy", ".npz", ".safetensors")
"""What can be read without pyarrow."""


class Place(Protocol):
    """Where a scan runs."""

    def plan(self, request: Request, names: Sequence[str]) -> list[Planned]:
        """The plan of each file, in their order."""

    def scan(
        self, request: Request, portions: Sequence[Portion], start: Summary, seen: Callable[[Portion, int], None]
    ) -> Summary:
        """The sum of all portions and of `start`."""


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """What a scan came to: how many files of how many bytes, what was seen in them, and what is wrong.

    `findings` are in order of file and code, for as many pairs of both as were asked for; `summary.sums` counts
    every fault. `limit` is the number of rows beyond which nobody looked, `judged_by` the checkpoint or file whose
    contract it was, "" for one that was given as it is.
    """

    contract: IdContract
    files: int
    nbytes: int
    summary: Summary
    findings: tuple[Finding, ...]
    limit: int | None = None
    judged_by: str = ""

    @property
    def codes(self) -> tuple[str, ...]:
        """What a corpus is judged by."""
        return tuple(fault.value for fault in Fault)

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst fault, counted ones included."""
        return max((fault.severity for fault in self.summary.sums), default=None)

    @property
    def unused_ids(self) -> int:
        """Rows of the embedding table that no id of the corpus looks up."""
        return int((self.summary.uses == 0).sum())


def scan(
    contract: IdContract | Path | str,
    *paths: Path | str,
    columns: Columns | None = None,
    workers: int = 1,
    limit: int | None = None,
    max_findings: int = 100,
    counts: bool = False,
    runner: Literal["local", "ray"] = "local",
    address: str = "auto",
    progress: Progress | None = None,
) -> CorpusReport:
    """Judge a corpus by a contract, or by that of a checkpoint or a JSON file.

    `paths` are files, folders and patterns. `workers` processes share the work on this machine; where a file kills the
    library that reads it, it kills one of these. With 0 this thread does all, and starts nothing. `limit` rows in all
    are looked at. With `counts`, `summary.uses` counts each id; without, it tells which occur. `runner="ray"` works on
    the Ray cluster at `address`.

    Raises RefusedError where there is nothing to scan, UnavailableError where a package is missing, UsageError, and
    what `IdContract.read` raises. What is wrong with a file is a finding, never an exception.

    >>> import numpy as np, tempfile
    >>> from gte_surgery import scan
    >>> from gte_surgery.contract.spec import IdContract
    >>> contract = IdContract(vocab_size=100, pad_token_id=0, type_vocab_size=1, max_length=8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/ids.npy", np.array([[5, 7, 0, 0], [9, 100, 3, 0]]))
    ...     report = scan(contract, folder)
    >>> report.summary.rows, report.summary.real_tokens, report.unused_ids
    (2, 5, 95)
    >>> [finding.code for finding in report.findings], report.findings[0].message
    (['GTE414'], '100 at row 1, column 1, must be below vocab_size 100')
    """
    _require(workers, limit, max_findings, runner)
    given, contract = contract, contract if isinstance(contract, IdContract) else IdContract.read(contract)
    columns = columns or Columns()
    names = find([str(path) for path in paths], columns)
    if any(not name.endswith(_PLAIN) for name in names) and find_spec("pyarrow") is None:
        raise UnavailableError("pyarrow: not installed, it reads all but numpy and safetensors", _EXTRA.format("data"))
    request = Request(contract.terms(), columns, counts, max_findings, limit)
    start = empty(contract.vocab_size, contract.max_length)
    with _place(runner, workers, address) as place:
        planned = place.plan(request, names)
        portions = _limited([portion for each in planned for portion in each.portions], limit)
        summary = merged((start, *(each.failed for each in planned if each.failed is not None)), max_findings)
        summary = place.scan(request, portions, summary, _teller(portions, progress))
    if not summary.rows and not any(fault.severity is Severity.ERROR for fault in summary.sums):
        nothing = failed(request, names[0], len(names), "none of its files has a row", Fault.NO_CORPUS)
        summary = merged((summary, nothing), max_findings)
    nbytes = sum(os.path.getsize(name) for name in names if os.path.exists(name))
    findings = tuple(worded(fault, contract, summary.max_id) for fault in summary.faults)
    if not isinstance(given, IdContract) and Path(given).suffix != ".json":
        findings = tuple(finding.pasteable(str(given)) for finding in findings)
    judged_by = "" if isinstance(given, IdContract) else str(given)
    return CorpusReport(contract, len(names), nbytes, summary, findings, limit, judged_by)


_EXTRA = "`pip install 'gte-surgery[{}]'`"


def _require(workers: int, limit: int | None, max_findings: int, runner: str) -> None:
    if runner not in ("local", "ray"):
        raise UsageError(f'runner: {runner!r}, must be "local" or "ray"')
    for name, value, least in (("workers", workers, 0), ("limit", limit, 1), ("max_findings", max_findings, 0)):
        if value is not None and whole(name, value) < least:
            raise UsageError(f"{name}: {value}, must be at least {least}")


def _place(runner: str, workers: int, address: str) -> AbstractContextManager[Place]:
    if runner == "local":
        from gte_surgery.contract.scan.local import Local

        return Local(workers)
    if find_spec("ray") is None:
        raise UnavailableError("ray: not installed, --engine ray needs it", _EXTRA.format("ray"))
    from gte_surgery.contract.scan.on_ray import cluster

    return cluster(address)


def _limited(portions: list[Portion], limit: int | None) -> list[Portion]:
    """The portions of the first `limit` rows, in order of the files."""
    if limit is None:
        return portions
    kept = []
    for portion in portions:
        rows = min(portion.span.rows or 0, limit)
        if rows > 0 or (limit > 0 and portion.is_whole):
            kept.append(replace(portion, span=replace(portion.span, rows=rows)))
        limit -= rows
    return kept


def _teller(portions: Sequence[Portion], progress: Progress | None) -> Callable[[Portion, int], None]:
    """Adds up what is done, for the progress shown."""
    total = sum(portion.span.nbytes for portion in portions)
    done = tokens = 0

    def seen(portion: Portion, found: int) -> None:
        nonlocal done, tokens
        done, tokens = done + portion.span.nbytes, tokens + found
        if progress is not None:
            progress(done, total, tokens)

    return seen
