"""The page about a corpus that `scan --html` writes: what it is like, what is wrong with it and where first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gte_surgery.contract.scan.corpus import CorpusReport
from gte_surgery.contract.scan.summary import length_bins
from gte_surgery.findings import Code
from gte_surgery.render.corpus import counted_by_severity, facts, hidden
from gte_surgery.render.ink import count, size
from gte_surgery.render.pages import Figure, filled
from gte_surgery.render.plots import lengths_plot


def corpus_html(title: str, report: CorpusReport, codes: Mapping[str, Code], version: str) -> str:
    """The page about the corpus called `title`; `codes` tell what its findings mean."""
    sums = sorted(report.summary.sums.items(), key=lambda pair: pair[0].value)
    subjects = {subject: told for subject, told in facts(report) if subject != "lengths"}
    return filled(
        "corpus.html.jinja",
        title=title,
        counts=[(severity.label, places) for severity, places in counted_by_severity(report).items()],
        judged=f"in {count(report.summary.rows, 'row')}",
        facts=[("files", f"{report.files:,}, {size(report.nbytes)}"), *subjects.items()],
        figures=list(_figures(report)),
        findings=list(zip(report.findings, report.summary.faults, strict=True)),
        hidden=hidden(report),
        sums=[(fault.value, fault.severity.label, each.places, each.rows) for fault, each in sums],
        codes=codes,
        version=version,
    )


def _figures(report: CorpusReport) -> Iterator[Figure]:
    """The histogram of lengths, where rows were judged."""
    bins = length_bins(report.summary)
    if bins:
        told = f"{dict(facts(report))['lengths'].capitalize()}."
        rows = tuple((f"{least:,}", f"{most:,}", f"{number:,}") for least, most, number in bins)
        yield Figure("lengths", "Lengths", lengths_plot(bins), told, ("from", "to", "rows"), rows)
