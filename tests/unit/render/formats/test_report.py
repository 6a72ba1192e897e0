"""A report as text and as JSON."""

from __future__ import annotations

import json

from gte_surgery.findings import Finding, Location, Report, Severity, SkippedRule, SuppressedFinding, Suppression
from gte_surgery.gte.schemas import violations
from gte_surgery.render.formats.report import report_json, report_text

PAD = Finding(
    "GTE110",
    Severity.ERROR,
    Location("config.json", 14, 3, "/pad_token_id"),
    "5000, must be below vocab_size 250048",
    "set pad_token_id to the id of the padding token",
)
FLAG = Finding("GTE104", Severity.WARNING, Location("config.json", 7, 12, "/unpad_inputs"), "the string")
ODD = Finding("GTE130", Severity.WARNING, Location("model.safetensors", tensor="evil\x1b[2J"), "odd")
WHOLE = Finding("GTE004", Severity.NOTE, Location(), "no weights")
ACCEPTED = Suppression("GTE112", "the tokenizer has\n31,997 ids", "gte-surgery.toml")
REPORT = Report(
    "ckpt",
    (WHOLE, FLAG, PAD, ODD),
    (SkippedRule("GTE201", ("GTE110",)), SkippedRule("GTE202", ("GTE110",))),
    ("GTE110",) * 9,
    (SuppressedFinding(Finding("GTE112", Severity.WARNING, Location("config.json", 2, 3), "31997"), ACCEPTED),),
    (Suppression("GTE103", "old", "gte-surgery.toml"),),
)


def test_text_is_grouped_by_file_aligned_and_in_order_of_place() -> None:
    assert report_text(REPORT).splitlines() == [
        "ckpt",
        "  note  GTE004  no weights",
        "config.json",
        "  7:12  warning  GTE104  /unpad_inputs: the string",
        "  14:3  error    GTE110  /pad_token_id: 5000, must be below vocab_size 250048",
        "                         hint: set pad_token_id to the id of the padding token",
        "model.safetensors",
        "  warning  GTE130  `evil\\x1b[2J`: odd",
        "not judged because of GTE110: GTE201, GTE202",
        "ignored: 1 finding under GTE112 (the tokenizer has\\n31,997 ids)",
        "unused: gte-surgery.toml ignores GTE103, under which nothing is found",
        "ckpt: 1 error, 2 warnings, 1 note (7 rules judged)",
    ]


def test_a_tensor_name_cannot_colour_the_terminal_even_when_colour_is_on() -> None:
    assert "\x1b[2J" not in report_text(REPORT, color=True)
    assert "\x1b[31;1merror" in report_text(REPORT, color=True)


def test_colour_does_not_change_a_letter() -> None:
    import re

    assert re.sub("\x1b\\[[0-9;]*m", "", report_text(REPORT, color=True)) == report_text(REPORT)


def test_json_holds_every_finding_follows_its_schema_and_is_ascii() -> None:
    text = report_json(REPORT)
    value = json.loads(text)
    assert text.isascii()
    assert "\x1b" not in text
    assert violations(value, "report") == []
    assert value["findings"][2]["line"] == 14
    assert value["findings"][3]["tensor"] == "evil\x1b[2J"
    assert value["skipped"] == [{"code": code, "because": ["GTE110"]} for code in ("GTE201", "GTE202")]
    assert value["suppressed"][0]["suppression"]["reason"] == "the tokenizer has\n31,997 ids"
    assert value["unused"] == [{"code": "GTE103", "reason": "old", "source": "gte-surgery.toml"}]
    assert value["counts"] == {"error": 1, "warning": 2, "note": 1}


def test_a_clean_report_is_one_line() -> None:
    assert report_text(Report("ckpt", (), (), ("GTE001",))) == "ckpt: 0 errors, 0 warnings, 0 notes (1 rule judged)"
