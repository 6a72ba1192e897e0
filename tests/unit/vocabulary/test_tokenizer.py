"""The vocabulary of a tokenizer.json, read with the tokenizers package and without it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.vocabulary import tokenizer as module
from gte_surgery.vocabulary.tokenizer import Vocabulary, read_vocabulary, scan_vocabulary
from tests.builder import build, write_sidecars

AWKWARD = ['"', "\\", "]", '",0]', "é", "\n", "a,b", "{}", '\\"]', "𝄞", "vocab", '"vocab":[', " "]
UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [[word, -1.5e-3 * at] for at, word in enumerate(AWKWARD)]}
WORDLEVEL = {"type": "WordLevel", "unk_token": " ", "vocab": {word: 3 * at for at, word in enumerate(AWKWARD)}}


def whole(model: object) -> dict[str, object]:
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    return {"version": "1.0", **dict.fromkeys(parts), "added_tokens": [], "model": model}


def write(path: Path, model: object, **style: object) -> Path:
    (path / "tokenizer.json").write_text(json.dumps(whole(model), **style), encoding="utf-8")
    return path / "tokenizer.json"


@pytest.mark.parametrize(("model", "rows"), [(UNIGRAM, len(AWKWARD)), (WORDLEVEL, 3 * len(AWKWARD) - 2)])
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}])
@pytest.mark.parametrize("piece", [1, 7, 64, 1 << 20])
def test_both_ways_of_reading_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: object, rows: int, style: dict[str, object], piece: int
) -> None:
    path = build(tmp_path)
    file = write(path, model, **style)
    found = read_vocabulary(open_checkpoint(path))
    assert found is not None
    assert found.rows == rows
    monkeypatch.setattr(module, "_PIECE", max(piece, 64))
    assert scan_vocabulary(file) == Vocabulary(rows)


def test_without_the_package_the_file_is_read_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sidecars(build(tmp_path), ids=60)
    with_package = read_vocabulary(open_checkpoint(path))
    assert with_package == Vocabulary(60, {0: "<s>", 1: "<pad>", 2: "</s>", 3: "<unk>", 4: "<mask>"})
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert read_vocabulary(open_checkpoint(path)) == Vocabulary(60)


def test_a_large_file_is_not_given_to_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sidecars(build(tmp_path), ids=60)
    monkeypatch.setattr(module, "PACKAGE_LIMIT", 100)
    assert read_vocabulary(open_checkpoint(path)) == Vocabulary(60)


def test_the_package_settles_the_id_of_an_added_token(tmp_path: Path) -> None:
    path = write_sidecars(build(tmp_path), ids=60)
    content = json.loads((path / "tokenizer.json").read_text())
    content["added_tokens"].append({**content["added_tokens"][0], "id": 999, "content": "<new>"})
    (path / "tokenizer.json").write_text(json.dumps(content))
    found = read_vocabulary(open_checkpoint(path))
    assert found is not None
    assert found.added[60] == "<new>", "the id in the file is not the one that the tokenizer gives"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[", '{"model":{"vocab":{}}}', '{"vocab":[["a",0],', '{"vocab":{"a":1,"b"', '{"vocab":[["a"]]}', "\0"],
)
def test_what_holds_no_vocabulary_is_none(tmp_path: Path, text: str) -> None:
    path = build(tmp_path)
    (path / "tokenizer.json").write_text(text)
    assert read_vocabulary(open_checkpoint(path)) is None


def test_a_link_out_is_not_followed(tmp_path: Path) -> None:
    path = build(tmp_path / "checkpoint")
    write(tmp_path, UNIGRAM)
    (path / "tokenizer.json").symlink_to(tmp_path / "tokenizer.json")
    assert read_vocabulary(open_checkpoint(path)) is None
