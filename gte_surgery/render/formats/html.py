"""The page about a checkpoint that `--html` writes, for a person who would rather look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest

from gte_surgery.checks.description import Description
from gte_surgery.checks.registry import Rule
from gte_surgery.compare.portrait import Portrait, RowNorms
from gte_surgery.findings import Report
from gte_surgery.render.description import subjects
from gte_surgery.render.formats.report import asides, counts, policy_lines, subject_and_message
from gte_surgery.render.ink import count, size
from gte_surgery.render.pages import Figure, filled
from gte_surgery.render.plots import norms_plot, parts_plot, rope_plot, spreads_plot

MOST_TENSORS = 5000
"""So many are listed: a file may hold a million, and a browser shall still open the page."""


def page_html(description: Description, portrait: Portrait, report: Report | None, rules: Mapping[str, Rule]) -> str:
    """The page about one checkpoint; with the findings of `report` if there is one, explained by `rules`."""
    return filled(
        "page.html.jinja",
        title=description.checkpoint,
        judged=f"{len(report.rules) - len(report.skipped)} rules judged" if report else "",
        description=description,
        facts=[(subject.strip(), told) for subject, told in subjects(description)],
        figures=list(figures(description, portrait)),
        report=report,
        counts=counts(report) if report else {},
        asides=[*policy_lines(report), *asides(report)] if report else [],
        findings=sorted(report.findings, key=lambda finding: -finding.severity) if report else [],
        told=subject_and_message,
        rules=rules,
        most_tensors=MOST_TENSORS,
    )


def figures(description: Description, portrait: Portrait) -> Iterator[Figure]:
    """The plots that the checkpoint's values allow."""
    if portrait.norms is not None and portrait.norms.counts:
        yield _norms(portrait.norms)
    if description.parts:
        yield _parts(description)
    if portrait.spreads:
        yield _spreads(portrait)
    if portrait.wavelengths:
        yield _rope(portrait)


def _parts(description: Description) -> Figure:
    parts = description.parts
    told = f"{description.parameters:,} parameters, {size(description.nbytes)} on disk."
    rows = tuple((part.name, f"{part.tensors:,}", f"{part.parameters:,}", size(part.nbytes)) for part in parts)
    return Figure("parts", "Sizes by part", parts_plot(parts), told, ("part", "tensors", "parameters", "bytes"), rows)


def _spreads(portrait: Portrait) -> Figure:
    spreads = portrait.spreads
    told = "Standard deviations. A layer that stands out was trained otherwise, damaged, or never loaded."
    columns = zip_longest(*(spread.by_layer for spread in spreads))
    rows = tuple((str(layer), *map(_number, values)) for layer, values in enumerate(columns))
    names = ("layer", *(spread.kind for spread in spreads))
    return Figure("spreads", "Spread of the weights by layer", spreads_plot(spreads), told, names, rows)


def _rope(portrait: Portrait) -> Figure:
    plot = rope_plot(portrait.wavelengths, portrait.positions)
    told = "Tokens until a rotary pair has turned once; a pair above the dashed line never does."
    rows = tuple((str(pair), f"{length:,.1f}") for pair, length in enumerate(portrait.wavelengths))
    return Figure("rope", "Wavelengths of the rope", plot, told, ("pair", "tokens"), rows)


def _norms(norms: RowNorms) -> Figure:
    zeros = ", ".join(map(str, norms.first_zeros)) + (", …" if norms.zeros > len(norms.first_zeros) else "")
    told = [f"{count(norms.rows, 'row')}, median norm {norms.median:.4g}."]
    if norms.pad_norm is not None:
        told.append(f"The pad row {norms.pad} has norm {norms.pad_norm:.4g}.")
    told.append(f"{count(norms.zeros, 'zero row')}{f' ({zeros})' if norms.zeros else ''}.")
    if norms.not_finite:
        told.append(f"{count(norms.not_finite, 'row')} not finite.")
    bins = zip(norms.edges, norms.edges[1:], norms.counts, strict=False)
    rows = tuple((f"{left:.4g}", f"{right:.4g}", f"{number:,}") for left, right, number in bins if number)
    return Figure(
        "norms", "Norms of the embedding rows", norms_plot(norms), " ".join(told), ("from", "to", "rows"), rows
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
