"""The pages about texts: that which `scan --html` writes, what a corpus is like, what is wrong with it and where first;
that of `trim --html`, what its texts use and what other sizes of the vocabulary would come to; and that of
`smoke --html`, what became of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gte_surgery.contract.scan.corpus import CorpusReport
from gte_surgery.contract.scan.summary import length_bins
from gte_surgery.findings import Code, Severity
from gte_surgery.render.corpus import counts, facts, hidden
from gte_surgery.render.ink import count, size
from gte_surgery.render.pages import Figure, filled
from gte_surgery.render.plots import cosines_plot, coverage_plot, lengths_plot
from gte_surgery.render.smoke import quality_facts
from gte_surgery.smoke.result import Quality, SmokeResult
from gte_surgery.surgery.planning.plan import Plan

_COLUMNS = ("--top", "tokens kept", "% of the tokens counted", "parameters fewer", "bytes fewer")


def corpus_html(title: str, report: CorpusReport, codes: Mapping[str, Code]) -> str:
    """The page about the corpus called `title`; `codes` tell what its findings mean."""
    sums = sorted(report.summary.sums.items(), key=lambda pair: pair[0].value)
    subjects = {subject: told for subject, told in facts(report) if subject != "lengths"}
    return filled(
        "corpus.html.jinja",
        title=title,
        counts=counts(report),
        judged=f"in {count(report.summary.rows, 'row')}",
        facts=[("files", f"{report.files:,}, {size(report.nbytes)}"), *subjects.items()],
        figures=list(_figures(report)),
        findings=list(zip(report.findings, report.summary.faults, strict=True)),
        hidden=hidden(report),
        sums=[(fault.value, fault.severity.label, each.places, each.rows) for fault, each in sums],
        codes=codes,
    )


def _figures(report: CorpusReport) -> Iterator[Figure]:
    """The histogram of lengths, where rows were judged."""
    bins = length_bins(report.summary)
    if bins:
        told = f"{dict(facts(report))['lengths'].capitalize()}."
        rows = tuple((f"{least:,}", f"{most:,}", f"{number:,}") for least, most, number in bins)
        yield Figure("lengths", "Lengths", lengths_plot(bins), told, ("from", "to", "rows"), rows)


def trim_html(plan: Plan, target: Path) -> str:
    """The page about the plan of a trim."""
    rows = tuple(
        (f"{at.size:,}", f"{at.kept:,}", f"{100 * at.coverage:.3f}", f"{at.parameters:,}", size(at.nbytes))
        for at in plan.curve
    )
    told = "Every token that occurs is at the right end; what a size saves stands in the table."
    figures = [Figure("coverage", "Coverage", coverage_plot(plan.curve), told, _COLUMNS, rows)] if rows else []
    facts = [("checkpoint", plan.source), ("target", str(target))]
    facts += [(f"report {at}", sentence) for at, sentence in enumerate(plan.meaning, 1)]
    return filled("base.html.jinja", title=plan.source, counts={}, judged="", facts=facts, figures=figures)


def quality_html(result: SmokeResult, quality: Quality, codes: Mapping[str, Code]) -> str:
    """The page about the texts of a result; `codes` tell what its findings mean."""
    against = result.against.name if result.against is not None else ""
    errors = sum(finding.severity is Severity.ERROR for finding in result.findings)
    return filled(
        "quality.html.jinja",
        title=result.checkpoint,
        counts={"error": errors},
        judged=f"on {result.device}",
        facts=[("against", against), *quality_facts(quality)],
        figures=list(_quality_figures(quality)),
        findings=result.findings,
        proofs=[proof for proof in result.proofs if proof.code.startswith("GTE59")],
        worst=quality.worst,
        codes=codes,
    )


def _quality_figures(quality: Quality) -> Iterator[Figure]:
    rows = tuple((f"{least:.6f}", f"{most:.6f}", f"{texts:,}") for least, most, texts in quality.histogram)
    told = f"{quality.texts:,} texts; the mean is {quality.cosine:.6f}, the least {quality.least_cosine:.6f}."
    yield Figure("cosines", "Cosines", cosines_plot(quality.histogram), told, ("from", "to", "texts"), rows)
