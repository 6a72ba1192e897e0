"""The codes of batches and encoders: documented, told apart, and shown by explain and rules."""

from __future__ import annotations

import json

import pytest

from gte_surgery.checks.registry import all_rules
from gte_surgery.cli.entry import run
from gte_surgery.contract.codes import CODES
from gte_surgery.gate.codes import all_codes


@pytest.mark.parametrize("code", CODES.values(), ids=lambda code: code.code)
def test_a_code_has_a_title_of_one_line_and_an_explanation(code: object) -> None:
    entry = CODES[str(getattr(code, "code", ""))]
    assert "\n" not in entry.title
    assert not entry.title.endswith(".")
    assert entry.explanation.endswith((".", "…"))
    assert max(map(len, entry.explanation.splitlines())) <= 120


def test_titles_tell_the_codes_apart_and_no_code_is_a_rules() -> None:
    assert len({code.title for code in CODES.values()}) == len(CODES)
    assert set(CODES) & set(all_rules()) == set()
    assert set(CODES) | set(all_rules()) <= set(all_codes())
    assert list(all_codes()) == sorted(all_codes())


def test_explain_and_rules_show_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "gte428"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("GTE428 (error): The mask drops a token\n\nA token that is not padding is invisible.")
    assert "Judged only with IdContract.check_batch" in text
    assert run(["rules", "--json"]) == 0
    assert {rule["code"] for rule in json.loads(capsys.readouterr().out)} == set(all_codes())


@pytest.mark.parametrize(
    ("code", "judges"),
    [
        ("GTE400", "IdContract.check_batch, GteAdapter, scan and fuzz"),
        ("GTE484", "IdContract.check_batch, GteAdapter, scan and fuzz"),
        ("GTE490", "fuzz and verify"),
        ("GTE494", "fuzz and verify"),
    ],
)
def test_a_code_says_what_judges_by_it(code: str, judges: str) -> None:
    assert CODES[code].only_with == judges
