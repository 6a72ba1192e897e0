"""The results as a picture: an SVG of three panels, drawn with nothing but text. Pure.

Left the jobs, a dot for each program on a logarithmic axis of seconds; right what the size of a checkpoint costs, in
seconds and in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.bench.jobs import JOBS, OURS, PROGRAMS
from tests.bench.results import Point, Results

COLOURS = ("#1f6feb", "#8b949e", "#d29922", "#2da44e", "#bf3989", "#cf222e", "#6e40c9", "#0e8a8a")
WIDTH, LEFT, ROW = 1080, 250, 22
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2328}.quiet{fill:#656d76}.grid{stroke:#d0d7de}.ground{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#8d96a0}.grid{stroke:#30363d}.ground{fill:#0d1117}}"
)


@dataclass(frozen=True, slots=True)
class Axis:
    """A logarithmic axis: values from `least` to `most` on pixels from `begin` to `end`."""

    least: float
    most: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies."""
        share = math.log(value / self.least) / math.log(self.most / self.least)
        return round(self.begin + share * (self.end - self.begin), 1)

    def ticks(self) -> list[float]:
        """The powers of ten on it; where there are fewer than two, their doubles and fivefolds as well."""
        powers = range(math.floor(math.log10(self.least)), math.ceil(math.log10(self.most)) + 1)
        coarse, fine = (
            [step * 10.0**power for power in powers for step in steps if self.least <= step * 10.0**power <= self.most]
            for steps in ((1,), (1, 2, 5))
        )
        return coarse if len(coarse) > 1 else fine


def draw(results: Results) -> str:
    """The whole picture."""
    jobs = [job for job in JOBS if results.timing(job, OURS)]
    height = 90 + ROW * max(len(jobs), 20)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
        "<title>Seconds by program for each job, and seconds and memory by size of the checkpoint</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        *_jobs(results, jobs),
    ]
    if results.sizes:
        half = (height - 90) / 2
        parts += _sizes(results.sizes, "seconds", 50, 50 + half - 40)
        parts += _sizes(results.sizes, "peak", 50 + half + 10, height - 60)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _jobs(results: Results, jobs: Sequence[str]) -> Iterator[str]:
    """A row a job, a dot a program."""
    values = [timing.seconds for timing in results.timings]
    bottom = 50 + ROW * len(jobs)
    axis = Axis(*_around(values), LEFT, 640)
    for tick in axis.ticks():
        yield _line(axis.at(tick), 40, axis.at(tick), bottom, 'class="grid"')
        yield _text(axis.at(tick), bottom + 16, f"{tick:g} s", "middle", "quiet")
    for number, job in enumerate(jobs):
        height = 54 + ROW * number
        yield _text(LEFT - 12, height + 4, JOBS[job].partition(";")[0].replace("`", ""), "end")
        for colour, program in zip(COLOURS, PROGRAMS, strict=False):
            timing = results.timing(job, program)
            if timing is not None:
                told = f"<title>{escape(program)}: {timing.seconds:.2f} s</title>"
                yield f'<circle cx="{axis.at(timing.seconds)}" cy="{height}" r="5" fill="{colour}">{told}</circle>'
    shown = [program for program in PROGRAMS if any(timing.program == program for timing in results.timings)]
    yield from _legend(shown, [COLOURS[PROGRAMS.index(program)] for program in shown], 20)


def _sizes(points: Sequence[Point], quantity: str, top: float, bottom: float) -> Iterator[str]:
    """A line an operation: its seconds or its peak memory in MiB over the size in GB."""
    scale = 1.0 if quantity == "seconds" else 1 / (1 << 20)
    across = Axis(*_around([point.size / 1e9 for point in points]), 710, WIDTH - 130)
    up = Axis(*_around([getattr(point, quantity) * scale for point in points]), bottom, top)
    unit = "s" if quantity == "seconds" else "MiB"
    yield _text(across.begin, top - 8, "time" if quantity == "seconds" else "peak memory", kind="quiet")
    for tick in up.ticks():
        yield _line(across.begin, up.at(tick), across.end, up.at(tick), 'class="grid"')
        yield _text(across.begin - 6, up.at(tick) + 4, f"{tick:g} {unit}", "end", "quiet")
    for tick in across.ticks():
        yield _text(across.at(tick), bottom + 16, f"{tick:g} GB", "middle", "quiet")
    ends = []
    for colour, operation in zip(COLOURS, dict.fromkeys(point.operation for point in points), strict=False):
        found = sorted((point for point in points if point.operation == operation), key=lambda point: point.size)
        places = [(across.at(point.size / 1e9), up.at(getattr(point, quantity) * scale)) for point in found]
        path = " ".join(f"{x},{y}" for x, y in places)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        ends.append((places[-1][1], places[-1][0], operation.replace("`", ""), colour))
    ends.sort()
    heights = _apart([y + 4 for y, *_ in ends], 13, bottom)
    for height, (_, x, name, colour) in zip(heights, ends, strict=True):
        yield f'<text x="{x + 6}" y="{height:.1f}" style="fill:{colour};font-size:11px">{escape(name)}</text>'


def _apart(heights: Sequence[float], least: float, bottom: float) -> list[float]:
    """Ascending heights moved as little as keeps them `least` apart and none below `bottom`."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + least) if found else height)
    for at in reversed(range(len(found))):
        found[at] = min(found[at], found[at + 1] - least if at + 1 < len(found) else bottom)
    return found


def _legend(names: Sequence[str], colours: Sequence[str], height: float) -> Iterator[str]:
    x = 20.0
    for name, colour in zip(names, colours, strict=True):
        yield f'<circle cx="{x}" cy="{height}" r="5" fill="{colour}"/>'
        yield _text(x + 10, height + 4, name)
        x += 40 + 7 * len(name)


def _around(values: Sequence[float]) -> tuple[float, float]:
    """The bounds of an axis that holds all values with some room."""
    return min(values) / 1.3, max(values) * 1.3


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" {style}/>'


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{style}>{escape(words)}</text>'
