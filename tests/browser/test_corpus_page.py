"""The page of `scan --html`: what a person finds there, that names and values from a corpus are text, and that nothing
leaves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gte_surgery.cli.entry import run
from tests.browser.reading import Page, chromium, needs_chromium
from tests.builder import native_config, tensors, write

pytest.importorskip("jinja2", reason="needs the extra report")
EVIL = "<script>document.body.innerHTML='owned'<"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = native_config()
    return write(tmp_path_factory.mktemp("corpus") / "ckpt", config, tensors(config))


def corpus(folder: Path, rows: list[object], name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def page_of(checkpoint: Path, path: Path, code: int, *arguments: str) -> str:
    file = path.parent / "page.html"
    assert run(["scan", str(checkpoint), str(path), "--html", str(file), *arguments]) == code
    return file.read_text(encoding="utf-8")


ROWS = [
    *({"input_ids": [0, *range(10, 10 + length), 1, 1]} for length in (1, 1, 6, 7, 30)),
    {"input_ids": [0, 128, 129, 500, 128]},
    {"input_ids": [0, -1]},
]


def test_what_a_person_finds_there(checkpoint: Path, tmp_path: Path) -> None:
    text = page_of(checkpoint, corpus(tmp_path, ROWS), 1)
    seen = Page(text)
    assert "5 errors 0 warnings 0 notes in 7 rows" in seen.text
    assert "absent from 7 rows, derived there from the pads" in seen.text
    assert "GTE414: An id is beyond the embedding table" in seen.text
    assert "128 at row 5, column 1, must be below vocab_size 128 (4 such in 1 row" in seen.text
    assert "row column value 5 1 128 5 2 129 5 3 500" in seen.text
    assert "Half have at most 5 real tokens, 95 % at most 31, the longest 31." in seen.text
    assert "from to rows 2 3 3 4 7 2 8 15 1 16 31 1" in seen.text
    assert "GTE413 error 1 1 An id is negative GTE414 error 4 1" in seen.text
    assert [each["aria-labelledby"] for each in seen.all("svg")] == ["lengths-title"]


@needs_chromium
def test_chromium_shows_the_histogram(checkpoint: Path, tmp_path: Path) -> None:
    page_of(checkpoint, corpus(tmp_path, ROWS), 1)
    seen = Page(chromium("--dump-dom", (tmp_path / "page.html").as_uri(), folder=tmp_path))
    for drawn in ("2 to 3", "4 to 7", "16 to 31", "Rows by the number of their real tokens"):
        assert drawn in seen.text


@needs_chromium
def test_a_hostile_name_or_value_is_text_and_runs_nothing(checkpoint: Path, tmp_path: Path) -> None:
    path = corpus(tmp_path, [{"input_ids": [0, EVIL]}, {"input_ids": [0, 999]}], f"{EVIL}.jsonl")
    page_of(checkpoint, path, 1)
    seen = Page(chromium("--dump-dom", (tmp_path / "page.html").as_uri(), folder=tmp_path))
    assert EVIL in seen.text
    assert "owned" not in seen.text.replace("innerHTML='owned'", "")
    assert seen.all("script") == []


def test_it_is_one_file_that_asks_for_nothing_and_every_link_leads_somewhere(checkpoint: Path, tmp_path: Path) -> None:
    text = page_of(checkpoint, corpus(tmp_path, ROWS), 1)
    seen = Page(text)
    assert {tag for tag, _ in seen.elements} & {"script", "link", "img", "iframe", "object", "form"} == set()
    assert re.findall(r"url\((?!#)|@import", text) == []
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(each["href"]).removeprefix("#") for each in seen.all("a")}
    assert {"what", "findings", "lengths", "sums"} <= links <= set(ids)
    regions = [each for _, each in seen.elements if each.get("role") == "region"]
    assert len(regions) == 4
    assert all(each.get("tabindex") == "0" and each.get("aria-label") for each in regions)


def test_a_clean_corpus_says_so_and_the_same_corpus_gives_the_same_page(checkpoint: Path, tmp_path: Path) -> None:
    path = corpus(tmp_path, ROWS[:5])
    text = page_of(checkpoint, path, 0)
    assert "Nothing was found." in Page(text).text
    assert 'id="sums"' not in text
    assert page_of(checkpoint, path, 0) == text


def test_findings_that_are_not_shown_are_counted(checkpoint: Path, tmp_path: Path) -> None:
    seen = Page(page_of(checkpoint, corpus(tmp_path, ROWS), 1, "--max-findings", "0"))
    assert "in all: GTE413 1 in 1 row, GTE414 4 in 1 row" in seen.text
    assert "Nothing was found" not in seen.text


def test_a_corpus_without_rows_gets_a_page_without_a_histogram(checkpoint: Path, tmp_path: Path) -> None:
    seen = Page(page_of(checkpoint, corpus(tmp_path, []), 1))
    assert "GTE480" in seen.text
    assert seen.all("svg") == []


def test_without_the_extra_it_is_refused_before_the_scan(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = corpus(tmp_path, ROWS)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["scan", str(checkpoint), str(path), "--html", str(tmp_path / "page.html")]) == 3
    assert "gte-surgery[report]" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
