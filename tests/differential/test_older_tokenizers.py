"""Tokenizers of older files alone, without a tokenizer.json, move to new ids too: what transformers gives for texts
before and after is the same tokens, whose rows are the same.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gte_surgery import SmokeOptions, remap, smoke, trim, undo
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.errors import RefusedError, UnsoundError
from gte_surgery.vocabulary.rewriting import made
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from tests import builder
from tests.differential.test_added_tokens_in_transformers import write_form
from tests.texts import lines

transformers = pytest.importorskip("transformers", minversion="5.18")

SIZE, ROWS = 900, 1024
WORDS = "embeddings.word_embeddings.weight"
FORMS = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model")
MORE = {"added_tokens.json": {"<beside>": SIZE}, "special_tokens_map.json": {"additional_special_tokens": ["<named>"]}}


@pytest.fixture(scope="module", params=FORMS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = builder.build(tmp_path_factory.mktemp(request.param) / "ckpt", builder.native_config(vocab_size=ROWS))
    write_form(path, request.param, SIZE, 2000)
    for file, value in MORE.items():
        builder.write_json(path / file, value)
    return path


def texts(path: Path, count: int = 4000) -> list[str]:
    found = [f"{line} <beside> a<named>" if at % 9 == 0 else line for at, line in enumerate(lines(count))]
    path.write_text("\n".join(found))
    return found


def given(path: Path, some: list[str]) -> tuple[Any, list[list[int]]]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    return tokenizer, tokenizer(some)["input_ids"]


def every_token(folder: Path, tmp_path: Path) -> Path:
    tokens = given(folder, [""])[0].get_vocab()
    (tmp_path / "tokens").write_text("\n".join(token for token in tokens if token.strip()))
    return tmp_path / "tokens"


def require_the_same(old: Path, new: Path, some: list[str]) -> None:
    """Requires the same tokens for the texts, each with the row that it had, and the same files."""
    (one, before), (other, after) = given(old, some), given(new, some)
    pairs = {pair for was, now in zip(before, after, strict=True) for pair in zip(was, now, strict=True)}
    rows, new_rows = (builder.load(path)[WORDS] for path in (old, new))
    assert all(one.convert_ids_to_tokens(was) == other.convert_ids_to_tokens(now) for was, now in pairs)
    assert all((rows[was] == new_rows[now]).all() for was, now in pairs)
    assert {each.name for each in old.iterdir()} == {each.name for each in new.iterdir()} - {
        "gte-surgery.json",
        ".gte-surgery",
    }
    assert len(other) <= len(new_rows)


def test_a_trim_proves_and_keeps_what_the_texts_use(folder: Path, tmp_path: Path) -> None:
    some = texts(tmp_path / "t.txt")
    outcome = trim(folder, texts=[tmp_path / "t.txt"], top=700, held_out=0.1, out=tmp_path / "small")
    assert any("were encoded again" in each for each in outcome.plan.meaning)
    assert len(given(tmp_path / "small", [""])[0]) <= 700
    outcome = trim(folder, texts=[tmp_path / "t.txt"], out=tmp_path / "all")
    require_the_same(folder, tmp_path / "all", some)
    again = trim(tmp_path / "all", texts=[tmp_path / "t.txt"], dry_run=True).plan
    assert again.is_empty


def test_a_map_and_its_undoing(folder: Path, tmp_path: Path) -> None:
    some, place = texts(tmp_path / "t.txt", 500), tmp_path / "ckpt"
    shutil.copytree(folder, place)
    count = len(given(place, [""])[0])
    order = [*range(5), *reversed(range(5, SIZE - 1)), *range(SIZE - 1, count)]
    if (place / "sentencepiece.bpe.model").exists():
        order = [*range(4), *reversed(range(4, count - 3)), *range(count - 3, count)]
    remap(place, keep=order, pad=1)
    require_the_same(folder, place, some)
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    assert {each.name: each.read_bytes() for each in place.iterdir() if each.name in files} != files
    undo(place)
    assert {each.name: each.read_bytes() for each in place.iterdir() if each.name in files} == files


def test_special_tokens_move_where_the_files_can_say_so(folder: Path, tmp_path: Path) -> None:
    """XLM-R's have their ids by the class, whatever the model says."""
    some = texts(tmp_path / "t.txt", 500)
    count = len(given(folder, [""])[0])
    swapped = [3, 1, 2, 0, *range(4, count)]
    if (folder / "sentencepiece.bpe.model").exists():
        with pytest.raises(RefusedError, match="transformers would make another model") as refused:
            remap(folder, keep=swapped, pad=1, dry_run=True)
        assert "transformers makes one: `python" in refused.value.hint
        assert "--tokenizer remove" in refused.value.hint
    else:
        remap(folder, keep=swapped, pad=1, out=tmp_path / "own")
        require_the_same(folder, tmp_path / "own", some)
        assert given(tmp_path / "own", [""])[0].cls_token_id == 3


