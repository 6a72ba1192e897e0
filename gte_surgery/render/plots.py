"""The plots of the page as SVG text, drawn with matplotlib, imported when called.

Colours are names of the page's style (`var(--ink)`), so a plot follows it from light to dark; text stays text, in the
page's own font. The same values give the same SVG.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from gte_surgery.checks.description import Part
from gte_surgery.compare.portrait import RowNorms, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SERIES = 8
_PLACEHOLDERS = {"#010203": "var(--ink)", "#040506": "var(--rule)", "#070809": "var(--mark)"} | {
    f"#0a0b{number:02x}": f"var(--series-{number})" for number in range(1, _SERIES + 1)
}
_INK, _RULE, _MARK, *_COLOURS = _PLACEHOLDERS
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _RULE,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "path.simplify": False,
}


def norms_plot(norms: RowNorms) -> str:
    """Histogram of the embedding rows' norms, the pad row and the zero rows marked."""

    def draw(axes: Axes) -> None:
        widths = [right - left for left, right in zip(norms.edges, norms.edges[1:], strict=False)]
        axes.bar(norms.edges[:-1], norms.counts, widths, align="edge", color=_COLOURS[0])
        if norms.zeros:
            axes.plot([0], [norms.zeros], "D", color=_COLOURS[1], clip_on=False, label=f"{norms.zeros:,} zero rows")
        if norms.pad_norm is not None and math.isfinite(norms.pad_norm):
            axes.axvline(norms.pad_norm, color=_MARK, linestyle="--", label=f"pad row {norms.pad}")
        axes.set_yscale("log")
        axes.set(xlabel="norm of the row", ylabel="rows")
        _legend(axes)

    return _svg("norms", f"Histogram of the norms of {norms.rows:,} embedding rows", draw)


def parts_plot(parts: Sequence[Part]) -> str:
    """Bytes of each part of the network."""
    bars = [(part.name, part.nbytes / 1e6, f"{part.parameters:,}") for part in parts]
    return _bars("parts", "Sizes of the parts of the network", bars, "megabytes (labels: parameters)")


def lengths_plot(bins: Sequence[tuple[int, int, int]]) -> str:
    """Rows of a corpus by their number of real tokens; bins are (least, most, rows)."""
    bars = [
        (f"{least:,}" if least == most else f"{least:,} to {most:,}", rows, f"{rows:,}") for least, most, rows in bins
    ]
    return _bars("lengths", "Rows by the number of their real tokens", bars, "rows")


def spreads_plot(spreads: Sequence[Spread]) -> str:
    """Standard deviation of each kind of matrix over the layers."""
    from matplotlib.ticker import MaxNLocator

    def draw(axes: Axes) -> None:
        markers = "osD^vPX*"
        for number, spread in enumerate(spreads[:_SERIES]):
            values = [math.nan if value is None else value for value in spread.by_layer]
            axes.plot(range(len(values)), values, marker=markers[number], color=_COLOURS[number], label=spread.kind)
        axes.set(xlabel="layer", ylabel="standard deviation", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes)

    return _svg("spreads", "Standard deviation of the weights by layer", draw)


def rope_plot(wavelengths: Sequence[float], positions: int | None) -> str:
    """Wavelength of each rotary pair, beside the number of positions."""

    def draw(axes: Axes) -> None:
        axes.plot(range(len(wavelengths)), wavelengths, marker="o", color=_COLOURS[0], label="one turn")
        if positions:
            axes.axhline(positions, color=_MARK, linestyle="--", label=f"{positions:,} positions")
        axes.set_yscale("log")
        axes.set(xlabel="rotary pair", ylabel="tokens")
        _legend(axes)

    return _svg("rope", "Wavelengths of the rotary positions", draw)


def _bars(name: str, title: str, bars: Sequence[tuple[str, float, str]], unit: str) -> str:
    """Bars from top to bottom: what each is of, its length in units, and what stands behind it."""

    def draw(axes: Axes) -> None:
        names, lengths, labels = zip(*reversed(bars), strict=True)
        axes.bar_label(axes.barh(names, lengths, color=_COLOURS[0]), labels, padding=4)
        axes.margins(x=0.25)
        axes.set(xlabel=unit)
        axes.grid(axis="y", visible=False)

    return _svg(name, title, draw, height=0.7 + 0.45 * len(bars))


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best")


def _svg(name: str, title: str, draw: Callable[[Axes], None], height: float = 3.0) -> str:
    """An SVG element that scales with the page, titled for those who do not see it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style):
        figure = Figure(figsize=(7.0, height), layout="constrained")
        draw(figure.add_subplot())
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(written.getvalue(), name, title)


def _inline(document: str, name: str, title: str) -> str:
    """The SVG document as an element of a page: no prologue, no style that leaks, no fixed size; ids
    of its own and our colours."""
    element = re.sub(r"<(metadata|style)\b.*?</\1>", "", document[document.index("<svg") :], flags=re.DOTALL)
    element = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", element)
    box = re.search(r'viewBox="[^"]*"', element)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0] if box else ""} '
    )
    head += f'role="img" aria-labelledby="{name}-title"><title id="{name}-title">{escape(title)}</title>'
    element = head + element[element.index(">") + 1 :]
    for placeholder, color in _PLACEHOLDERS.items():
        element = element.replace(placeholder, color)
    return element.strip()
