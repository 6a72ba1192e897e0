"""A report as text and as JSON."""

from __future__ import annotations

import json

from gte_surgery.findings import Finding, Location, Report, Severity, SkippedRule
from gte_surgery.render.report import report_json, report_text

PAD = Finding(
    "GTE110",
    Severity.ERROR,
    Location("config.json", 14, 3, "/pad_token_id"),
    "5000, must be below vocab_size 250048",
    "set pad_token_id to the id of the padding token",
)
ODD = Finding("GTE130", Severity.WARNING, Location("model.safetensors", tensor="evil\x1b[2J"), "odd")
REPORT = Report(
    "ckpt", (PAD, ODD), (SkippedRule("GTE201", ("GTE110",)), SkippedRule("GTE202", ("GTE110",))), ("GTE110",) * 9
)


def test_text_has_a_line_a_finding_its_hint_what_was_not_judged_and_the_sums() -> None:
    assert report_text(REPORT).splitlines() == [
        "error GTE110 config.json:14:3: /pad_token_id: 5000, must be below vocab_size 250048",
        "    hint: set pad_token_id to the id of the padding token",
        "warning GTE130 model.safetensors: `evil\\x1b[2J`: odd",
        "not judged because of GTE110: GTE201, GTE202",
        "ckpt: 1 error, 1 warning, 0 notes (7 rules judged)",
    ]


def test_a_tensor_name_cannot_colour_the_terminal_even_when_colour_is_on() -> None:
    assert "\x1b[2J" not in report_text(REPORT, color=True)
    assert "\x1b[31;1merror" in report_text(REPORT, color=True)


def test_json_holds_every_finding_and_is_ascii() -> None:
    text = report_json(REPORT)
    value = json.loads(text)
    assert text.isascii()
    assert "\x1b" not in text
    assert value["findings"][0]["line"] == 14
    assert value["findings"][1]["tensor"] == "evil\x1b[2J"
    assert value["skipped"] == [{"code": code, "because": ["GTE110"]} for code in ("GTE201", "GTE202")]
    assert value["counts"] == {"error": 1, "warning": 1, "note": 0}


def test_a_clean_report_is_one_line() -> None:
    assert report_text(Report("ckpt", (), (), ("GTE001",))) == "ckpt: 0 errors, 0 warnings, 0 notes (1 rule judged)"