@pytest.mark.slow
def test_what_transformers_makes_none_of_is_refused_with_a_way_out(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "ckpt")
    builder.write_json(place / "tokenizer_config.json", {"tokenizer_class": "CanineTokenizer"})
    with pytest.raises(
        RefusedError, match=r"no tokenizer\.json that could be rewritten: transformers makes none"
    ) as no:
        remap(place, keep=range(640), pad=0, dry_run=True)
    assert no.value.hint.startswith("say what becomes of the tokenizer's files: --tokenizer")


def test_a_refusal_names_the_file_that_is_there(folder: Path) -> None:
    vocabulary = next(name for name in FORMS if (folder / name).exists())
    with pytest.raises(RefusedError, match=rf"^{vocabulary}: `.*` \(\d+\) gets no new id, and "):
        remap(folder, keep=range(5, SIZE), pad=1, dry_run=True)


@pytest.mark.slow
def test_code_that_lies_there_is_not_run(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "ckpt")
    (place / "their.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nclass Code: pass\n")
    settings = json.loads((place / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Code", "auto_map": {"AutoTokenizer": ["their.Code", "their.Code"]}}
    builder.write_json(place / "tokenizer_config.json", settings)
    for model_type in ("gte", "new"):
        values = json.loads((place / "config.json").read_text()) | {"model_type": model_type}
        builder.write_json(place / "config.json", values)
        with suppress(RefusedError, UnsoundError):
            remap(place, keep=range(640), pad=1, dry_run=True)
    assert not (tmp_path / "run").exists()


def test_a_trim_that_moves_no_id_states_those_in_use(folder: Path, tmp_path: Path) -> None:
    """The files state 900 of `<beside>` while XLM-R's is in use as 502, and a table of 512 rows has no row 900."""
    texts(tmp_path / "t.txt")
    trim(folder, texts=[tmp_path / "t.txt"], keep_tokens=every_token(folder, tmp_path), round_to=64, out=tmp_path / "c")
    found = {finding.code for finding in run(tmp_path / "c").findings}
    assert found & {"GTE301", "GTE302"} == set()
    rows, used = len(builder.load(tmp_path / "c")[WORDS]), len(given(tmp_path / "c", [""])[0])
    assert used <= rows < used + 64


def test_as_many_tokens_are_counted_as_transformers_makes(folder: Path) -> None:
    assert read_tokenizer(open_checkpoint(folder)).vocab_size == len(given(folder, [""])[0])


def test_a_vocabulary_that_cannot_be_read_is_refused_before_transformers_reads_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(folder, tmp_path / "ckpt")
    file = next(place / name for name in FORMS if (place / name).exists())
    file.write_bytes(b"\xff\xfe" * 9)
    monkeypatch.setattr(made, "made_with", None)
    with pytest.raises(RefusedError, match=rf"no tokenizer\.json that could be rewritten: {file.name}: ") as refused:
        remap(place, keep=range(640), pad=1, dry_run=True)
    assert "--tokenizer remove" in refused.value.hint


@pytest.mark.slow
def test_smoke_cuts_texts_by_older_files_as_transformers_does(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    some = texts(tmp_path / "texts.txt", 60)
    trim(folder, texts=tmp_path / "texts.txt", out=tmp_path / "small")
    options = SmokeOptions(device="cpu", against=folder, texts=tmp_path / "texts.txt", max_length=64)
    result = smoke(tmp_path / "small", options)
    assert result.has_passed, result.findings
    assert result.against is not None
    found = result.against.quality
    assert found is not None
    rows = [row[:64] for row in given(folder, list(dict.fromkeys(some)))[1]]
    assert (found.texts, found.cosine, found.tokens_before) == (len(rows), 1.0, sum(map(len, rows)))
    assert found.tokens_after == found.tokens_before
    for place in (folder, tmp_path / "small"):
        assert not (place / "tokenizer.json").exists()
