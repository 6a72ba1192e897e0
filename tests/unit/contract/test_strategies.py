"""What strategies draw: within bounds, everything within them, and the likely mistakes more often than chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from gte_surgery.contract.drafts import Draft, padded_draft
from gte_surgery.contract.spec import IdContract
from gte_surgery.contract.strategies import _add_members, _labels, _token_ids, _vary, _wanted

CONTRACT = IdContract(vocab_size=64, pad_token_id=0, type_vocab_size=2, max_length=6, hidden_size=2)
LEFT = replace(CONTRACT, padding_side="left")
TYPES, POSITIONS, LABELS, EMBEDS = NAMES = "token_type_ids", "position_ids", "labels", "inputs_embeds"


def draft(contract: IdContract = CONTRACT) -> Draft:
    return padded_draft([[5, 6, 7], [8]], 3, contract)


def least(strategy: st.SearchStrategy[Any]) -> Any:
    """What Hypothesis finds simplest: false, and the lowest numbers."""
    return find(strategy, lambda _: True, settings=settings(database=None, derandomize=True))


def always(choice: bool) -> Callable[[st.SearchStrategy[Any]], Any]:
    """Draws that are the simplest, but for booleans."""
    simplest: dict[str, Any] = {}

    def draw(strategy: st.SearchStrategy[Any]) -> Any:
        name = repr(strategy)
        if name not in simplest:
            simplest[name] = choice if name == "booleans()" else least(strategy)
        return simplest[name]

    return draw


@pytest.mark.parametrize(("size", "pad"), [(2, 0), (2, 1), (5, 0), (5, 2), (5, 4)])
def test_a_token_is_any_id_but_the_pad(size: int, pad: int) -> None:
    ids = _token_ids(IdContract(size, pad, 1, 6))
    within = settings(max_examples=400, database=None, derandomize=True, phases=(Phase.generate,))
    seen: set[int] = set()

    @settings(within)
    @given(ids)
    def draw(number: int) -> None:
        seen.add(number)

    draw()
    assert seen == set(range(size)) - {pad}


@pytest.mark.parametrize(
    ("pad", "edges"),
    [(0, {1, 99_998, 99_999}), (1, {0, 99_998, 99_999}), (99_999, {0, 1, 99_998}), (7, {0, 1, 99_998, 99_999})],
)
def test_the_edges_of_a_table_are_drawn_for_certain(pad: int, edges: set[int]) -> None:
    contract = IdContract(100_000, pad, 1, 6)
    seen: set[int] = set()

    @settings(max_examples=100, database=None, derandomize=True, phases=(Phase.generate,))
    @given(_token_ids(contract))
    def draw(number: int) -> None:
        seen.add(number)

    draw()
    assert seen >= edges
    assert len(seen) > 10
    assert pad not in seen


def test_only_the_members_that_are_named_are_added() -> None:
    for name in NAMES:
        made = draft()
        _add_members(always(True), made, CONTRACT, (name,))
        assert set(made.members) == {"input_ids", "attention_mask", name}


def test_members_that_are_added_are_sound() -> None:
    made = draft()
    _add_members(always(True), made, CONTRACT, NAMES)
    token = least(_token_ids(CONTRACT))
    value = made.members[EMBEDS][0][0][0]
    assert {name: made.members[name] for name in NAMES} == {
        TYPES: [[0, 0, 0], [0, 0, 0]],
        POSITIONS: [[0, 1, 2], [0, 0, 0]],
        LABELS: [[token] * 3, [token, -100, -100]],
        EMBEDS: [[[value] * 2] * 3] * 2,
    }
    assert made.members[EMBEDS][0][0] is not made.members[EMBEDS][0][1]


@pytest.mark.parametrize(("hidden", "width"), [(None, 4), (1, 1), (3, 3)])
def test_vectors_have_the_width_of_the_contract_or_any(hidden: int | None, width: int) -> None:
    made = draft()
    _add_members(always(True), made, replace(CONTRACT, hidden_size=hidden), (EMBEDS,))
    assert {len(vector) for row in made.members[EMBEDS] for vector in row} == {width}


@pytest.mark.parametrize(("types", "kinds"), [(0, {0}), (1, {0}), (2, {0, 1}), (3, {0, 1, 2})])
def test_types_are_all_that_there_are(types: int, kinds: set[int]) -> None:
    seen: set[int] = set()

    @settings(max_examples=50, database=None, derandomize=True, phases=(Phase.generate,))
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        made = draft()
        _add_members(data.draw, made, replace(CONTRACT, type_vocab_size=types), (TYPES,))
        seen.update(*made.members[TYPES])

    draw()
    assert seen == kinds


def test_labels_stand_at_tokens_and_one_for_certain() -> None:
    token = least(_token_ids(CONTRACT))
    assert _labels(always(True), draft(), CONTRACT) == [[token] * 3, [token, -100, -100]]
    assert _labels(always(False), draft(), CONTRACT) == [[-100] * 3, [token, -100, -100]]
    assert _labels(always(False), draft(LEFT), LEFT) == [[-100] * 3, [-100, -100, token]]
    other = replace(CONTRACT, ignore_label=-1)
    assert _labels(always(False), draft(other), other) == [[-1] * 3, [token, -1, -1]]


def varied(contract: IdContract, choice: bool, *names: str) -> Draft:
    made = draft(contract)
    _add_members(always(True), made, contract, names)
    _vary(always(choice), made, contract)
    return made


def test_a_batch_takes_other_forms_that_are_as_good() -> None:
    made = varied(CONTRACT, True, POSITIONS, LABELS)
    assert made.members[POSITIONS] == [[0, 1, 2]]
    assert made.members[LABELS] == [0.5, 0.5]
    assert made.dtypes == {LABELS: "float32"}
    assert made.members["text"] == ["two words"]
    assert set(varied(CONTRACT, True).members) == {"input_ids", "attention_mask", "text"}


def test_positions_of_one_row_are_not_for_padding_on_the_left() -> None:
    assert varied(LEFT, True, POSITIONS).members[POSITIONS] == [[0, 1, 2], [0, 0, 0]]


def test_a_batch_may_stay_as_it_is() -> None:
    made = varied(CONTRACT, False, POSITIONS, LABELS)
    assert made.members[POSITIONS] == [[0, 1, 2], [0, 0, 0]]
    assert made.members[LABELS][1][1:] == [-100, -100]
    assert (made.dtypes, "text" in made.members) == ({}, False)


def test_a_fault_is_wanted_by_name_or_any() -> None:
    everything = _wanted(CONTRACT, "torch", None)
    assert len(everything) > 50
    assert _wanted(CONTRACT, "torch", "hole") == tuple(each for each in everything if each.name == "hole")
    with pytest.raises(InvalidArgument) as raised:
        _wanted(CONTRACT, "lists", "int32-ids")
    assert str(raised.value) == "'int32-ids': not a fault that lists can have under this contract"
