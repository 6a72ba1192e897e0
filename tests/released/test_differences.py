"""The comparison with a release lets pass what came later, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.released.compare import differences

KNOWN = {"GTE001", "GTE002"}
FOUND = {"code": "GTE001", "severity": "error", "message": "no checkpoint"}
LATER = {"code": "GTE777", "severity": "note", "message": "a new rule"}
REPORT = {"findings": [FOUND], "rules": ["GTE001", "GTE002"], "counts": {"error": 1, "note": 0}}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"a": 1}, {"a": 1, "later": 2}),
        ({"time": "then", "seconds": 1.5}, {"time": "now", "seconds": 9}),
        (
            REPORT,
            {"findings": [LATER, FOUND], "rules": ["GTE001", "GTE002", "GTE777"], "counts": {"error": 1, "note": 1}},
        ),
    ],
)
def test_what_came_later_is_no_difference(before: Any, now: Any) -> None:
    assert list(differences(before, now, KNOWN)) == []


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": True}, {"a": 1}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": [1]}, {"a": [1, 2]}),
        ({"a": ["GTE001"]}, {"a": []}),
        (REPORT, REPORT | {"findings": []}),
        (REPORT, REPORT | {"findings": [FOUND, LATER]}),
        (REPORT, REPORT | {"counts": {"error": 1, "note": 1}}),
        (REPORT, REPORT | {"findings": [FOUND | {"message": "other words"}]}),
    ],
)
def test_every_other_change_is_one(before: Any, now: Any) -> None:
    assert list(differences(before, now, KNOWN))
