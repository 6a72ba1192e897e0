"""The results in words: a table for the terminal, the same in Markdown for its page. Pure text.

Each row is a job, each column a program: seconds, peak memory, and for the others how many times ours they took.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.bench.jobs import FLOOR, JOBS, OURS, PROGRAMS
from tests.bench.results import Point, Results, Target, Timing, growth, judge, paired_ratio

BEGIN, END = "<!-- bench: written by `bin/bench --write` -->", "<!-- bench: end -->"


def seconds(value: float) -> str:
    """0.023 → "0.02 s"; 12.34 → "12.3 s"; 123.4 → "123 s"."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} s"


def mib(size: float) -> str:
    """Bytes as MiB: 38797312 → "37 MiB"."""
    return f"{size / (1 << 20):,.0f} MiB"


def cell(timing: Timing | None, mine: Timing | None) -> str:
    """What one program did at a job: "8.02 s, 1,423 MiB, 7.9 ×", the last where it is not ours."""
    if timing is None:
        return "–"
    parts = [seconds(timing.seconds), mib(timing.peak)]
    if timing is not mine and mine is not None:
        ratio = paired_ratio(timing.runs, mine.runs)
        parts.append(f"{ratio:.{2 if ratio < 1 else 1}f} ×")
    label = f" ({timing.label})" if timing.label else ""
    return ", ".join(parts) + label


def comparison(results: Results) -> list[list[str]]:
    """The jobs by programs; a program without any number has no column, a job that was not run no row."""
    shown = [name for name in PROGRAMS if any(timing.program == name for timing in results.timings)]
    rows = [["", *(_title(name, results) for name in shown)]]
    for job, title in JOBS.items():
        mine = results.timing(job, OURS)
        if mine is not None:
            rows.append([title, *(cell(results.timing(job, name), mine) for name in shown)])
    return rows


def verdicts(results: Results, targets: Sequence[Target]) -> list[list[str]]:
    """Each target that can be judged: what was found, what is allowed, whether that was kept."""
    rows = [["target", "found", "at most", ""]]
    for target in targets:
        verdict = judge(target, results)
        if verdict is not None:
            found, bound = _quantities(target, verdict.found)
            title = JOBS[target.job].partition(";")[0]
            rows.append([title, found, bound, "met" if verdict.is_met else "**missed**"])
    return rows


def by_size(points: Sequence[Point]) -> list[list[str]]:
    """The operations by what they were done to: seconds and peak memory, or that it was refused."""
    subjects = list(dict.fromkeys(point.subject for point in points))
    rows = [["", *subjects]]
    for operation in dict.fromkeys(point.operation for point in points):
        found = {point.subject: point for point in points if point.operation == operation}
        rows.append([operation, *(_point(found.get(subject)) for subject in subjects)])
    return rows


def straightness(points: Sequence[Point]) -> list[str]:
    """For each operation the milliseconds that a GB more costs, from each size to the next, and how memory grew."""
    lines = []
    for operation in dict.fromkeys(point.operation for point in points):
        found = [point for point in points if point.operation == operation]
        if len(found) > 1:
            costs = ", ".join(f"{1000 * cost:+.1f}" for cost in growth(found))
            peaks = [point.peak for point in found]
            memory = " to ".join(dict.fromkeys((mib(min(peaks)), mib(max(peaks)))))
            lines.append(f"{operation}: {costs} ms a GB; {memory}")
    return lines


def text(results: Results, targets: Sequence[Target]) -> str:
    """Everything, for a terminal."""
    parts = [_where(results), aligned(comparison(results))]
    parts += [aligned(verdicts(results, targets))] if targets else []
    parts += [aligned(by_size(points)) for points in (results.sizes, results.extremes) if points]
    parts += ["\n".join(lines) for lines in (straightness(results.sizes), _reasons(results)) if lines]
    return "\n\n".join(parts).replace("`", "").replace("**", "") + "\n"


def markdown(results: Results, targets: Sequence[Target], chart: str) -> str:
    """Everything, for its page; `chart` is the path of the picture."""
    parts = [
        _where(results),
        f"![Seconds by program for each job, and by size of the checkpoint]({chart})",
        piped(comparison(results)),
        piped(verdicts(results, targets)),
    ]
    if results.sizes:
        parts += [
            "Sparse checkpoints with a larger and larger vocabulary, and odd shapes:",
            piped(by_size(results.sizes)),
        ]
    if results.extremes:
        parts.append(piped(by_size(results.extremes)))
    for title, lines in (
        ("What a GB more costs:", straightness(results.sizes)),
        ("Why there is no number:", _reasons(results)),
    ):
        if lines:
            parts.append("\n".join([title, "", *(f"- {line}" for line in lines)]))
    return "\n\n".join(parts)


def put(page: str, section: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with `section` between two marks; raises ValueError when it has none."""
    marks = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    if not marks.search(page):
        raise ValueError(f"the page has no {begin} … {end}")
    return marks.sub(lambda _: f"{begin}\n\n{section}\n\n{end}", page, count=1)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, as text."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def piped(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def _where(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return (
        f"Measured on {results.date} on {results.machine}: {versions}. {results.checkpoint}. Whole processes from start"
        " to end, medians of rounds in which all take turns; ours are durable on disk and hashed, the others leave that"
        " to the system, but for `cp`, which is followed by a sync. × is the time by ours, the median over the rounds."
    )


def _title(program: str, results: Results) -> str:
    return f"{program} {results.versions.get(program, '')}".rstrip() if program != FLOOR else "floor"


def _quantities(target: Target, found: float) -> tuple[str, str]:
    """What was found, and the bound, in the target's own unit."""
    if target.quantity == "peak":
        return mib(found), mib(target.plus)
    if not target.factor:
        return seconds(found), seconds(target.plus)
    job, program = target.against
    named = {FLOOR: "the floor", OURS: f"the {job}"}.get(program, program)
    if target.plus:
        return seconds(found), f"{target.factor:g} × {named} + {target.plus:g} s"
    return f"{found:.2f} ×", f"{target.factor:.2f} × {named}"


def _point(point: Point | None) -> str:
    if point is None:
        return "–"
    refused = f", refused: {point.said}" if point.said else ""
    return f"{seconds(point.seconds)}, {mib(point.peak)}{refused}"


def _reasons(results: Results) -> list[str]:
    """One line a program: what it cannot do, and why."""
    lines = []
    for program in dict.fromkeys(reason.program for reason in results.reasons):
        found = [reason for reason in results.reasons if reason.program == program]
        told = "; ".join(f"{_name(reason.job)}{reason.reason}" for reason in found)
        lines.append(f"{program}: {told}")
    return lines


def _name(job: str) -> str:
    return f"{JOBS[job].partition(';')[0]}: " if job else ""
