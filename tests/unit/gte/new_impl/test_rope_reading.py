"""A rope is read as the loader would apply it, silent defaults and precedence included; nothing here raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.new_impl.rope_reading import read_rope
from gte_surgery.gte.rope import Rope

LONGROPE = {"rope_type": "longrope", "rope_theta": 5.0, "short_factor": [1.5, 2], "long_factor": [1.5, 2]}


def remote(**config: object) -> Rope:
    return read_rope(config, Dialect.REMOTE, 4)


def native(**config: object) -> Rope:
    return read_rope(config, Dialect.NATIVE, 4)


def test_remote_ropes() -> None:
    assert remote() == Rope("default", 10000.0)
    assert remote(rope_theta=160000, rope_scaling=None) == Rope("default", 160000.0)
    assert remote(rope_theta=20000, rope_scaling={"type": "ntk", "factor": 8}) == Rope("ntk", 20000.0, 8.0)
    mixed = {"type": "ntk", "factor": 4.0, "mixed_b": 0.7}
    assert remote(rope_scaling=mixed) == Rope("mixed-ntk", 10000.0, 4.0, 0.7)


@pytest.mark.parametrize("factor", [1, 1.0, 0.5])
def test_the_reference_code_leaves_ntk_out_up_to_factor_one(factor: float) -> None:
    assert remote(rope_scaling={"type": "ntk", "factor": factor, "mixed_b": 0.5}) == Rope("default", 10000.0)


def test_absolute_positions_have_no_rope_whatever_its_keys_say() -> None:
    assert remote(position_embedding_type="absolute", rope_scaling={"type": "ntk", "factor": 8}).kind == "none"
    assert native(position_embedding_type="absolute") == Rope("default", 160000.0)


@pytest.mark.parametrize(
    ("config", "refusal"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 8}}, 'rope_scaling type: "linear", must be "ntk"'),
        ({"rope_scaling": {"rope_type": "ntk", "factor": 8}}, 'rope_scaling type: null, must be "ntk"'),
        ({"rope_scaling": {"type": "ntk"}}, "rope_scaling factor: null, must be a number above 0"),
        ({"rope_scaling": {"type": "ntk", "factor": "8"}}, 'rope_scaling factor: "8", must be a number above 0'),
        ({"rope_scaling": {"type": "ntk", "factor": 8, "mixed_b": "x"}}, 'rope_scaling mixed_b: "x", must be a number'),
        ({"rope_scaling": "ntk"}, 'rope_scaling: "ntk", must be an object or null'),
        ({"rope_theta": 0}, "rope_theta: 0, must be a number above 0"),
        ({"rope_theta": 10**400}, "rope_theta: 1000"),
    ],
)
def test_what_the_reference_code_refuses_says_why(config: dict[str, object], refusal: str) -> None:
    rope = remote(**config)
    assert rope.kind == "unsupported"
    assert rope.refusal.startswith(refusal)


def test_native_ropes() -> None:
    assert native() == Rope("default", 160000.0)
    assert native(rope_parameters=None) == Rope("default", 160000.0)
    assert native(rope_parameters={"rope_type": "default", "rope_theta": 500000}) == Rope("default", 500000.0)
    linear = {"rope_type": "linear", "rope_theta": 160000.0, "factor": 1.0671404006768237}
    assert native(rope_parameters=linear) == Rope("linear", 160000.0, 1.0671404006768237)
    assert native(rope_parameters=LONGROPE | {"factor": 1.0}) == Rope("longrope", 5.0, factors=(1.5, 2.0))


def test_the_native_model_takes_theta_from_beside_the_parameters_too() -> None:
    assert native(rope_theta=20000) == Rope("default", 20000.0)
    assert native(rope_theta=20000, rope_parameters={"rope_type": "default"}) == Rope("default", 20000.0)
    both = native(rope_theta=20000, rope_parameters={"rope_type": "default", "rope_theta": 30000})
    assert both == Rope("default", 30000.0)


def test_rope_scaling_beats_rope_parameters_in_the_native_model() -> None:
    parameters = {"rope_type": "default", "rope_theta": 30000.0}
    assert native(rope_scaling={"type": "linear", "factor": 2.0}, rope_parameters=parameters).kind == "linear"
    assert native(rope_scaling={}, rope_parameters=parameters) == Rope("default", 30000.0)


def test_ntk_left_in_a_native_config_is_refused() -> None:
    rope = native(rope_theta=20000, rope_scaling={"type": "ntk", "factor": 8.0})
    assert (rope.kind, rope.rope_type) == ("unsupported", "ntk")
    assert rope.refusal == 'rope_type: "ntk", is unknown to the native model'


@pytest.mark.parametrize("kind", ["dynamic", "yarn", "llama3", "proportional"])
def test_schemes_of_other_families_load_but_are_not_supported(kind: str) -> None:
    rope = native(rope_parameters={"rope_type": kind, "factor": 2.0})
    assert (rope.kind, rope.rope_type, rope.refusal) == ("unsupported", kind, "")


@pytest.mark.parametrize(
    ("change", "is_plain"),
    [
        ({"attention_factor": 1.0, "factor": 8.0}, True),
        ({"attention_factor": 1.1}, False),
        ({"factor": 8.0}, False),
        ({}, True),
        ({"original_max_position_embeddings": 4096}, False),
        ({"long_factor": [2, 2]}, False),
    ],
)
def test_a_longrope_that_does_more_than_divide_is_not_supported(change: dict[str, object], is_plain: bool) -> None:
    rope = native(rope_parameters={**LONGROPE, **change}, max_position_embeddings=8192)
    assert (rope.kind, rope.refusal) == ("longrope" if is_plain else "unsupported", "")


@pytest.mark.parametrize("change", [{"short_factor": [1.0]}, {"long_factor": None}, {"short_factor": [1.0, "2"]}])
def test_a_longrope_without_a_factor_for_each_frequency_is_refused(change: dict[str, object]) -> None:
    assert "lists of 2 numbers" in native(rope_parameters={**LONGROPE, **change}).refusal


def test_a_partial_rotary_factor_counts_where_the_loader_reads_it() -> None:
    linear = {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}
    assert native(rope_parameters=linear).kind == "unsupported"
    assert native(rope_parameters={"rope_type": "default", "partial_rotary_factor": 0.5}).kind == "default"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = ("rope_type", "type", "factor", "rope_theta", "mixed_b", "short_factor", "long_factor", "attention_factor")
KINDS = st.sampled_from(["default", "linear", "ntk", "longrope", "yarn"])
SCALING = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, KINDS | JSON)) | JSON


@given(
    config=st.fixed_dictionaries(
        {}, optional={"rope_theta": JSON, "rope_scaling": SCALING, "rope_parameters": SCALING}
    ),
    dialect=st.sampled_from(Dialect),
)
def test_no_json_makes_reading_fail(config: dict[str, object], dialect: Dialect) -> None:
    rope = read_rope(config, dialect, 8)
    assert rope.refusal == "" or rope.kind == "unsupported"


POSITIVE = "must be a number above 0, within float32"


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (
            {"rope_theta": "x"},
            Rope("unsupported", 10000.0, rope_type="default", refusal=f'rope_theta: "x", {POSITIVE}'),
        ),
        (
            {"rope_theta": 7, "rope_scaling": [8]},
            Rope("unsupported", 7.0, refusal="rope_scaling: [8], must be an object or null"),
        ),
        (
            {"rope_theta": 7, "rope_scaling": {"type": "yarn"}},
            Rope("unsupported", 7.0, rope_type="yarn", refusal='rope_scaling type: "yarn", must be "ntk"'),
        ),
        (
            {"rope_theta": 7, "rope_scaling": {"type": "ntk", "factor": [8]}},
            Rope("unsupported", 7.0, rope_type="ntk", refusal=f"rope_scaling factor: [8], {POSITIVE}"),
        ),
        (
            {"rope_theta": 7, "rope_scaling": {"type": "ntk", "factor": 8, "mixed_b": True}},
            Rope("unsupported", 7.0, rope_type="ntk", refusal="rope_scaling mixed_b: true, must be a number"),
        ),
        (
            {"rope_theta": 7, "rope_scaling": {"type": "ntk", "factor": 8, "mixed_b": 8.5}},
            Rope("unsupported", 7.0, rope_type="ntk with mixed_b 8.5"),
        ),
        (
            {"rope_theta": 7, "rope_scaling": {"type": "ntk", "factor": 8, "mixed_b": -0.5}},
            Rope("unsupported", 7.0, rope_type="ntk with mixed_b -0.5"),
        ),
    ],
)
def test_an_unsupported_remote_rope_keeps_its_theta_and_type(config: dict[str, object], wanted: Rope) -> None:
    assert remote(**config) == wanted


@pytest.mark.parametrize("mixed_b", [0, 8])
def test_mixed_b_has_two_ends(mixed_b: float) -> None:
    scaling = {"type": "ntk", "factor": 2, "mixed_b": mixed_b}
    assert remote(rope_scaling=scaling) == Rope("mixed-ntk", 10000.0, 2.0, float(mixed_b))


@pytest.mark.parametrize(
    ("theta", "is_read"), [(1e30, True), (1 / 1e30, True), (1.001e30, False), (0.999e-30, False), (True, False)]
)
def test_theta_lies_within_float32(theta: float, is_read: bool) -> None:
    assert (remote(rope_theta=theta).kind == "default") is is_read


def test_absolute_positions_keep_the_theta_that_nobody_uses() -> None:
    assert remote(position_embedding_type="absolute", rope_theta=7) == Rope("none", 7.0)
    assert remote(position_embedding_type="absolute", rope_theta="x") == Rope("none", 10000.0)


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ("ntk", Rope("unsupported", 10000.0, refusal='rope_parameters: "ntk", must be an object or null')),
        (
            {"rope_type": "linear", "rope_theta": -1},
            Rope("unsupported", 10000.0, rope_type="linear", refusal=f"rope_theta: -1, {POSITIVE}"),
        ),
        (
            {"rope_type": "linear", "rope_theta": 7, "factor": "2"},
            Rope("unsupported", 7.0, rope_type="linear", refusal=f'factor: "2", {POSITIVE}'),
        ),
        (
            {"rope_type": "linear", "rope_theta": 7, "factor": 2, "partial_rotary_factor": 0.5},
            Rope(
                "unsupported",
                7.0,
                rope_type="linear",
                refusal="partial_rotary_factor: 0.5, must be 1 or absent with linear",
            ),
        ),
        (
            {"rope_type": "su", "rope_theta": 7},
            Rope("unsupported", 7.0, rope_type="su", refusal='rope_type: "su", is unknown to the native model'),
        ),
        (
            {"rope_type": "longrope", "rope_theta": 7, "short_factor": [1, 2]},
            Rope(
                "unsupported",
                7.0,
                rope_type="longrope",
                refusal="short_factor and long_factor must be lists of 2 numbers above 0",
            ),
        ),
        (
            {**LONGROPE, "long_factor": [1.5, 3]},
            Rope("unsupported", 5.0, rope_type="longrope with short_factor unlike long_factor"),
        ),
        (
            {**LONGROPE, "attention_factor": 1.5},
            Rope("unsupported", 5.0, rope_type="longrope with an attention_factor"),
        ),
        ({"rope_type": "linear", "rope_theta": 7, "factor": 2, "partial_rotary_factor": 1}, Rope("linear", 7.0, 2.0)),
        ({"type": "linear", "rope_theta": 7, "factor": 2, "partial_rotary_factor": None}, Rope("linear", 7.0, 2.0)),
    ],
)
def test_an_unsupported_native_rope_keeps_its_theta_and_type(parameters: object, wanted: Rope) -> None:
    assert native(rope_parameters=parameters) == wanted


def test_a_partial_rotary_factor_may_stand_beside_the_parameters() -> None:
    parameters = {"rope_type": "linear", "rope_theta": 7, "factor": 2}
    found = native(rope_parameters=parameters, partial_rotary_factor=0.25)
    assert found.refusal == "partial_rotary_factor: 0.25, must be 1 or absent with linear"
    assert native(rope_parameters={**parameters, "partial_rotary_factor": 1}, partial_rotary_factor=0.25).factor == 2.0


@pytest.mark.parametrize(
    ("positions", "original", "is_plain"), [(4096, 4096, True), (None, 8192, True), (4096, 8192, False)]
)
def test_a_longrope_is_plain_while_its_two_lengths_are_equal(
    positions: int | None, original: int, is_plain: bool
) -> None:
    beside = {} if positions is None else {"max_position_embeddings": positions}
    found = native(rope_parameters={**LONGROPE, "original_max_position_embeddings": original}, **beside)
    assert (found.kind == "longrope") is is_plain


@pytest.mark.parametrize("factors", [[1.0, 2.0, "3"], [1.0, 2.0, 3.0], [1.0]])
def test_a_longrope_has_a_number_for_each_frequency_in_both_lists(factors: list[object]) -> None:
    assert native(rope_parameters={**LONGROPE, "short_factor": factors, "long_factor": factors}).refusal
    assert native(rope_parameters={**LONGROPE, "long_factor": factors}).refusal


def test_an_odd_head_size_has_half_as_many_frequencies_rounded_down() -> None:
    assert read_rope({"rope_parameters": LONGROPE}, Dialect.NATIVE, 5) == Rope("longrope", 5.0, factors=(1.5, 2.0))
