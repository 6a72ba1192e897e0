"""Texts as other systems write them: with a mark before the first letter, packed, in other letters, not as a file."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.vocabulary.map_files import read_map
from gte_surgery.vocabulary.trimming.choice import read_tokens
from gte_surgery.vocabulary.trimming.texts import labelled, parts, texts_of

LFS = b"version https://git-lfs.github.com/spec/v1\noid"
GERMAN = "Straße läuft schön\n" * 40


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.txt", "one\r\ntwo\r\n"), ("t.jsonl", '"one"\r\n"two"\r\n'), ("t.csv", "text\r\none\r\ntwo")],
)
def test_a_byte_order_mark_is_no_part_of_the_first_text(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode("utf-8-sig"))
    assert [text for part in parts([tmp_path / name], None) for text in texts_of(part)] == ["one", "two"]


def test_nor_of_the_first_token_query_or_id(tmp_path: Path) -> None:
    for name, content in (
        ("k.txt", "a\r\nb"),
        ("q.jsonl", '{"query": "a", "positives": ["b"]}'),
        ("m.tsv", "0\t5\r\n"),
    ):
        (tmp_path / name).write_bytes(content.encode("utf-8-sig"))
    assert read_tokens(tmp_path / "k.txt") == ("a", "b")
    assert list(labelled(tmp_path / "q.jsonl")) == [("a", ["b"])]
    assert list(read_map(tmp_path / "m.tsv").origin(0)) == [5]


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (gzip.compress(GERMAN.encode(), mtime=0), "compressed, must be text", "gzip -dk"),
        (b"\x28\xb5\x2f\xfd rest", "compressed, must be text", "zstd -dk"),
        (b"PK\x03\x04 rest", "a zip archive, must be text", ""),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "a Git LFS pointer, not the file itself, must be text",
            "",
        ),
        (GERMAN.encode("utf-16"), "not in UTF-8, must be", "iconv -f UTF-16 -t UTF-8"),
        (GERMAN.encode("latin-1"), "not in UTF-8, must be", "iconv -f LATIN1 -t UTF-8"),
    ],
)
def test_what_is_no_text_is_not_counted_as_one(content: bytes, said: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    for read in (lambda: parts([path], None), lambda: list(labelled(path))):
        with pytest.raises(RefusedError) as caught:
            read()
        assert caught.value.message == f"{path}: {said}"
        assert hint in caught.value.hint


def test_a_slip_among_many_letters_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(GERMAN.encode() + b"\xff\n")
    assert len([text for part in parts([tmp_path / "t.txt"], None) for text in texts_of(part)]) == 41


def test_what_is_no_file_is_called_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("pipe", "not a regular file"), (".", "not a regular file"), ("nix", "no such file")):
        with pytest.raises(UsageError, match=f": {said}"):
            parts([tmp_path / name], None)


def test_a_file_that_is_not_there_is_called_as_it_was_typed(tmp_path: Path) -> None:
    for read in (read_map, read_tokens):
        with pytest.raises(UsageError, match=f"^{tmp_path}/nix: no such file or directory$"):
            read(tmp_path / "nix")
