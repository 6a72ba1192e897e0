"""Tokens that older files and settings add beside a tokenizer.json keep ids and rows: what transformers gives for texts
before and after a surgery of ids is the same tokens, and they have the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from gte_surgery import remap, resize, trim
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from gte_surgery.vocabulary.trimming.framing import framed, reached
from tests import builder
from tests.texts import KINDS, lines, write_tokenizer

SIZE = 1200
WORDS = "embeddings.word_embeddings.weight"
CLASSES = {"Unigram": "XLMRobertaTokenizer", "WordPiece": "BertTokenizer", "BPE": "RobertaTokenizer"}
NEW = ("<alpha>", "beta", "<gamma>")
ROLES = {"cls_token": "[C]", "mask_token": "[M]", "bos_token": "[B]"}
"""None of them is in the vocabulary."""


def stated(text: str) -> dict[str, object]:
    special = text.startswith("<")
    return {"content": text, "special": special, "normalized": not special, "lstrip": text == "<gamma>"}


def decoder(numbers: Iterable[int]) -> dict[str, object]:
    return {str(number): stated(text) for number, text in zip(numbers, NEW, strict=True)}


Files = tuple[dict[str, Any], dict[str, Any]]
"""Members of tokenizer_config.json, where one that is None goes, and files beside it."""

PLACES: dict[str, Files] = {
    "added_tokens_decoder": ({"added_tokens_decoder": decoder(range(SIZE, SIZE + 3))}, {}),
    "added_tokens_decoder, other ids": ({"added_tokens_decoder": decoder([SIZE + 9, SIZE + 2, 7])}, {}),
    "added_tokens.json": (
        {"added_tokens_decoder": None, "additional_special_tokens": ["<gamma>"]},
        {"added_tokens.json": {text: SIZE + 4 - at for at, text in enumerate(NEW)}},
    ),
    "additional_special_tokens": ({"additional_special_tokens": list(NEW)}, {}),
    "extra_special_tokens by name": ({"extra_special_tokens": dict(zip("abc", NEW, strict=True))}, {}),
    "special_tokens_map.json": (
        {"added_tokens_decoder": None},
        {"special_tokens_map.json": {"additional_special_tokens": list(NEW), "mask_token": stated("<mask>")}},
    ),
    "names": ({**ROLES, "a_token": "<alpha>"}, {}),
    "names of special_tokens_map.json": ({"added_tokens_decoder": None}, {"special_tokens_map.json": ROLES}),
    "all of it": (
        {**ROLES, "added_tokens_decoder": decoder([SIZE + 2, SIZE, SIZE + 1]), "extra_special_tokens": ["<delta>"]},
        {},
    ),
}


@pytest.fixture(params=[(kind, place) for kind in KINDS for place in PLACES], ids=", ".join)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind, name = request.param
    path = builder.build(tmp_path / "ckpt", builder.native_config(vocab_size=SIZE + 16))
    write_tokenizer(path, kind, SIZE, 2000)
    members, files = PLACES[name]
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings = {**settings, **members, "tokenizer_class": CLASSES[kind]}
    builder.write_json(path / "tokenizer_config.json", {key: value for key, value in settings.items() if value})
    for file, value in files.items():
        builder.write_json(path / file, value)
    return path


def texts(tmp_path: Path) -> Path:
    some = [*NEW, "<delta>", *ROLES.values()]
    found = [f"{line} {some[at % len(some)]}x{some[at % 5]} y" for at, line in enumerate(lines(300))]
    (tmp_path / "t.txt").write_text("\n".join(found))
    return tmp_path / "t.txt"


def require_the_same(old: Path, new: Path, file: Path) -> None:
    """Requires the same tokens for the texts, and that each has the row that it had."""
    before, after = (AutoTokenizer.from_pretrained(path) for path in (old, new))
    rows, new_rows = (builder.load(path)[WORDS] for path in (old, new))
    for text in file.read_text().splitlines():
        pairs = list(zip(before(text)["input_ids"], after(text)["input_ids"], strict=True))
        for was, now in pairs:
            assert before.convert_ids_to_tokens(was) == after.convert_ids_to_tokens(now), text
            assert (rows[was] == new_rows[now]).all()
    known = read_tokenizer(open_checkpoint(new))
    assert known.vocab_size == len(after)
    assert {(number, token.content) for number, token in after.added_tokens_decoder.items()} <= known.tokens.items()


def test_a_trim_keeps_them(place: Path, tmp_path: Path) -> None:
    file = texts(tmp_path)
    small = trim(place, texts=[file], out=tmp_path / "small").target
    assert len(builder.load(small)[WORDS]) == len(AutoTokenizer.from_pretrained(small)) < SIZE
    require_the_same(place, small, file)


@pytest.mark.slow
def test_they_move_with_a_map_and_stay_in_a_larger_table(place: Path, tmp_path: Path) -> None:
    file, count = texts(tmp_path), len(AutoTokenizer.from_pretrained(place))
    moved = [0, 1, 2, 3, *reversed(range(4, SIZE)), *range(SIZE, count)]
    (tmp_path / "map").write_text("".join(f"{new}\t{old}\n" for new, old in enumerate(moved)))
    there = remap(place, map=tmp_path / "map", vocab=count, pad=1, out=tmp_path / "there").target
    require_the_same(place, there, file)
    grown = resize(there, vocab=count + 64, pad=1, out=tmp_path / "grown").target
    require_the_same(place, grown, file)


def test_texts_are_framed_with_them(place: Path, tmp_path: Path) -> None:
    """As the class that takes all from tokenizer.json does it; the others put their own around texts."""
    settings = json.loads((place / "tokenizer_config.json").read_text())
    builder.write_json(place / "tokenizer_config.json", {**settings, "tokenizer_class": "PreTrainedTokenizerFast"})
    some = texts(tmp_path).read_text().splitlines()
    checkpoint, wanted = open_checkpoint(place), AutoTokenizer.from_pretrained(place)
    assert [ids for ids, _ in framed([checkpoint], some, 128)[0]] == wanted(some)["input_ids"]
    number, token, _ = reached(checkpoint) or (0, "", "")
    assert (number, token) == (len(wanted) - 1, wanted.convert_ids_to_tokens(len(wanted) - 1))


def test_an_order_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    """The tokens of older files get ids behind those of tokenizer.json, those that names add the last."""
    path = builder.build(tmp_path / "ckpt", builder.native_config(vocab_size=SIZE + 16))
    write_tokenizer(path, "WordPiece", SIZE, 2000)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings |= {"added_tokens_decoder": decoder(range(SIZE, SIZE + 3)), "mask_token": "[M]"}
    builder.write_json(path / "tokenizer_config.json", settings)

    def moved(*ends: int) -> object:
        ids = [*range(SIZE), *(SIZE + end for end in ends)]
        (tmp_path / "map").write_text("".join(f"{new}\t{old}\n" for new, old in enumerate(ids)))
        return remap(path, map=tmp_path / "map", vocab=SIZE + 4, pad=1, dry_run=True)

    assert moved(1, 0, 2, 3)
    with pytest.raises(RefusedError, match="added tokens are counted on from the vocabulary's end"):
        moved(0, 1, 3, 2)


@pytest.mark.parametrize("name", ["XLMRobertaTokenizerFast", "PreTrainedTokenizerFast", None])
def test_what_a_class_takes_for_unknown_stays_or_is_refused(tmp_path: Path, name: str | None) -> None:
    """transformers has XLM-R's class for a GTE that names none, and that class has an id of its own for it."""
    path = builder.build(tmp_path / "ckpt", builder.native_config(vocab_size=SIZE))
    write_tokenizer(path, "Unigram", SIZE, 2000)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    builder.write_json(path / "tokenizer_config.json", {**settings, **({"tokenizer_class": name} if name else {})})
    (tmp_path / "t.txt").write_text("import \u1234\u2345 sys\n")
    moved = [3, 1, 2, 0, *range(4, SIZE)]
    if name == "PreTrainedTokenizerFast":
        require_the_same(path, remap(path, keep=moved, pad=1, out=tmp_path / "there").target, tmp_path / "t.txt")
    else:
        with pytest.raises(RefusedError, match="takes id 3 for what is unknown, whatever the files say"):
            remap(path, keep=moved, pad=1, dry_run=True)


