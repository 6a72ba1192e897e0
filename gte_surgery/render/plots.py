"""The plots of the pages as SVG text. Pure: the same values give the same SVG.

Colours are names of the page's style (`var(--ink)`), so a plot follows it from light to dark; text stays text, in the
page's own font. Nothing is read from anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from gte_surgery.checks.description import Part
from gte_surgery.compare.portrait import RowNorms, Spread
from gte_surgery.render.ink import span
from gte_surgery.vocabulary.row_map import Point

_WIDTH, _HEIGHT = 640, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 624, 34, 232
_SERIES = 8
_LETTER = 6.4
"""About the width of a letter of the legend, in pixels."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `least` to `most` on pixels from `begin` to `end`, by their logarithm or as whole ones."""

    least: float
    most: float
    begin: float
    end: float
    is_log: bool = False
    is_whole: bool = False

    def at(self, value: float) -> float:
        """Where a value lies, in pixels; what the scale does not reach lies at its end."""
        least, most, value = (math.log(max(each, 1e-300)) if self.is_log else each for each in (*self._ends(), value))
        share = (value - least) / (most - least)
        return round(self.begin + min(max(share, 0.0), 1.0) * (self.end - self.begin), 1)

    def ticks(self) -> list[float]:
        """At most eight round values: powers of ten, or multiples of 1, 2 or 5 times one."""
        least, most = self._ends()
        if self.is_log:
            powers = range(math.ceil(math.log10(least) - 1e-9), math.floor(math.log10(most) + 1e-9) + 1)
            return [10.0**power for power in powers][:: 1 + len(powers) // 8]
        rough = (most - least) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = min((each * unit for each in (1, 2, 5, 10)), key=lambda step: abs(step - rough))
        step = max(step, 1) if self.is_whole else step
        return [round(step * at, 12) for at in range(math.ceil(least / step), math.floor(most / step) + 1)]

    def _ends(self) -> tuple[float, float]:
        if self.most - self.least > abs(self.least) * 1e-9:
            return self.least, self.most
        return self.least, self.least * 10 if self.is_log else self.least + max(abs(self.least), 1)


def norms_plot(norms: RowNorms) -> str:
    """Histogram of the embedding rows' norms, the pad row and the zero rows marked."""
    x = Scale(min(norms.edges[0], 0.0) if norms.zeros else norms.edges[0], norms.edges[-1], _LEFT, _RIGHT)
    y = Scale(0.7, max(*norms.counts, norms.zeros, 1) * 1.5, _BOTTOM, _TOP, is_log=True)
    parts, legend = _boxes(x, y, zip(norms.edges, norms.edges[1:], norms.counts, strict=False)), []
    if norms.zeros:
        parts.append(_dot(x.at(0), y.at(norms.zeros), 2))
        legend.append((_color(2), f"{norms.zeros:,} zero rows"))
    if norms.pad_norm is not None and math.isfinite(norms.pad_norm):
        parts.append(_line(x.at(norms.pad_norm), _TOP, x.at(norms.pad_norm), _BOTTOM, "--mark", dashed=True))
        legend.append(("var(--mark)", f"pad row {norms.pad}"))
    title = f"Histogram of the norms of {norms.rows:,} embedding rows"
    return _svg("norms", title, [*_axes(x, y, "norm of the row", "rows"), *parts, *_legend(legend)])


def cosines_plot(bins: Sequence[tuple[float, float, int]]) -> str:
    """Histogram of cosines; bins are (from, to, texts)."""
    x = Scale(bins[0][0], bins[-1][1], _LEFT, _RIGHT)
    y = Scale(0.7, max(*(texts for *_, texts in bins), 1) * 1.5, _BOTTOM, _TOP, is_log=True)
    axes = _axes(x, y, "cosine of the embeddings before and after", "texts")
    return _svg("cosines", "Histogram of the cosines of the embeddings", [*axes, *_boxes(x, y, bins)])


def coverage_plot(curve: Sequence[Point]) -> str:
    """The share of all counted tokens that vocabularies of several sizes hold."""
    x = Scale(0, curve[-1].kept, _LEFT, _RIGHT, is_whole=True)
    y = Scale(100 * min(point.coverage for point in curve) - 0.1, 100, _BOTTOM, _TOP)
    at = [(x.at(point.kept), y.at(100 * point.coverage)) for point in curve]
    lines = [_line(*one, *other, "--series-1") for one, other in pairwise(at)]
    axes = _axes(x, y, "tokens kept", "% of the tokens counted")
    return _svg("coverage", "Coverage by the size of the vocabulary", [*axes, *lines, *(_dot(*each, 1) for each in at)])


def parts_plot(parts: Sequence[Part]) -> str:
    """Bytes of each part of the network."""
    bars = [(part.name, part.nbytes / 1e6, f"{part.parameters:,}") for part in parts]
    return _bars("parts", "Sizes of the parts of the network", bars, "megabytes (labels: parameters)")


def lengths_plot(bins: Sequence[tuple[int, int, int]]) -> str:
    """Rows of a corpus by their number of real tokens; bins are (least, most, rows)."""
    bars = [(span(least, most), rows, f"{rows:,}") for least, most, rows in bins]
    return _bars("lengths", "Rows by the number of their real tokens", bars, "rows")


def spreads_plot(spreads: Sequence[Spread]) -> str:
    """Standard deviation of each kind of matrix over the layers."""
    shown = spreads[:_SERIES]
    values = [value for spread in shown for value in spread.by_layer if value is not None and math.isfinite(value)]
    layers = max(len(spread.by_layer) for spread in shown)
    x, y = Scale(0, layers - 1, _LEFT, _RIGHT, is_whole=True), Scale(0, max(values, default=1.0) * 1.1, _BOTTOM, _TOP)
    lines = [part for number, each in enumerate(shown, 1) for part in _series(x, y, each.by_layer, number)]
    legend = [(_color(number), spread.kind) for number, spread in enumerate(shown, 1)]
    axes = _axes(x, y, "layer", "standard deviation")
    return _svg("spreads", "Standard deviation of the weights by layer", [*axes, *lines, *_legend(legend)])


def rope_plot(wavelengths: Sequence[float], positions: int | None) -> str:
    """Wavelength of each rotary pair, beside the number of positions."""
    heights = [*wavelengths, *([positions] if positions else [])]
    x = Scale(0, len(wavelengths) - 1, _LEFT, _RIGHT, is_whole=True)
    y = Scale(min(heights), max(heights) * 1.2, _BOTTOM, _TOP, is_log=True)
    parts, legend = list(_series(x, y, wavelengths, 1)), [(_color(1), "one turn")]
    if positions:
        parts.append(_line(_LEFT, y.at(positions), _RIGHT, y.at(positions), "--mark", dashed=True))
        legend.append(("var(--mark)", f"{positions:,} positions"))
    axes = _axes(x, y, "rotary pair", "tokens")
    return _svg("rope", "Wavelengths of the rotary positions", [*axes, *parts, *_legend(legend)])


def _boxes(x: Scale, y: Scale, bins: Iterable[tuple[float, float, int]]) -> list[str]:
    """The boxes of a histogram; bins are (from, to, how many)."""
    shown = [(x.at(least), x.at(most), y.at(number)) for least, most, number in bins if number]
    return [_box(left, top, max(right - left, 1.0), _BOTTOM - top) for left, right, top in shown]


def _bars(name: str, title: str, bars: Sequence[tuple[str, float, str]], unit: str) -> str:
    """Bars from top to bottom: what each is of, its length in units, and what stands behind it."""
    left = 16 + _LETTER * max(len(of) for of, _, _ in bars)
    bottom = 12 + 28 * len(bars)
    x = Scale(
        0, max(length for _, length, _ in bars), left, _RIGHT - _LETTER * max(len(told) for *_, told in bars) - 12
    )
    parts = list(_x_axis(x, bottom, unit))
    for number, (of, length, told) in enumerate(bars):
        top = 12 + 28 * number
        parts.append(_text(left - 8, top + 15, of, "end"))
        parts.append(_box(left, top + 2, max(x.at(length) - left, 1.0), 18))
        parts.append(_text(x.at(length) + 6, top + 15, told))
    return _svg(name, title, parts, bottom + 44)


def _series(x: Scale, y: Scale, values: Sequence[float | None], number: int) -> Iterator[str]:
    """A line from value to value with a dot on each; None and what is not finite leave a gap."""
    before = None
    for at, value in enumerate(values):
        here = (x.at(at), y.at(value)) if value is not None and math.isfinite(value) else None
        if here and before:
            yield _line(*before, *here, f"--series-{number}")
        if here:
            yield _dot(*here, number)
        before = here


def _axes(x: Scale, y: Scale, below: str, beside: str) -> Iterator[str]:
    yield from _x_axis(x, _BOTTOM, below)
    for tick in y.ticks():
        yield _line(_LEFT, y.at(tick), _RIGHT, y.at(tick), "--rule")
        yield _text(_LEFT - 6, y.at(tick) + 4, f"{tick:,.12g}", "end")
    yield _text(_LEFT - 48, _TOP - 14, beside)


def _x_axis(x: Scale, bottom: float, below: str) -> Iterator[str]:
    yield _line(x.begin, bottom, x.end, bottom, "--ink")
    for tick in x.ticks():
        yield _line(x.at(tick), bottom, x.at(tick), bottom + 4, "--ink")
        yield _text(x.at(tick), bottom + 17, f"{tick:,.12g}", "middle")
    yield _text((x.begin + x.end) / 2, bottom + 36, below, "middle")


def _legend(entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Colour and words of each entry, from right to left above the plot."""
    right = float(_RIGHT)
    for color, words in reversed(entries):
        right -= _LETTER * len(words)
        yield _text(right, 18, words)
        yield f'<rect x="{right - 14:.1f}" y="9" width="10" height="10" fill="{color}"/>'
        right -= 24


def _color(number: int) -> str:
    return f"var(--series-{number})"


def _box(x: float, y: float, width: float, height: float) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{_color(1)}"/>'


def _dot(x: float, y: float, number: int) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{_color(number)}"/>'


def _line(x: float, y: float, to_x: float, to_y: float, color: str, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="var({color})" stroke-width="1.4"{dash}/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(name: str, title: str, parts: Sequence[str], height: float = _HEIGHT) -> str:
    """An SVG element that scales with the page, titled for those who do not see it."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img" '
    head += f'aria-labelledby="{name}-title" fill="var(--ink)" font-size="12"><title id="{name}-title">'
    return "\n".join((f"{head}{escape(title)}</title>", *parts, "</svg>"))
