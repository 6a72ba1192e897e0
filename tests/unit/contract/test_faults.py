"""Each way to break a batch: its name and code, what it does to a sound draft, and when it can."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from gte_surgery.contract import faults
from gte_surgery.contract.batch.structure import EMBEDS, IDS, LABELS, MASK, POSITIONS, TYPES
from gte_surgery.contract.drafts import Draft, counted_positions, padded_draft
from gte_surgery.contract.faults import Choose, Fault
from gte_surgery.contract.frameworks import FRAMEWORKS
from gte_surgery.contract.spec import IdContract

CONTRACT = IdContract(vocab_size=64, pad_token_id=0, type_vocab_size=2, max_length=6, cls_token_id=2, hidden_size=2)
LEFT = replace(CONTRACT, padding_side="left")
WIDE = replace(CONTRACT, vocab_size=300)
NAN, INF, LOWEST = float("nan"), float("inf"), -3.4028234663852886e38
ABSENT = None

Change = dict[str, Any]
SAME: Change = {}
"""The highest choices make what the lowest make."""

# Of a draft with input_ids [[2, 5, 6, 7], [2, 9, 0, 0]], what is otherwise after the lowest and the highest choices.
CASES: list[tuple[str, str, Change, Change]] = [
    ("not-a-mapping", "GTE400", {"is_mapping": False}, SAME),
    ("no-ids", "GTE401", {IDS: ABSENT}, SAME),
    ("ids-and-embeds", "GTE402", {}, SAME),
    (
        "misspelt-name",
        "GTE403",
        {TYPES: ABSENT, "token_type_id": [[0, 1, 0, 1], [1, 0, 0, 0]]},
        {TYPES: ABSENT, "TOKEN_TYPE_IDS": [[0, 1, 0, 1], [1, 0, 0, 0]]},
    ),
    ("text-for-ids", "GTE404", {IDS: "two words"}, SAME),
    ("words-for-ids", "GTE404", {IDS: [["2", "5", "6", "7"], ["2", "9", "0", "0"]]}, SAME),
    ("ragged-rows", "GTE405", {IDS: [[2, 5, 6], [2, 9, 0, 0]]}, SAME),
    ("no-rows", "GTE406", {IDS: []}, SAME),
    ("no-columns", "GTE406", {IDS: [[], []]}, SAME),
    ("mixed-frameworks", "GTE407", {"foreign": {MASK}}, SAME),
    ("one-row-unwrapped", "GTE410", {IDS: [2, 5, 6, 7]}, SAME),
    ("ids-wrapped-twice", "GTE410", {IDS: [[[2, 5, 6, 7], [2, 9, 0, 0]]]}, SAME),
    ("float-ids", "GTE411", {"dtypes": {IDS: "float32"}}, SAME),
    ("boolean-ids", "GTE411", {"dtypes": {IDS: "bool"}}, SAME),
    ("int32-ids", "GTE412", {"dtypes": {IDS: "int32"}}, SAME),
    ("int8-ids", "GTE417", {"dtypes": {IDS: "int8"}}, SAME),
    ("negative-id", "GTE413", {IDS: [[2, -99, 6, 7], [2, 9, 0, 0]]}, {IDS: [[2, 5, 6, -1], [2, 9, 0, 0]]}),
    ("ignored-label-as-id", "GTE413", {IDS: [[2, -100, 6, 7], [2, 9, 0, 0]]}, {IDS: [[2, 5, 6, -100], [2, 9, 0, 0]]}),
    ("id-beyond-table", "GTE414", {IDS: [[2, 64, 6, 7], [2, 9, 0, 0]]}, {IDS: [[2, 5, 6, 164], [2, 9, 0, 0]]}),
    ("id-of-vocab-size", "GTE414", {IDS: [[2, 64, 6, 7], [2, 9, 0, 0]]}, {IDS: [[2, 5, 6, 64], [2, 9, 0, 0]]}),
    ("huge-id", "GTE414", {IDS: [[2, 2**62, 6, 7], [2, 9, 0, 0]]}, {IDS: [[2, 5, 6, 2**62], [2, 9, 0, 0]]}),
    (
        "too-long",
        "GTE415",
        {IDS: [[2, 5, 6, 7, 0, 0, 0], [2, 9, 0, 0, 0, 0, 0]], MASK: [[1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]},
        {
            IDS: [[2, 5, 6, 7, 0, 0, 0, 0, 0], [2, 9, 0, 0, 0, 0, 0, 0, 0]],
            MASK: [[1, 1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0, 0]],
        },
    ),
    ("no-cls", "GTE416", {IDS: [[1, 5, 6, 7], [2, 9, 0, 0]]}, SAME),
    ("no-mask", "GTE420", {MASK: ABSENT}, SAME),
    ("mask-a-column-short", "GTE421", {MASK: [[1, 1, 1], [1, 1, 0]]}, SAME),
    ("mask-a-row-short", "GTE421", {MASK: [[1, 1, 1, 1]]}, SAME),
    ("flat-mask", "GTE422", {MASK: [1, 1, 1, 1]}, SAME),
    ("expanded-mask", "GTE422", {MASK: [[[[1, 1, 1, 1]]], [[[1, 1, 0, 0]]]]}, SAME),
    ("float-mask", "GTE423", {"dtypes": {MASK: "float32"}}, SAME),
    ("additive-mask", "GTE424", {MASK: [[0, 0, 0, 0], [0, 0, LOWEST, LOWEST]], "dtypes": {MASK: "float32"}}, SAME),
    (
        "additive-mask-of-infinity",
        "GTE424",
        {MASK: [[0, 0, 0, 0], [0, 0, -INF, -INF]], "dtypes": {MASK: "float32"}},
        SAME,
    ),
    (
        "additive-mask-of-integers",
        "GTE424",
        {MASK: [[0, 0, 0, 0], [0, 0, -10000, -10000]], "dtypes": {MASK: "int64"}},
        SAME,
    ),
    ("mask-of-documents", "GTE425", {MASK: [[2, 1, 1, 1], [1, 1, 0, 0]]}, {MASK: [[1, 1, 1, 9], [1, 1, 0, 0]]}),
    ("negative-mask", "GTE425", {MASK: [[-1, 1, 1, 1], [1, 1, 0, 0]]}, {MASK: [[1, 1, 1, -1], [1, 1, 0, 0]]}),
    ("inverted-mask", "GTE426", {MASK: [[0, 0, 0, 0], [0, 0, 1, 1]]}, SAME),
    ("mask-one-too-long", "GTE427", {MASK: [[1, 1, 1, 1], [1, 1, 1, 0]]}, SAME),
    ("mask-of-ones", "GTE427", {MASK: [[1, 1, 1, 1], [1, 1, 1, 1]]}, SAME),
    ("mask-without-last-token", "GTE428", {MASK: [[1, 1, 1, 0], [1, 1, 0, 0]]}, {MASK: [[1, 1, 1, 1], [1, 0, 0, 0]]}),
    ("mask-without-first-token", "GTE428", {MASK: [[0, 1, 1, 1], [1, 1, 0, 0]]}, {MASK: [[1, 1, 1, 1], [0, 1, 0, 0]]}),
    ("mask-of-zeros", "GTE428", {MASK: [[0, 0, 0, 0], [0, 0, 0, 0]]}, SAME),
    ("empty-row", "GTE429", {IDS: [[2, 5, 6, 7], [0, 0, 0, 0]], MASK: [[1, 1, 1, 1], [0, 0, 0, 0]]}, SAME),
    (
        "hole",
        "GTE430",
        {IDS: [[2, 0, 6, 7], [2, 9, 0, 0]], MASK: [[1, 0, 1, 1], [1, 1, 0, 0]]},
        {IDS: [[2, 5, 0, 7], [2, 9, 0, 0]], MASK: [[1, 1, 0, 1], [1, 1, 0, 0]]},
    ),
    (
        "padded-on-the-other-side",
        "GTE431",
        {IDS: [[2, 5, 6, 7], [0, 0, 2, 9]], MASK: [[1, 1, 1, 1], [0, 0, 1, 1]]},
        SAME,
    ),
    ("padded-on-both-sides", "GTE431", {IDS: [[2, 5, 6, 7], [0, 2, 9, 0]], MASK: [[1, 1, 1, 1], [0, 1, 1, 0]]}, SAME),
    ("types-a-column-short", "GTE440", {TYPES: [[0, 1, 0], [1, 0, 0]]}, SAME),
    ("float-types", "GTE411", {"dtypes": {TYPES: "float32"}}, SAME),
    ("negative-type", "GTE441", {TYPES: [[0, -99, 0, 1], [1, 0, 0, 0]]}, {TYPES: [[0, 1, 0, -1], [1, 0, 0, 0]]}),
    ("type-beyond-table", "GTE442", {TYPES: [[0, 2, 0, 1], [1, 0, 0, 0]]}, {TYPES: [[0, 1, 0, 102], [1, 0, 0, 0]]}),
    ("type-without-table", "GTE443", {TYPES: [[1, 1, 0, 1], [1, 0, 0, 0]]}, {}),
    ("labels-a-column-short", "GTE450", {LABELS: [[-100, 5, -100], [-100, 9, -100]]}, SAME),
    ("labels-of-fewer-rows", "GTE450", {LABELS: [1]}, SAME),
    ("boolean-labels", "GTE411", {"dtypes": {LABELS: "bool"}}, SAME),
    ("int32-labels", "GTE412", {"dtypes": {LABELS: "int32"}}, SAME),
    (
        "negative-label",
        "GTE451",
        {LABELS: [[-100, 5, -100, 7], [-100, -99, -100, -100]]},
        {LABELS: [[-100, 5, -100, 7], [-100, -1, -100, -100]]},
    ),
    (
        "label-beyond-vocabulary",
        "GTE452",
        {LABELS: [[-100, 5, -100, 7], [-100, 64, -100, -100]]},
        {LABELS: [[-100, 5, -100, 7], [-100, 164, -100, -100]]},
    ),
    (
        "label-of-pad",
        "GTE453",
        {LABELS: [[-100, 5, -100, 7], [-100, 9, 0, -100]]},
        {LABELS: [[-100, 5, -100, 7], [-100, 9, -100, 0]]},
    ),
    ("no-label", "GTE454", {LABELS: [[-100, -100, -100, -100], [-100, -100, -100, -100]]}, SAME),
    ("positions-a-column-short", "GTE460", {POSITIONS: [[0, 1, 2], [0, 1, 0]]}, SAME),
    ("float-positions", "GTE411", {"dtypes": {POSITIONS: "float32"}}, SAME),
    (
        "negative-position",
        "GTE461",
        {POSITIONS: [[0, 1, 2, 3], [0, 1, -99, 0]]},
        {POSITIONS: [[0, 1, 2, 3], [0, 1, 0, -1]]},
    ),
    (
        "position-beyond-max-length",
        "GTE462",
        {POSITIONS: [[0, 6, 2, 3], [0, 1, 0, 0]]},
        {POSITIONS: [[0, 1, 2, 106], [0, 1, 0, 0]]},
    ),
    ("position-twice", "GTE463", {POSITIONS: [[0, 0, 1, 2], [0, 1, 0, 0]]}, {POSITIONS: [[0, 1, 2, 2], [0, 1, 0, 0]]}),
    ("embeds-without-width", "GTE470", {EMBEDS: [[0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]]}, SAME),
    (
        "embeds-too-wide",
        "GTE471",
        {
            EMBEDS: [
                [[0.25, 0.5, 0.5], [0.25, 0.5, 0.5], [0.25, 0.5, 0.5], [0.25, 0.5, 0.5]],
                [[0.25, 0.5, 0.5], [0.25, 0.5, 0.5], [0.25, 0.5, 0.5], [0.25, 0.5, 0.5]],
            ]
        },
        SAME,
    ),
    ("integer-embeds", "GTE472", {"dtypes": {EMBEDS: "int64"}}, SAME),
    (
        "nan-in-embeds",
        "GTE473",
        {
            EMBEDS: [
                [[NAN, 0.5], [0.25, 0.5], [0.25, 0.5], [0.25, 0.5]],
                [[0.25, 0.5], [0.25, 0.5], [0.25, 0.5], [0.25, 0.5]],
            ]
        },
        {
            EMBEDS: [
                [[0.25, 0.5], [0.25, 0.5], [0.25, 0.5], [0.25, 0.5]],
                [[0.25, 0.5], [0.25, 0.5], [0.25, 0.5], [NAN, 0.5]],
            ]
        },
    ),
    (
        "infinity-in-embeds",
        "GTE473",
        {
            EMBEDS: [
                [[INF, 0.5], [0.25, 0.5], [0.25, 0.5], [0.25, 0.5]],
                [[0.25, 0.5], [0.25, 0.5], [0.25, 0.5], [0.25, 0.5]],
            ]
        },
        {
            EMBEDS: [
                [[0.25, 0.5], [0.25, 0.5], [0.25, 0.5], [0.25, 0.5]],
                [[0.25, 0.5], [0.25, 0.5], [0.25, 0.5], [INF, 0.5]],
            ]
        },
    ),
]


def made() -> dict[str, Fault]:
    """The faults by their names."""
    return {fault.name: fault for fault in faults.FAULTS}


def draft(contract: IdContract) -> Draft:
    sound = padded_draft([[2, 5, 6, 7], [2, 9]], 4, contract)
    sound.members[TYPES] = [[0, 1, 0, 1], [1, 0, 0, 0]]
    sound.members[POSITIONS] = counted_positions(sound.members[MASK])
    sound.members[LABELS] = [[-100, 5, -100, 7], [-100, 9, -100, -100]]
    sound.members[EMBEDS] = [[[0.25, 0.5] for _ in range(4)] for _ in range(2)]
    return sound


def lowest(low: int, high: int) -> int:
    return low


def middle(low: int, high: int) -> int:
    return (low + high) // 2


def highest(low: int, high: int) -> int:
    return high


def changed(fault: Fault, choose: Choose, contract: IdContract = CONTRACT) -> Change:
    """What a fault makes otherwise."""
    broken = draft(contract)
    before = deepcopy(broken.members)
    fault.apply(broken, contract, choose)
    told: Change = {
        name: broken.members.get(name, ABSENT)
        for name in (*before, *(broken.members.keys() - before))
        if broken.members.get(name) != before.get(name)
    }
    told |= {"dtypes": broken.dtypes} if broken.dtypes else {}
    told |= {"foreign": set(broken.foreign)} if broken.foreign else {}
    return told | ({} if broken.is_mapping else {"is_mapping": False})


def test_each_fault_breaks_a_draft_in_its_way_alone() -> None:
    told = [(each.name, each.code, changed(each, lowest), changed(each, highest)) for each in faults.FAULTS]
    wanted = [(name, code, low, low if high is SAME else high) for name, code, low, high in CASES]
    assert list(map(repr, told)) == list(map(repr, wanted))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        (
            "too-long",
            {IDS: [[0, 0, 0, 2, 5, 6, 7], [0, 0, 0, 0, 0, 2, 9]], MASK: [[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1]]},
            {
                IDS: [[0, 0, 0, 0, 0, 2, 5, 6, 7], [0, 0, 0, 0, 0, 0, 0, 2, 9]],
                MASK: [[0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 1, 1]],
            },
        ),
        ("mask-one-too-long", {MASK: [[1, 1, 1, 1], [0, 1, 1, 1]]}, SAME),
        ("mask-without-last-token", {MASK: [[1, 1, 1, 0], [0, 0, 1, 1]]}, {MASK: [[1, 1, 1, 1], [0, 0, 1, 0]]}),
        ("padded-on-the-other-side", {IDS: [[2, 5, 6, 7], [2, 9, 0, 0]], MASK: [[1, 1, 1, 1], [1, 1, 0, 0]]}, SAME),
        ("padded-on-both-sides", {IDS: [[2, 5, 6, 7], [0, 2, 9, 0]], MASK: [[1, 1, 1, 1], [0, 1, 1, 0]]}, SAME),
        ("label-of-pad", {LABELS: [[-100, 5, -100, 7], [0, 9, -100, -100]]}, ABSENT),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_with_padding_on_the_left_faults_are_mirrored(name: str, low: Change, high: Change | None) -> None:
    fault = made()[name]
    assert changed(fault, lowest, LEFT) == low
    if high is not ABSENT:
        assert changed(fault, highest, LEFT) == (low if high is SAME else high)


def test_three_pads_go_to_both_sides_in_every_way() -> None:
    fault = made()["padded-on-both-sides"]
    for choose, mask in ((lowest, [0, 1, 1, 0, 0]), (highest, [0, 0, 1, 1, 0])):
        broken = padded_draft([[2, 5, 6, 7, 8], [2, 9]], 5, CONTRACT)
        fault.apply(broken, CONTRACT, choose)
        assert broken.members[MASK][1] == mask


def test_the_label_that_is_ignored_is_no_negative_value() -> None:
    minus_one = replace(CONTRACT, ignore_label=-1)
    assert changed(made()["negative-label"], highest, minus_one)[LABELS][1] == [-100, -101, -100, -100]


@pytest.mark.parametrize(("cls", "pad", "first"), [(None, 0, 1), (0, 1, 2), (1, 2, 0), (2, 1, 0), (5, 6, 0)])
def test_an_id_that_is_neither_cls_nor_pad_takes_the_first_place(cls: int | None, pad: int, first: int) -> None:
    contract = replace(CONTRACT, cls_token_id=cls, pad_token_id=pad)
    broken = padded_draft([[7, 8], [7, 9]], 2, contract)
    made()["no-cls"].apply(broken, contract, lowest)
    assert broken.members[IDS] == [[first, 8], [7, 9]]


def test_a_fault_names_the_members_that_it_is_about() -> None:
    members: dict[tuple[str, ...], list[str]] = {}
    for fault in made().values():
        members.setdefault(fault.members, []).append(fault.name)
    del members[()]
    assert members == {
        (IDS, EMBEDS): ["ids-and-embeds"],
        (TYPES,): [
            "misspelt-name",
            "types-a-column-short",
            "float-types",
            "negative-type",
            "type-beyond-table",
            "type-without-table",
        ],
        (LABELS,): [
            "labels-a-column-short",
            "labels-of-fewer-rows",
            "boolean-labels",
            "int32-labels",
            "negative-label",
            "label-beyond-vocabulary",
            "label-of-pad",
            "no-label",
        ],
        (POSITIONS,): [
            "positions-a-column-short",
            "float-positions",
            "negative-position",
            "position-beyond-max-length",
            "position-twice",
        ],
        (EMBEDS,): [
            "embeds-without-width",
            "embeds-too-wide",
            "integer-embeds",
            "nan-in-embeds",
            "infinity-in-embeds",
        ],
    }


def test_lists_have_no_int32_and_all_else_is_of_every_framework() -> None:
    everywhere = {name for name, fault in made().items() if fault.frameworks == frozenset(FRAMEWORKS)}
    others = {name: fault.frameworks for name, fault in made().items() if name not in everywhere}
    tensors = frozenset(("torch", "numpy"))
    assert others == {"int32-ids": tensors, "int8-ids": tensors, "int32-labels": tensors}


def test_ids_end_where_their_dtype_does() -> None:
    broken = padded_draft([[2, 127, 128, 299], [2, 9]], 4, WIDE)
    made()["int8-ids"].apply(broken, WIDE, lowest)
    assert broken.members[IDS] == [[2, 127, 127, 127], [2, 9, 0, 0]]
    assert broken.dtypes == {IDS: "int8"}


@pytest.mark.parametrize(
    ("contract", "is_one"),
    [
        (WIDE, True),
        (replace(WIDE, vocab_size=129), True),
        (replace(WIDE, vocab_size=128), False),
        (replace(WIDE, pad_token_id=126), True),
        (replace(WIDE, pad_token_id=127), False),
        (replace(WIDE, cls_token_id=127), False),
        (replace(WIDE, cls_token_id=None), True),
    ],
)
def test_int8_is_a_fault_where_the_vocabulary_alone_goes_on_behind_it(contract: IdContract, is_one: bool) -> None:
    assert made()["int8-ids"].suits(contract) is is_one


@pytest.mark.parametrize(
    ("contract", "unsuited"),
    [
        (CONTRACT, {"type-without-table"}),
        (WIDE, {"type-without-table"}),
        (replace(CONTRACT, type_vocab_size=1), {"type-without-table"}),
        (replace(CONTRACT, type_vocab_size=0), {"negative-type", "type-beyond-table"}),
        (replace(CONTRACT, cls_token_id=None), {"type-without-table", "no-cls"}),
        (replace(CONTRACT, hidden_size=None), {"type-without-table", "embeds-too-wide"}),
        (IdContract(2, 0, 1, 6, cls_token_id=1), {"type-without-table", "embeds-too-wide", "no-cls"}),
        (IdContract(3, 0, 1, 6, cls_token_id=1), {"type-without-table", "embeds-too-wide"}),
    ],
)
def test_a_fault_suits_the_contracts_under_which_it_is_one(contract: IdContract, unsuited: set[str]) -> None:
    assert {name for name, fault in made().items() if not fault.suits(contract)} - {"int8-ids"} == unsuited


def test_faults_are_of_a_framework_and_a_contract() -> None:
    unsuited = {"type-without-table", "no-cls", "int8-ids"}
    for framework, missing in (
        ("torch", unsuited),
        ("lists", {*unsuited, "int32-ids", "int32-labels"}),
    ):
        suited = faults.faults_of(replace(CONTRACT, cls_token_id=None), framework)
        assert [fault.name for fault in suited] == [case[0] for case in CASES if case[0] not in missing]


def test_a_mask_a_row_short_lacks_the_last() -> None:
    broken = padded_draft([[5], [6, 7], [8]], 2, CONTRACT)
    made()["mask-a-row-short"].apply(broken, CONTRACT, lowest)
    assert broken.members[MASK] == [[1, 0], [1, 1]]


def test_a_name_is_misspelt_in_every_way() -> None:
    wrong = [changed(made()["misspelt-name"], choose).keys() - {TYPES} for choose in (lowest, middle, highest)]
    assert wrong == [{"token_type_id"}, {"tokenTypeIds"}, {"TOKEN_TYPE_IDS"}]
