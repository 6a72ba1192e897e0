"""How the bench's results read, as text, Markdown and picture; and that their page shows the results that are kept."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench import report
from tests.bench.chart import Axis, draw
from tests.bench.jobs import BRAINSURGERY_REASONS, FLOOR, JOBS, OURS, REASONS, TARGETS, TRANSFORMERS, lines
from tests.bench.results import Point, Reason, Results, Timing, from_json

ROOT = Path(__file__).resolve().parents[3]
KEPT = ROOT / "tests" / "bench" / "results"
SVG = "{http://www.w3.org/2000/svg}"

RESULTS = Results(
    "2026-01-02",
    "a machine with 2 cores and 24 GB",
    {"gte-surgery": "0.1.0", "transformers": "5.23.0"},
    "A checkpoint",
    (
        Timing("shrink", OURS, "", (1.0, 2.0, 3.0), 40 << 20),
        Timing("shrink", FLOOR, "cp", (0.5, 0.5, 0.5), 10 << 20),
        Timing("shrink", TRANSFORMERS, "", (8.0, 8.0, 30.0), 2000 << 20),
    ),
    (Reason(TRANSFORMERS, "convert", "cannot <this> & that"),),
    tuple(
        Point(operation, f"{size:g} GB", int(size * 1e9), (seconds * (1 + size),), 30 << 20)
        for operation, seconds in (("`check`", 0.001), ("`check --values`", 0.4))
        for size in (0.1, 1, 10)
    ),
    (Point("`check`", "odd", 1, (0.2,), 30 << 20, 3, "error: no"),),
)


def test_a_row_tells_seconds_memory_and_how_many_times_ours() -> None:
    _, row = report.comparison(RESULTS)
    assert row[1:] == ["2.00 s, 40 MiB", "0.50 s, 10 MiB, 0.25 × (cp)", "8.00 s, 2,000 MiB, 8.0 ×"]


def test_only_programs_and_jobs_with_numbers_are_shown() -> None:
    rows = report.comparison(RESULTS)
    assert rows[0] == ["", "gte-surgery 0.1.0", "floor", "transformers 5.23.0"]
    assert [row[0] for row in rows[1:]] == [JOBS["shrink"]]


def test_a_missed_target_is_said_to_be_missed() -> None:
    said = {row[2]: (row[1], row[3]) for row in report.verdicts(RESULTS, TARGETS)}
    assert said["2.00 × the floor"] == ("4.00 ×", "**missed**")
    assert said["0.17 × transformers"] == ("0.12 ×", "met")
    assert said["64 MiB"] == ("40 MiB", "met")


def test_points_stand_by_operation_and_size_and_a_refusal_is_told() -> None:
    assert report.by_size(RESULTS.sizes)[0] == ["", "0.1 GB", "1 GB", "10 GB"]
    assert report.by_size(RESULTS.extremes)[1] == ["`check`", "0.20 s, 30 MiB, refused: error: no"]
    assert report.straightness(RESULTS.sizes)[1] == "`check --values`: +400.0, +400.0 ms a GB; 30 MiB"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0234, "0.02 s"), (9.994, "9.99 s"), (12.34, "12.3 s"), (123.4, "123 s")]
)
def test_seconds_have_as_many_digits_as_mean_something(value: float, shown: str) -> None:
    assert report.seconds(value) == shown


def test_text_has_no_markup_and_columns_of_one_width() -> None:
    told = report.text(RESULTS, TARGETS)
    assert not re.search(r"`|\*\*|\|", told)
    assert report.aligned([["a", "bb"], ["ccc", "d"]]) == "a    bb\nccc  d"


def test_markdown_tables_have_a_cell_for_every_column() -> None:
    tables = [line for line in report.markdown(RESULTS, TARGETS, "c.svg").splitlines() if line.startswith("|")]
    assert len(tables) > 8
    for before, line in pairwise(tables):
        if set(line) <= set("|-"):
            assert line.count("|") == before.count("|")


def test_the_section_goes_between_its_marks_and_nowhere_else() -> None:
    readme = f"before\n{report.BEGIN}\nold \\1\n{report.END}\nafter\n"
    once = report.put(readme, "new \\g<0>")
    assert once == f"before\n{report.BEGIN}\n\nnew \\g<0>\n\n{report.END}\nafter\n"
    assert report.put(once, "new \\g<0>") == once
    with pytest.raises(ValueError, match="has no"):
        report.put("before\nafter\n", "new")


def test_an_axis_is_logarithmic() -> None:
    axis = Axis(0.1, 10, 0, 100)
    assert [axis.at(value) for value in (0.1, 1, 10)] == [0, 50, 100]
    assert axis.ticks() == pytest.approx([0.1, 1, 10])
    assert Axis(15, 60, 0, 1).ticks() == [20, 50]


def test_the_chart_is_well_formed_with_a_dot_a_timing_and_a_line_an_operation() -> None:
    tree = ElementTree.fromstring(draw(RESULTS))
    assert tree.tag == f"{SVG}svg"
    dots = [dot for dot in tree.iter(f"{SVG}circle") if dot.find(f"{SVG}title") is not None]
    assert len(dots) == len(RESULTS.timings)
    assert len(list(tree.iter(f"{SVG}polyline"))) == 2 * 2
    across = [float(dot.get("cx", "")) for dot in dots]
    assert across[1] < across[0] < across[2]  # cp, ours, transformers


def test_everything_in_the_chart_lies_inside_it() -> None:
    tree = ElementTree.fromstring(draw(RESULTS))
    _, _, width, height = map(float, tree.get("viewBox", "").split())
    places = [
        (float(p) for p in point.split(","))
        for line in tree.iter(f"{SVG}polyline")
        for point in line.get("points", "").split()
    ]
    places += [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in tree.iter(f"{SVG}circle")]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


def test_a_chart_without_sizes_is_one_panel() -> None:
    tree = ElementTree.fromstring(draw(replace(RESULTS, sizes=())))
    assert not list(tree.iter(f"{SVG}polyline"))


def test_every_job_has_a_line_or_a_reason_for_each_program(tmp_path: Path) -> None:
    """In particular, no program is left out without a word."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"num_hidden_layers": 1}')
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote" / "config.json").write_text("{}")
    told = {(job, line.program) for line in lines(tmp_path, tmp_path) for job in (line.job, *line.also)}
    assert {job for job, program in told if program == OURS} == set(JOBS)
    excused = {(reason.job, reason.program) for reason in (*REASONS, *BRAINSURGERY_REASONS)}
    assert told & excused == set()
    variants = {"help", "shrink, no hash", "convert in place"}
    programs = {program for _, program in told} - {OURS, FLOOR}
    wanted = {(job, program) for job in set(JOBS) - variants for program in programs}
    assert wanted - told - excused == set()


def test_targets_name_lines_that_are_run() -> None:
    assert {target.job for target in TARGETS} | {target.against[0] for target in TARGETS if target.factor} <= set(JOBS)


def test_the_page_shows_the_results_that_are_kept() -> None:
    results = from_json(json.loads((KEPT / "bench.json").read_text(encoding="utf-8")))
    page = KEPT.with_name("README.md").read_text(encoding="utf-8")
    assert report.put(page, report.markdown(results, TARGETS, "results/bench.svg")) == page
    assert (KEPT / "bench.svg").read_text(encoding="utf-8") == draw(results)