@pytest.mark.parametrize("members", [{"do_lower_case": False}, {}, {"strip_accents": True, "do_lower_case": False}])
def test_a_class_that_cuts_otherwise_than_tokenizer_json_is_told(tmp_path: Path, members: dict[str, bool]) -> None:
    """BERT's makes its normalizer of the settings, and lowers letters where these say nothing."""
    path = builder.build(tmp_path / "ckpt", builder.native_config(vocab_size=SIZE))
    write_tokenizer(path, "WordPiece", SIZE, 2000)
    whole = json.loads((path / "tokenizer.json").read_text())
    whole["normalizer"]["lowercase"] = False
    builder.write_json(path / "tokenizer.json", whole)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    builder.write_json(path / "tokenizer_config.json", {**settings, "tokenizer_class": "BertTokenizer", **members})
    (tmp_path / "t.txt").write_text("\n".join([*lines(150), "Crème BRÛLÉE"]))
    meaning = trim(path, texts=[tmp_path / "t.txt"], dry_run=True).plan.meaning
    theirs, own = AutoTokenizer.from_pretrained(path), Tokenizer.from_file(str(path / "tokenizer.json"))
    some = (tmp_path / "t.txt").read_text().splitlines()
    differs = theirs(some)["input_ids"] != [each.ids for each in own.encode_batch(some)]
    assert differs is ("BertTokenizer has a normalizer of its own" in " ".join(meaning))
    assert differs is (members != {"do_lower_case": False})
