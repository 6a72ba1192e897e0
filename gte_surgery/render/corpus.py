"""What a scan saw of a corpus, as text for people and as JSON for programs (schema: scan).

The page for those who would rather look is left to `corpus_page`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from gte_surgery.contract.scan.corpus import CorpusReport
from gte_surgery.contract.scan.summary import FileFault, length_bins, length_within
from gte_surgery.findings import Finding, Severity
from gte_surgery.render.finding import finding_lines, finding_object
from gte_surgery.render.ink import columns, count, paint, printable, size, span

_BAR = 40


def corpus_text(report: CorpusReport, color: bool = False) -> str:
    """Findings first, then what the corpus is like, then the sums."""
    lines = [line for finding in report.findings for line in finding_lines(finding, str(finding), color)]
    lines += [paint(f"{count(report.files, 'file')}, {size(report.nbytes)}", "strong", color)]
    lines += columns(list(facts(report)), "  ").splitlines()
    lines += _histogram(report)
    lines += [paint(hidden(report), "faint", color)] if hidden(report) else []
    return "\n".join((*lines, _sum_line(report, color)))


def corpus_json(report: CorpusReport) -> str:
    """Every number, the kept findings with their first offenders, and the sums of all."""
    summary = report.summary
    value = {
        "judged_by": report.judged_by or None,
        "files": report.files,
        "nbytes": report.nbytes,
        "rows": summary.rows,
        "limit": report.limit,
        "sequences": summary.sequences,
        "tokens": summary.tokens,
        "real_tokens": summary.real_tokens,
        "unmasked": summary.unmasked,
        "max_id": summary.max_id if summary.max_id >= 0 else None,
        "vocab_size": report.contract.vocab_size,
        "unused_ids": report.unused_ids,
        "longest": summary.longest,
        "median_length": length_within(summary, 0.5),
        "length_of_95_percent": length_within(summary, 0.95),
        "lengths": [{"least": least, "most": most, "rows": rows} for least, most, rows in length_bins(summary)],
        "findings": [_object(*pair) for pair in zip(report.findings, summary.faults, strict=True)],
        "sums": {
            fault.value: {"severity": fault.severity.label, "places": sums.places, "rows": sums.rows}
            for fault, sums in sorted(summary.sums.items(), key=lambda pair: pair[0].value)
        },
    }
    return json.dumps(value, indent=2)


def counts_text(report: CorpusReport) -> str:
    """A line `id<tab># uses` for each id that occurs or that the contract keeps, in order, for `remap --keep`."""
    uses = report.summary.uses.tolist()
    return "".join(f"{n}\t# {uses[n]}\n" for n in range(len(uses)) if uses[n] or n in report.contract.kept_ids)


def _object(finding: Finding, fault: FileFault) -> dict[str, object]:
    return {
        **finding_object(finding, "file", "message", "hint"),
        "places": fault.sums.places,
        "rows": fault.sums.rows,
        "first": [
            {"row": at.row if at.row >= 0 else None, "column": at.column if at.column >= 0 else None, "value": at.value}
            for at in fault.offenders
        ],
    }


def facts(report: CorpusReport) -> Iterator[tuple[str, str]]:
    """(subject, what is known of it)."""
    summary, vocab_size = report.summary, report.contract.vocab_size
    packed = f", {summary.sequences:,} judged" if summary.sequences != summary.rows else ""
    limited = ", the first ones, where --limit ends" if summary.rows == report.limit else ""
    yield "rows", f"{summary.rows:,}{packed}{limited}"
    yield (
        "tokens",
        f"{summary.tokens:,}, {summary.real_tokens:,} of them real ({_percent(summary.real_tokens, summary.tokens)})",
    )
    if summary.unmasked:
        yield "mask", f"absent from {count(summary.unmasked, 'row')}, derived there from the pads"
    if summary.max_id >= 0:
        yield "ids", f"largest {summary.max_id:,}, the contract has {vocab_size:,}"
        share = _percent(report.unused_ids, vocab_size)
        yield "unused", f"{count(report.unused_ids, 'id')} ({share} of them), which `remap` could drop"
    if summary.lengths.any():
        middle, most = length_within(summary, 0.5), length_within(summary, 0.95)
        yield (
            "lengths",
            f"half have at most {middle:,} real tokens, 95 % at most {most:,}, the longest {summary.longest:,}",
        )
    if report.judged_by.endswith(".json"):  # a checkpoint is named by the hints
        yield "judged", f"by the contract of {printable(report.judged_by)}"


def _histogram(report: CorpusReport) -> list[str]:
    """A bar for each doubling of the length."""
    bins = length_bins(report.summary)
    top = max((rows for *_, rows in bins), default=0)
    cells = [(span(least, most), f"{rows:,}", "█" * round(_BAR * rows / top)) for least, most, rows in bins]
    return columns(cells, "    ").splitlines() if cells else []


def hidden(report: CorpusReport) -> str:
    """Sums by code, where findings were left out; else nothing."""
    kept: dict[str, int] = {}
    for fault in report.summary.faults:
        kept[fault.fault.value] = kept.get(fault.fault.value, 0) + fault.sums.places
    sums = {fault.value: sums for fault, sums in report.summary.sums.items()}
    if all(sums[code].places == kept.get(code, 0) for code in sums):
        return ""
    told = ", ".join(f"{code} {sums[code].places:,} in {count(sums[code].rows, 'row')}" for code in sorted(sums))
    return f"more findings than --max-findings shows; in all: {told}"


def counts(report: CorpusReport) -> dict[str, int]:
    """In how many places something is wrong by severity, the worst first."""
    found = {severity.label: 0 for severity in reversed(Severity)}
    for fault, sums in report.summary.sums.items():
        found[fault.severity.label] += sums.places
    return found


def _sum_line(report: CorpusReport, color: bool) -> str:
    told = ", ".join(count(places, label) for label, places in counts(report).items())
    return paint(told, report.worst.label if report.worst else "good", color)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"
