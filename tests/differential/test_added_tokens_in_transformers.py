"""Which ids transformers gives to added tokens, whatever the files state: those that we say."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gte_surgery import remap
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from tests import builder
from tests.texts import lines, write_tokenizer

transformers = pytest.importorskip("transformers", minversion="5.18")

SIZE, ROWS = 600, 640
FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": False}
STATED: dict[str, tuple[dict[int, str] | None, dict[str, int]]] = {
    "the next id": ({SIZE: "<x>"}, {}),
    "far beyond": ({900: "<x>"}, {}),
    "an id that is taken": ({100: "<x>"}, {}),
    "two, the later one first": ({700: "<y>", 650: "<x>"}, {}),
    "a token of the vocabulary": ({620: "the"}, {}),
    "added_tokens.json": (None, {"<x>": 900}),
    "both files": ({900: "<x>"}, {"<z>": 800}),
    "an empty decoder": ({}, {"<z>": 800}),
}


def vocab_json(path: Path) -> None:
    model = json.loads((path / "tokenizer.json").read_text())["model"]
    (path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "\n".join(" ".join(merge) for merge in model["merges"])
    (path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")


def vocab_txt(path: Path) -> None:
    vocabulary = json.loads((path / "tokenizer.json").read_text())["model"]["vocab"]
    (path / "vocab.txt").write_text("".join(f"{text}\n" for text in sorted(vocabulary, key=vocabulary.__getitem__)))


def sentencepiece_model(path: Path) -> None:
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    (path / "texts").write_text("\n".join(lines(2000)))
    model = {"vocab_size": 500, "unk_id": 0, "bos_id": 1, "eos_id": 2, "minloglevel": 2}
    trainer.train(input=str(path / "texts"), model_prefix=str(path / "m"), **model)
    (path / "m.model").rename(path / "sentencepiece.bpe.model")


FORMS = {
    "tokenizer.json": ("WordPiece", "PreTrainedTokenizerFast", None),
    "vocab.txt": ("WordPiece", "BertTokenizer", vocab_txt),
    "vocab.json": ("BPE", "RobertaTokenizer", vocab_json),
    "sentencepiece.bpe.model": ("Unigram", "XLMRobertaTokenizer", sentencepiece_model),
}


def write_form(path: Path, form: str, size: int, count: int) -> Path:
    """A tokenizer in the files of one form, with the class that transformers makes of them."""
    kind, name, rewrite = FORMS[form]
    write_tokenizer(path, kind, size, count)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    roles = {key: value for key, value in settings.items() if key.endswith("_token")}
    builder.write_json(path / "tokenizer_config.json", {"tokenizer_class": name, **roles})
    if rewrite is not None:
        rewrite(path)
        (path / "tokenizer.json").unlink()
    return path


@pytest.fixture(scope="module", params=FORMS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = FORMS[request.param][1]
    path = builder.build(tmp_path_factory.mktemp(name) / "ckpt", builder.remote_config(vocab_size=ROWS))
    return write_form(path, request.param, SIZE, 500)


@pytest.mark.parametrize("folder", [name for name, (_, _, rewrite) in FORMS.items() if rewrite], indirect=True)
def test_what_has_no_tokenizer_json_gets_one_by_the_command_of_the_hint(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "a ckpt")
    before = transformers.AutoTokenizer.from_pretrained(place).get_vocab()
    (finding,) = run(place, consumers=["tei"], select=["GTE636"]).findings
    (command,) = (part for part in finding.hint.split("`") if part.startswith("python "))
    subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True, capture_output=True)
    assert transformers.AutoTokenizer.from_pretrained(place).get_vocab() == before
    assert run(place, consumers=["tei"], select=["GTE636"]).findings == ()
    kept = [number for number in range(640) if number != 497]
    remap(place, keep=kept, pad=0)
    after = transformers.AutoTokenizer.from_pretrained(place).get_vocab()
    assert after == {text: kept.index(number) for text, number in before.items() if number in kept}


@pytest.mark.parametrize("stated", STATED)
def test_added_tokens_have_the_ids_that_transformers_gives_them(stated: str, folder: Path, tmp_path: Path) -> None:
    decoder, listed = STATED[stated]
    place = shutil.copytree(folder, tmp_path / "ckpt")
    settings: Mapping[str, object] = json.loads((place / "tokenizer_config.json").read_text())
    if decoder is not None:
        added = {str(number): {"content": text, **FLAGS} for number, text in decoder.items()}
        (place / "tokenizer_config.json").write_text(json.dumps({**settings, "added_tokens_decoder": added}))
    if listed:
        (place / "added_tokens.json").write_text(json.dumps(listed))
    loaded = transformers.AutoTokenizer.from_pretrained(place)
    checkpoint = open_checkpoint(place)
    found = read_tokenizer(checkpoint)
    for text in (*(decoder or {}).values(), *listed):
        number = loaded.get_vocab().get(text)
        assert [at for at, token in found.tokens.items() if token == text] == ([] if number is None else [number])
    assert max(loaded.get_vocab().values()) == (found.vocab_size or 0) - 1
    read = [*(decoder or {})] if decoder is not None else list(listed.values())
    findings = run(checkpoint, select=["GTE302"]).findings
    assert bool(findings) is any(number >= ROWS for number in read if (decoder or {}).get(number) != "the")
    assert all("in use" in finding.message for finding in findings)
