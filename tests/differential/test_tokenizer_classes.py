"""The tokenizers that transformers makes by class, where no file names the special tokens: sizes and ids are ours, and
what it or sentence-transformers stops at is told.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gte_surgery import new
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.findings import Severity
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from tests.builder import change_config, write_json

transformers = pytest.importorskip("transformers", minversion="5.18")
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
WORDS = [f"w{number}" for number in range(20)]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "▁"]
RELEASES = {"bert": "gte-base", "gte": "gte-base-en-v1.5", "modernbert": "gte-modernbert-base"}
SIZES: dict[str, Any] = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 48, "vocab": 320, "max_positions": 64}
BY_FILE = {"tokenizer_class": "PreTrainedTokenizerFast"}
EXTRA = {"mask_token": "<m>", "extra_special_tokens": ["<e>", "w3"]}
MADE: dict[str, tuple[str, str, list[str], dict[str, object]]] = {
    "all but the mask": ("bert", "WordPiece", BERT, {}),
    "none": ("bert", "WordPiece", ["[UNK]"], {}),
    "none of vocab.txt": ("bert", "vocab.txt", ["[UNK]"], {}),
    "by its old name": ("gte", "WordPiece", ["[UNK]"], {"tokenizer_class": "BertTokenizerFast"}),
    "by a relative": ("bert", "WordPiece", ["[UNK]"], {"tokenizer_class": "DistilBertTokenizer"}),
    "one unset": ("bert", "WordPiece", BERT, {"mask_token": None}),
    "another": ("bert", "WordPiece", BERT, EXTRA),
    "added before": ("bert", "WordPiece", BERT, {"added_tokens_decoder": {"24": {"content": "<y>", "special": True}}}),
    "XLM-R's": ("gte", "Unigram", ROBERTA, {}),
    "XLM-R's for a BERT": ("bert", "Unigram", ROBERTA, {"tokenizer_class": "XLMRobertaTokenizerFast"}),
    "all of XLM-R's": ("gte", "Unigram", ["<unk>", "▁"], {}),
    "RoBERTa's": ("gte", "BPE", ROBERTA, {"tokenizer_class": "RobertaTokenizer"}),
    "a BERT's of whole words": ("bert", "WordLevel", ["[UNK]"], {}),
    "as filed": ("bert", "WordPiece", ["[UNK]"], BY_FILE | {"mask_token": "[MASK]", "pad_token": "[PAD]"}),
}
UNMADE = {
    "XLM-R's of word pieces": ("gte", "WordPiece", BERT, {}),
    "XLM-R's of BPE": ("gte", "BPE", ROBERTA, {}),
    "XLM-R's of whole words": ("gte", "WordLevel", ROBERTA, {}),
    "RoBERTa's of whole words": ("gte", "WordLevel", ROBERTA, {"tokenizer_class": "RobertaTokenizer"}),
    "XLM-R's of vocab.txt": ("gte", "vocab.txt", BERT, {}),
    "a BERT's of Unigram": ("bert", "Unigram", ROBERTA, {}),
    "none of vocab.txt": ("modernbert", "vocab.txt", BERT, {}),
    "none of vocab.txt, by name": ("bert", "vocab.txt", BERT, BY_FILE),
}
PADS = {
    "a BERT's class": ("bert", "WordPiece", ["[PAD]", *BERT[1:]], {}),
    "a ModernBERT without settings": ("modernbert", "WordPiece", BERT, {}),
    "a ModernBERT that says a class": ("modernbert", "WordPiece", BERT, {"tokenizer_class": "BertTokenizer"}),
    "a ModernBERT that names it": ("modernbert", "WordPiece", BERT, {"pad_token": "[PAD]"}),
    "a BERT as filed": ("bert", "WordPiece", BERT, BY_FILE),
    "padding in the file": ("modernbert", "padding", BERT, {}),
}


def made(path: Path, family: str, kind: str, special: list[str], settings: dict[str, object]) -> Path:
    """A checkpoint whose tokenizer has these special tokens and some words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    new(path, release=RELEASES[family], dtype="F32", dialect="native", pad=0, **SIZES)
    words = [*special, *WORDS]
    ids = {word: number for number, word in enumerate(words)}
    if settings:
        write_json(path / "tokenizer_config.json", settings)
    if kind == "vocab.txt":
        (path / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
        return path
    model: Any = models.WordPiece(ids, unk_token="[UNK]")
    if kind == "Unigram":
        model = models.Unigram([(word, -float(number)) for word, number in ids.items()], unk_id=ids["<unk>"])
    if kind == "WordLevel":
        model = models.WordLevel(ids, unk_token=special[-1])
    tokenizer = Tokenizer(models.BPE(ids, []) if kind == "BPE" else model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    if kind == "padding":
        tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    tokenizer.save(str(path / "tokenizer.json"))
    return path


def told(path: Path, consumer: str) -> set[str]:
    findings = run(open_checkpoint(path), consumers=(consumer,)).findings
    return {each.code for each in findings if each.severity is Severity.ERROR}


@pytest.mark.parametrize("name", MADE)
def test_special_tokens_that_only_the_class_names_have_the_ids_that_it_gives_them(name: str, tmp_path: Path) -> None:
    path = made(tmp_path / "it", *MADE[name])
    ours, its = read_tokenizer(open_checkpoint(path)), transformers.AutoTokenizer.from_pretrained(path)
    found = {role: getattr(its, f"{role}_token_id") for role in ROLES if getattr(its, f"{role}_token") is not None}
    assert ({role: ours.ids[role] for role in ROLES if role in ours.ids}, ours.vocab_size) == (found, len(its))
    assert "GTE318" not in told(path, "sentence-transformers")
    change_config(path, vocab_size=len(its) - 1)
    is_beyond = run(open_checkpoint(path), select=("GTE301", "GTE302")).findings
    assert len(is_beyond) == 1
    change_config(path, vocab_size=len(its))
    assert run(open_checkpoint(path), select=("GTE301", "GTE302")).findings == ()


@pytest.mark.parametrize("name", UNMADE)
def test_a_class_that_makes_another_tokenizer_is_told(name: str, tmp_path: Path) -> None:
    path = made(tmp_path / "it", *UNMADE[name])
    assert "GTE318" in told(path, "sentence-transformers")
    found: list[int] = []
    with suppress(Exception):  # a TypeError as it is made, or one of tokenizers' own as it meets a text
        found = transformers.AutoTokenizer.from_pretrained(path).encode("w1w2 w3", add_special_tokens=False)
    first = len(UNMADE[name][2])
    assert found != [first + 1, first + 2, first + 3]


@pytest.mark.parametrize("name", PADS)
def test_a_pad_token_that_nothing_names_is_told_where_sentence_transformers_stops(name: str, tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    path = made(tmp_path / "it", *PADS[name])
    model = sentence_transformers.SentenceTransformer(str(path), device="cpu")
    found = told(path, "sentence-transformers") & {"GTE318", "GTE646"}
    if not found:
        assert model.encode(["w1 w2", "w3"]).shape == (2, 32)
        return
    assert found == {"GTE646"}
    with pytest.raises(ValueError, match="does not have a padding token"):
        model.encode(["w1"])
    settings = path / "tokenizer_config.json"
    stated = json.loads(settings.read_text()) if settings.exists() else {}
    write_json(settings, stated | {"pad_token": "[PAD]"})  # as the hint says
    assert "GTE646" not in told(path, "sentence-transformers")
    assert sentence_transformers.SentenceTransformer(str(path), device="cpu").encode(["w1 w2", "w3"]).shape == (2, 32)
