"""Plots are well-formed SVG within their box, whatever the values, and say what they show."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checks.description import Part
from gte_surgery.compare.portrait import RowNorms, Spread
from gte_surgery.render.plots import Scale, lengths_plot, norms_plot, parts_plot, rope_plot, spreads_plot

SVG = "{http://www.w3.org/2000/svg}"
values = st.floats(1e-30, 1e30)


def drawn(svg: str) -> list[str]:
    """The words of a plot; fails unless all of it lies in the box, in colours of the page."""
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for each in root.iter():
        for key, most in {"x": width, "cx": width, "y": height, "cy": height}.items():
            assert 0 <= float(each.attrib.get(key, 0)) <= most
    assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg)) <= {
        f"var(--{name})" for name in ("ink", "rule", "mark", *(f"series-{number}" for number in range(1, 9)))
    }
    return [each.text or "" for each in root.iter(f"{SVG}text")]


def norms(**changes: object) -> RowNorms:
    usual: dict[str, object] = {
        "rows": 12, "edges": (0.5, 1.0, 1.5), "counts": (2, 7), "zeros": 3, "first_zeros": (5, 6, 9), "not_finite": 0,
        "median": 1.1, "pad": 1, "pad_norm": 0.0,
    }  # fmt: skip
    return RowNorms(**(usual | changes))  # type: ignore[arg-type]


def test_norms_have_their_marks_and_axes() -> None:
    assert {"norm of the row", "rows", "3 zero rows", "pad row 1"} <= set(drawn(norms_plot(norms())))
    plain = drawn(norms_plot(norms(zeros=0, pad=None, pad_norm=None)))
    assert {"3 zero rows", "pad row 1"} & set(plain) == set()


@pytest.mark.parametrize("pad_norm", [float("nan"), float("inf"), 1e38, 0.0])
def test_any_pad_norm_is_drawn_or_left_out(pad_norm: float) -> None:
    drawn(norms_plot(norms(pad_norm=pad_norm)))


def test_a_larger_part_has_a_longer_bar() -> None:
    svg = parts_plot([Part("embeddings", 2, 10, 4_000_000), Part("<head>", 1, 5, 1_000_000)])
    assert {"embeddings", "<head>", "10", "5"} <= set(drawn(svg))
    wide, narrow = (float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', svg))
    assert wide == pytest.approx(4 * narrow, rel=0.02)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(10, 10**12), st.integers(0, 10**15)), min_size=1, max_size=40))
def test_any_lengths(bins: list[tuple[int, int, int]]) -> None:
    drawn(lengths_plot(bins))


@given(st.lists(st.lists(st.none() | values | st.just(float("nan")), min_size=1, max_size=48), min_size=1, max_size=9))
def test_any_spreads(layers: list[list[float | None]]) -> None:
    drawn(spreads_plot([Spread(f"kind {at}", tuple(each)) for at, each in enumerate(layers)]))


@given(st.lists(values, min_size=1, max_size=64), st.none() | st.integers(1, 10**9))
def test_any_rope(wavelengths: list[float], positions: int | None) -> None:
    drawn(rope_plot(wavelengths, positions))


def test_a_gap_stays_a_gap() -> None:
    whole, gap = (spreads_plot([Spread("qkv", by)]).count("<circle") for by in ((1.0, 2.0, 3.0), (1.0, None, 3.0)))
    assert (whole, gap) == (3, 2)


@given(values, values, st.booleans(), st.booleans())
def test_ticks_are_few_and_lie_on_the_scale(one: float, other: float, is_log: bool, is_whole: bool) -> None:
    scale = Scale(min(one, other), max(one, other), 0, 100, is_log, is_whole)
    ticks = scale.ticks()
    assert len(ticks) <= 12
    assert ticks == sorted(ticks)
    assert all(0 <= scale.at(tick) <= 100 for tick in ticks)
