"""The page about texts that `smoke --against --texts --html` writes: how far they moved, and which moved most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gte_surgery.findings import Code, Severity
from gte_surgery.render.pages import Figure, filled
from gte_surgery.render.plots import cosines_plot
from gte_surgery.render.smoke import quality_facts
from gte_surgery.smoke.result import Quality, SmokeResult


def quality_html(result: SmokeResult, quality: Quality, codes: Mapping[str, Code], version: str) -> str:
    """The page about the texts of a result; `codes` tell what its findings mean."""
    against = result.against.name if result.against is not None else ""
    errors = sum(finding.severity is Severity.ERROR for finding in result.findings)
    return filled(
        "quality.html.jinja",
        title=result.checkpoint,
        counts=[("error", errors)],
        judged=f"on {result.device}",
        facts=[("against", against), *quality_facts(quality)],
        figures=list(_figures(quality)),
        findings=result.findings,
        proofs=[proof for proof in result.proofs if proof.code.startswith("GTE59")],
        worst=quality.worst,
        codes=codes,
        version=version,
    )


def _figures(quality: Quality) -> Iterator[Figure]:
    rows = tuple((f"{least:.6f}", f"{most:.6f}", f"{texts:,}") for least, most, texts in quality.histogram)
    told = f"{quality.texts:,} texts; the mean is {quality.cosine:.6f}, the least {quality.least_cosine:.6f}."
    yield Figure("cosines", "Cosines", cosines_plot(quality.histogram), told, ("from", "to", "texts"), rows)
