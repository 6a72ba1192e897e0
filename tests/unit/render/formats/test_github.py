"""GitHub: annotations that cannot be broken out of, and markdown that stays one table."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.findings import Finding, Location, Report, Severity
from gte_surgery.render.formats.github import report_github
from gte_surgery.render.formats.markdown import report_markdown
from tests.unit.render.formats.test_report import REPORT


def test_each_finding_is_an_annotation_at_its_place() -> None:
    assert report_github(REPORT).splitlines() == [
        "::notice title=GTE004 note::no weights",
        "::warning title=GTE104 warning,file=ckpt/config.json,line=7,col=12::/unpad_inputs: the string",
        "::error title=GTE110 error,file=ckpt/config.json,line=14,col=3::/pad_token_id: 5000, must be below vocab_size "
        "250048%0Ahint: set pad_token_id to the id of the padding token",
        "::warning title=GTE130 warning,file=ckpt/model.safetensors::`evil\\x1b[2J`: odd",
        "::notice title=gte-surgery::unused: gte-surgery.toml ignores GTE103, under which nothing is found",
        "ckpt: 1 error, 2 warnings, 1 note (7 rules judged)",
    ]


@given(st.text(st.characters()), st.text(st.characters(), min_size=1))
def test_no_text_adds_a_command_or_a_property(name: str, message: str) -> None:
    found = Finding("GTE110", Severity.ERROR, Location(f"x{name}", 1, 1, tensor=name), message, name)
    lines = report_github(Report("ckpt", (found,), (), ())).split("\n")
    assert len(lines) == 2
    properties = re.fullmatch(r"::error ([^:]*)::.*", lines[0])
    assert properties is not None
    keys = [each.partition("=")[0] for each in properties[1].split(",")]
    assert keys == ["title", "file", "line", "col"]


def test_markdown_lists_the_worst_first_and_what_was_ignored() -> None:
    lines = report_markdown(REPORT).splitlines()
    assert lines[0] == "### gte-surgery check: ckpt"
    assert lines[2] == "1 error, 2 warnings, 1 note (7 rules judged, 2 skipped because of the errors)."
    assert [line.split(" | ")[1] for line in lines if line.startswith("| ") and "GTE" in line] == [
        "GTE110", "GTE104", "GTE130", "GTE004",
    ]  # fmt: skip
    assert sum(line.startswith("- ") for line in lines) == 2


@given(st.text(st.characters()), st.text(st.characters(), min_size=1))
def test_no_text_adds_a_cell_a_row_or_markup(name: str, message: str) -> None:
    found = Finding("GTE110", Severity.ERROR, Location("f", tensor=name), message, name)
    (row,) = [line for line in report_markdown(Report("c", (found,), (), ())).split("\n") if "GTE110" in line]
    cells = row.replace("<br>", "")
    assert cells.count("|") == 5
    assert not set("<>`*_[]\\@") & set(cells)
