"""The bench's arithmetic: medians, ratios of rounds, targets, and the file that keeps them."""

from __future__ import annotations

import json

import pytest

from tests.bench.results import (
    Point,
    Reason,
    Results,
    Target,
    Timing,
    from_json,
    growth,
    judge,
    paired_ratio,
    to_json,
)


def timing(job: str, program: str, *runs: float, peak: int = 0) -> Timing:
    return Timing(job, program, "", runs, peak)


def results(*timings: Timing) -> Results:
    return Results("2026-01-02", "a machine", {}, "a checkpoint", timings, (), (), ())


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians() -> None:
    mine, theirs = [1.0, 6.0, 3.0], [1.0, 2.0, 4.0]
    assert paired_ratio(mine, theirs) == 1.0
    assert timing("j", "p", *mine).seconds / timing("j", "p", *theirs).seconds == 1.5


def test_rounds_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("target", "found", "is_met"),
    [
        (Target("a", "we", "seconds", plus=3), 3.0, True),
        (Target("a", "we", "seconds", plus=2.9), 3.0, False),
        (Target("a", "we", "seconds", 2, ("a", "cp")), 2.0, True),
        (Target("a", "we", "seconds", 1.9, ("a", "cp")), 2.0, False),
        (Target("a", "we", "seconds", 1, ("a", "cp"), 1.5), 3.0, True),
        (Target("a", "we", "seconds", 1, ("a", "cp"), 1.4), 3.0, False),
        (Target("a", "we", "peak", plus=70), 70, True),
        (Target("a", "we", "peak", plus=69), 70, False),
    ],
)
def test_a_target_bounds_seconds_a_ratio_a_sum_or_memory(target: Target, found: float, is_met: bool) -> None:
    verdict = judge(target, results(timing("a", "we", 2, 3, 4, peak=70), timing("a", "cp", 1, 1.5, 2)))
    assert verdict is not None
    assert (verdict.found, verdict.is_met) == (found, is_met)


def test_a_target_whose_lines_were_not_run_is_not_judged() -> None:
    target = Target("a", "we", "seconds", 2, ("a", "cp"))
    assert judge(target, results(timing("a", "we", 1))) is None
    assert judge(target, results(timing("a", "cp", 1))) is None


def test_growth_is_what_a_gigabyte_more_costs_from_each_size_to_the_next() -> None:
    points = [
        Point("o", str(size), size * 10**9, (seconds,), 0) for size, seconds in ((10, 6.0), (1, 1.5), (110, 56.0))
    ]
    assert growth(points) == pytest.approx([0.5, 0.5])


def test_what_is_kept_is_what_is_read_again() -> None:
    points = (Point("o", "1 GB", 10**9, (1.0, 3.0, 2.0), 7, 3, "no"),)
    found = Results(
        "2026-01-02", "m", {"x": "1"}, "c", (timing("a", "we", 1, 2),), (Reason("p", "a", "r"),), points, points[:0]
    )
    kept = json.dumps(to_json(found))
    assert from_json(json.loads(kept)) == found
    assert json.loads(kept)["sizes"][0]["seconds"] == 2.0
