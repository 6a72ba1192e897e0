"""A difference as text and as JSON, the JSON held to its schema."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from gte_surgery.compare.difference import Difference, Stored, TensorDifference
from gte_surgery.compare.values import MOST_RANGES, Gap, RowChanges
from gte_surgery.gte.comparison import KeyDifference
from gte_surgery.gte.schemas import violations
from gte_surgery.render.difference import difference_json, difference_text, verdict_text

LARGE, SMALL = Stored("new.words", "F32", (256, 32)), Stored("words", "F32", (160, 32))
ROWS = RowChanges(160, 9, ((0, 0), (3, 5), (8, 8), (10, 10), (12, 12), (14, 14)), 2)
GAP = Gap(5120, 3, 0.5, 0.000123456, 0.99, ROWS)
WORDS = TensorDifference("words", LARGE, SMALL, 160, True, GAP)
GONE = TensorDifference("gone\x1b[2J", Stored("gone\x1b[2J", "I64", ()), None)
NEW = TensorDifference("new", None, Stored("new", "F8_E4M3", (2,)))
CAST = TensorDifference("cast", Stored("cast", "F32", (4,)), Stored("cast", "F16", (2,)), 2)
NAMED = TensorDifference("named", Stored("a.named", "F32", (2,)), Stored("named", "F32", (2,)), None, False)
FOUND = Difference(
    Path("before"),
    Path("after"),
    (KeyDifference("vocab_size", 256, 160), KeyDifference("rope", "theta 1, ntk factor 8", "theta 2")),
    (KeyDifference("auto_map", {"AutoConfig": "x" * 80}, None),),
    (WORDS, GONE, NEW, CAST, NAMED),
    30,
)


def test_keys_tensors_names_and_the_verdict_are_told() -> None:
    assert difference_text(FOUND).splitlines() == [
        "config.json",
        "  vocab_size: 256 → 160",
        "  rope: theta 1, ntk factor 8 → theta 2",
        "config.json, other words for the same",
        f'  auto_map: {{"AutoConfig": "{"x" * 44}… → absent',
        "tensors",
        "  reshaped, changed `words` F32 [256, 32] → F32 [160, 32]",
        "      largest difference 0.5, mean 0.000123, cosine 0.99; 3 NaN or infinite, left out",
        "      9 of 160 rows changed: 0, 3 to 5, 8, 10, 12 and 3 more ranges",
        "  removed `gone\\x1b[2J` I64 []",
        "  added `new` F8_E4M3 [2]",
        "  reshaped, recast `cast` F32 [4] → F16 [2]",
        "      the 2 rows in common are of two dtypes",
        "tensors under other names",
        "  `new.words`  → `words`",
        "  `a.named`    → `named`",
        "before and after: different, 2 config keys and 4 of 30 tensors differ",
    ]


def test_equal_checkpoints_are_one_line_and_what_has_other_names() -> None:
    equal = replace(FOUND, config=(), spelling=(), tensors=(NAMED,))
    assert difference_text(equal).splitlines() == [
        "tensors under other names",
        "  `a.named`  → `named`",
        "before and after: equal, 30 tensors and the config mean the same",
    ]
    assert verdict_text(equal) == "before and after: equal, 30 tensors and the config mean the same"


def test_of_many_other_names_some_are_shown() -> None:
    many = replace(FOUND, config=(), spelling=(), tensors=(NAMED,) * 1007)
    assert difference_text(many).splitlines()[5:7] == ["  `a.named`  → `named`", "  and 1,002 more"]


def test_a_brief_difference_says_no_more_than_that() -> None:
    assert verdict_text(replace(FOUND, is_complete=False)) == "before and after: different"


def test_rows_that_are_equal_are_told_where_nothing_was_measured() -> None:
    text = difference_text(replace(FOUND, tensors=(replace(WORDS, has_changed=False, gap=None),)))
    assert "  reshaped `words`" in text
    assert "the 160 rows in common are equal" in text
    text = difference_text(replace(FOUND, tensors=(replace(WORDS, gap=None),)))
    assert "the 160 rows in common differ" in text


def test_json_holds_everything_and_follows_its_schema() -> None:
    value = json.loads(difference_json(FOUND))
    assert violations(value, "diff") == []
    assert (value["equal"], value["complete"], value["compared"]) == (False, True, 30)
    assert value["config"][0] == {"key": "vocab_size", "left": 256, "right": 160}
    words = value["tensors"][0]
    assert (words["kinds"], words["left"]["name"], words["common_rows"]) == (
        ["renamed", "reshaped", "changed"], "new.words", 160,
    )  # fmt: skip
    assert words["gap"]["rows"]["ranges"][1] == [3, 5]
    assert [tensor["kinds"][0] for tensor in value["tensors"][1:]] == ["removed", "added", "reshaped", "renamed"]


def test_numbers_that_json_lacks_are_null() -> None:
    infinite = replace(WORDS, gap=replace(GAP, largest=float("inf"), mean=float("inf"), cosine=None))
    value = json.loads(difference_json(replace(FOUND, tensors=(infinite,))))
    assert violations(value, "diff") == []
    assert value["tensors"][0]["gap"]["largest"] is None


def test_the_schema_refuses_what_is_no_difference() -> None:
    value = json.loads(difference_json(FOUND))
    value["tensors"][0]["kinds"] = ["moved"]
    assert violations(value, "diff")
    assert MOST_RANGES >= 1000
