"""Frequencies, and the way of a rope into the other dialect and back, on numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.errors import UsageError
from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.new_impl.rope_reading import read_rope
from gte_surgery.gte.rope import Rope, angle_gap, describe, inv_freq, to_native, to_remote

MIXED = Rope("mixed-ntk", 10000.0, 4.0, 0.7)
WITHOUT_FREQUENCIES = [Rope("none", 10000.0), Rope("unsupported", 10000.0, rope_type="yarn")]


def test_frequencies_without_scaling() -> None:
    assert inv_freq(Rope("default", 10000.0), 4) == [1.0, pytest.approx(0.01)]


def test_frequencies_with_ntk() -> None:
    # (100 · 4)^(−2i/4) / 4^(2/4)
    assert inv_freq(Rope("ntk", 100.0, 4.0), 4) == pytest.approx([1 / 2, 1 / 20 / 2])


def test_frequencies_with_mixed_ntk() -> None:
    # a = ln 16 / 2^1; divisors exp(a·1) = 4 and exp(a·2) = 16
    assert inv_freq(Rope("mixed-ntk", 100.0, 16.0, 1.0), 4) == pytest.approx([1 / 4, 1 / 10 / 16])


def test_frequencies_of_native_schemes() -> None:
    assert inv_freq(Rope("linear", 100.0, 4.0), 4) == pytest.approx([1 / 4, 1 / 40])
    assert inv_freq(Rope("longrope", 100.0, factors=(2.0, 5.0)), 4) == pytest.approx([1 / 2, 1 / 50])


@pytest.mark.parametrize("rope", WITHOUT_FREQUENCIES, ids=describe)
def test_what_has_no_known_frequencies_says_so(rope: Rope) -> None:
    for ask in (lambda: inv_freq(rope, 64), lambda: to_native(rope, 64, 8192)):
        with pytest.raises(UsageError, match="rope: "):
            ask()
    assert to_remote(rope, 64) is None


@pytest.mark.parametrize(
    ("rope", "theta", "factor"),
    [
        (Rope("ntk", 20000.0, 8.0), 160000.0, 1.0671404006768237),
        (Rope("ntk", 500000.0, 2.0), 1000000.0, 1.0218971486541166),
        (Rope("ntk", 160000.0, 2.0), 320000.0, 1.0218971486541166),
    ],
)
def test_the_releases_have_the_measured_native_equivalents(rope: Rope, theta: float, factor: float) -> None:
    assert to_native(rope, 64, 8192) == {"rope_type": "linear", "rope_theta": theta, "factor": factor}


def test_mixed_ntk_becomes_a_longrope_that_leaves_attention_alone() -> None:
    parameters: Any = to_native(Rope("mixed-ntk", 100.0, 16.0, 1.0), 4, 128)
    assert parameters["short_factor"] == parameters["long_factor"] == pytest.approx([4, 16])
    assert (parameters["factor"], parameters["attention_factor"]) == (1.0, 1.0)
    assert (parameters["rope_theta"], parameters["original_max_position_embeddings"]) == (100.0, 128)


ROPES = st.one_of(
    st.builds(Rope, st.just("default"), st.floats(1.0, 1e7)),
    st.builds(Rope, st.just("ntk"), st.floats(1.0, 1e7), st.floats(1.01, 100)),
    st.builds(Rope, st.just("mixed-ntk"), st.floats(1.0, 1e7), st.floats(1.01, 100), st.floats(0, 3)),
)


@given(rope=ROPES, head_size=st.sampled_from([2, 8, 64, 128]))
def test_the_native_equivalent_has_the_same_frequencies(rope: Rope, head_size: int) -> None:
    native = read_rope({"rope_parameters": to_native(rope, head_size, 8192)}, Dialect.NATIVE, head_size)
    assert inv_freq(native, head_size) == pytest.approx(inv_freq(rope, head_size), rel=1e-12)


@given(
    theta=st.sampled_from([10000.0, 20000.0, 160000.0, 500000.0]),
    factor=st.sampled_from([1.5, 2.0, 3.0, 4.0, 8.0, 10.0, 16.0, 32.0]),
    mixed_b=st.sampled_from([None, 0.5, 0.7, 0.75, 1.0]),
    head_size=st.sampled_from([8, 32, 64, 128]),
)
def test_there_and_back_gives_the_same_round_numbers(
    theta: float, factor: float, mixed_b: float | None, head_size: int
) -> None:
    rope = Rope("ntk" if mixed_b is None else "mixed-ntk", theta, factor, mixed_b)
    native = read_rope({"rope_parameters": to_native(rope, head_size, 8192)}, Dialect.NATIVE, head_size)
    remote = to_remote(native, head_size)
    assert remote is not None
    assert read_rope({"rope_theta": remote[0], "rope_scaling": remote[1]}, Dialect.REMOTE, head_size) == rope


def test_remote_ropes_stay_what_they_are() -> None:
    assert to_remote(Rope("default", 5.0), 64) == (5.0, None)
    assert to_remote(Rope("ntk", 5.0, 2.0), 64) == (5.0, {"type": "ntk", "factor": 2.0})
    assert to_remote(MIXED, 64) == (10000.0, {"type": "ntk", "factor": 4.0, "mixed_b": 0.7})


@pytest.mark.parametrize(
    "rope",
    [
        Rope("linear", 10000.0, 0.5),
        Rope("longrope", 10000.0, factors=(1.0, 2.0)),
        Rope("longrope", 10000.0, factors=(2.0, 9.0, 3.0)),
        Rope("longrope", 10000.0, factors=(0.5, 2.0)),
    ],
    ids=describe,
)
def test_a_rope_that_ntk_cannot_make_has_no_remote_form(rope: Rope) -> None:
    assert to_remote(rope, 2 * len(rope.factors) or 64) is None


def test_native_schemes_that_scale_nothing_become_plain() -> None:
    assert to_remote(Rope("linear", 7.0, 1.0), 64) == (7.0, None)
    assert to_remote(Rope("longrope", 7.0, factors=(1.0, 1.0)), 4) == (7.0, None)


def test_a_factor_of_four_digits_is_off_by_a_third_of_a_radian_at_the_last_position() -> None:
    exact, rounded = Rope("linear", 160000.0, 1.0671404006768237), Rope("linear", 160000.0, 1.0671)
    assert angle_gap(exact, rounded, 64, 8191) == pytest.approx(0.29, abs=0.005)
    assert angle_gap(exact, Rope("ntk", 20000.0, 8.0), 64, 8191) < 1e-9


@pytest.mark.parametrize(
    ("rope", "wanted"),
    [
        (Rope("default", 160000.0), "theta 160000"),
        (Rope("ntk", 20000.0, 8.0), "theta 20000, ntk factor 8"),
        (Rope("linear", 160000.0, 1.0671404006768237), "theta 160000, linear factor 1.0671404006768237"),
        (MIXED, "theta 10000, ntk factor 4, mixed_b 0.7"),
        (Rope("longrope", 10000.0, factors=(1.5, 2.0)), "theta 10000, longrope factors 1.5 … 2"),
        (Rope("none", 10000.0), "none, absolute positions"),
        (Rope("unsupported", 1.0, rope_type="yarn"), "yarn (not a rope of this family)"),
    ],
)
def test_a_rope_is_told_in_a_few_words(rope: Rope, wanted: str) -> None:
    assert describe(rope) == wanted


def test_the_smallest_heads_have_no_frequencies() -> None:
    for rope in (Rope("default", 10.0), Rope("ntk", 10.0, 2.0), MIXED):
        assert inv_freq(rope, 1) == []
        assert to_native(rope, 1, 8)
    assert math.isclose(inv_freq(MIXED, 2)[0], 1 / 4)


@pytest.mark.parametrize(
    ("rope", "wanted"),
    [
        (Rope("longrope", 10000.0, factors=(1.5, 7.0, 2.0)), "theta 10000, longrope factors 1.5 … 2"),
        (Rope("unsupported", 1.0), "unreadable (not a rope of this family)"),
        (Rope("unsupported", 1.0, refusal="rope_scaling: 3"), "unreadable (rope_scaling: 3)"),
        (Rope("mixed-ntk", 0.5, 4.0, 0.0), "theta 0.5, ntk factor 4, mixed_b 0"),
    ],
)
def test_the_less_usual_ropes_are_told_too(rope: Rope, wanted: str) -> None:
    assert describe(rope) == wanted


def test_a_refusal_names_the_rope() -> None:
    rope = Rope("none", 10000.0)
    with pytest.raises(UsageError) as frequencies:
        inv_freq(rope, 64)
    assert frequencies.value.message == "rope: none, absolute positions, has no frequencies that this tool knows"
    with pytest.raises(UsageError) as native:
        to_native(rope, 64, 8192)
    assert native.value.message == "rope: none, absolute positions, cannot be expressed in the native dialect"


def test_a_longrope_stays_one_in_the_native_dialect() -> None:
    assert to_native(Rope("longrope", 7.0, factors=(2.0, 5.0)), 4, 128) == {
        "attention_factor": 1.0,
        "factor": 1.0,
        "long_factor": [2.0, 5.0],
        "original_max_position_embeddings": 128,
        "rope_theta": 7.0,
        "rope_type": "longrope",
        "short_factor": [2.0, 5.0],
    }


def test_a_longrope_needs_a_factor_for_each_frequency() -> None:
    with pytest.raises(ValueError, match="zip"):
        inv_freq(Rope("longrope", 7.0, factors=(2.0,)), 4)
    with pytest.raises(ValueError, match="zip"):
        angle_gap(Rope("default", 7.0), Rope("longrope", 7.0, factors=(2.0,)), 4, 1)


@pytest.mark.parametrize(("head_size", "wanted"), [(2, (30.0, {"factor": 2.0, "type": "ntk"})), (1, None)])
def test_the_smallest_head_with_a_linear_rope(head_size: int, wanted: object) -> None:
    # factor^(head_size / 2) = 2 for the one pair of a head of 2; a head of 1 turns nothing
    assert to_remote(Rope("linear", 60.0, 2.0), head_size) == wanted


@pytest.mark.parametrize(("theta", "factor"), [(160000.0, 8.0), (123456.789, 8.0), (98765.4, 3.0), (0.1, 3.0)])
def test_the_theta_found_for_a_linear_rope_gives_it_back_exactly(theta: float, factor: float) -> None:
    # 98765.4 · 3 / 3 is not 98765.4 in float64
    assert to_remote(Rope("linear", theta * factor, factor ** (2 / 64)), 64) == (
        theta,
        {"factor": factor, "type": "ntk"},
    )


def test_a_longrope_of_two_factors_may_come_from_ntk_and_one_of_one_may_not() -> None:
    two = to_remote(Rope("longrope", 100.0, factors=(4.0, 16.0)), 4)
    assert two == (100.0, {"factor": 16.0, "mixed_b": 1.0, "type": "ntk"})
    assert to_remote(Rope("longrope", 100.0, factors=(4.0,)), 2) is None
    assert to_remote(Rope("longrope", 100.0, factors=(4.0, 1.0)), 4) is None


def test_factors_that_are_almost_those_of_ntk_are_not_taken_for_them() -> None:
    exact = tuple(math.exp(math.log(16) / 4 * (i + 1)) for i in range(4))
    near = (exact[0], exact[1] * (1 + 1e-10), *exact[2:])
    assert to_remote(Rope("longrope", 100.0, factors=exact), 8) == (
        100.0,
        {"factor": 16.0, "mixed_b": 1.0, "type": "ntk"},
    )
    assert to_remote(Rope("longrope", 100.0, factors=near), 8) is None


def test_a_gap_is_the_largest_angle_times_the_position() -> None:
    # frequencies 1 and 0.1 against 1/2 and 0.1/2
    assert angle_gap(Rope("default", 100.0), Rope("linear", 100.0, 2.0), 4, 10) == pytest.approx(5.0)
    assert angle_gap(Rope("default", 100.0), Rope("linear", 100.0, 2.0), 1, 10) == 0.0


def test_a_factor_beyond_one_exponent_of_zero_divides_all_alike() -> None:
    assert inv_freq(Rope("mixed-ntk", 100.0, 4.0, 0.0), 4) == pytest.approx([1 / 4, 1 / 40])
    assert inv_freq(Rope("mixed-ntk", 100.0, 4.0), 4) == pytest.approx([1 / 4, 1 / 40])
