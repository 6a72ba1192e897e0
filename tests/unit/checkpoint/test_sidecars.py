"""What the files beside the weights say: tokenizer ids, pooling, sequence length; bad files say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint
from gte_surgery.checkpoint.sidecars import TokenizerFacts, max_seq_length, pooling, special_tokens

MULTILINGUAL = {0: "<s>", 1: "<pad>", 2: "</s>", 3: "<unk>", 250001: "<mask>"}
ROLES = {"pad": 1, "cls": 0, "sep": 2, "mask": 250001, "bos": 0, "eos": 2, "unk": 3}
TEXTS = {f"{role}_token": MULTILINGUAL[number] for role, number in ROLES.items()}


def checkpoint_of(root: Path, **files: object) -> Checkpoint:
    """A directory with a config and the given files; "__" in a name is a dot, "_in_" a folder."""
    (root / "config.json").write_text("{}")
    for name, content in files.items():
        path = root / name.replace("__", ".").replace("_in_", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return open_checkpoint(root)


def tokenizer_json() -> str:
    added = [{"id": number, "content": text, "special": True} for number, text in MULTILINGUAL.items()]
    head = json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": added}, indent=2)
    return head[:-2] + ',\n  "model": {"vocab": [' + "x" * 1_000_000  # cut short: never read whole


def test_ids_come_from_tokenizer_config_alone(tmp_path: Path) -> None:
    decoder = {str(number): {"content": text, "special": True} for number, text in MULTILINGUAL.items()}
    settings = TEXTS | {"added_tokens_decoder": decoder, "model_max_length": 1000000000000000019884624838656}
    facts = special_tokens(checkpoint_of(tmp_path, tokenizer_config__json=settings))
    assert facts == TokenizerFacts(("tokenizer_config.json",), ROLES, MULTILINGUAL, 250002)


def test_ids_come_from_the_special_tokens_map_and_the_head_of_a_large_tokenizer_json(tmp_path: Path) -> None:
    texts = TEXTS | {"mask_token": {"content": "<mask>", "lstrip": True}}
    files = {"special_tokens_map__json": texts, "tokenizer__json": tokenizer_json()}
    facts = special_tokens(checkpoint_of(tmp_path, **files))
    assert facts == TokenizerFacts(("tokenizer.json", "special_tokens_map.json"), ROLES, MULTILINGUAL, 250002)


def test_ids_come_from_the_lines_of_vocab_txt(tmp_path: Path) -> None:
    texts = {"pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[GONE]"}
    files = {"vocab__txt": "[PAD]\n[unused0]\n[CLS]\nthe\n", "tokenizer_config__json": texts}
    facts = special_tokens(checkpoint_of(tmp_path, **files))
    assert facts == TokenizerFacts(("tokenizer_config.json", "vocab.txt"), {"pad": 0, "cls": 2}, {}, 4)


def test_no_tokenizer_files_say_nothing(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path)
    assert special_tokens(checkpoint) == TokenizerFacts()
    assert pooling(checkpoint) is None
    assert max_seq_length(checkpoint) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"added_tokens": 3}',
        '{"added_tokens": [1, null, {"id": -1, "content": "x"}, {"id": true, "content": "x"}]}',
        '{"added_tokens": [{"id": 1, "content": 2}, {"id": 1}, {"content": "x"}]}',
        '{"added_tokens": [{"id": 99999999999, "content": "x"}]}',
        '{"added_tokens": ' + "[" * 100_000,
        '{"added_tokens": [' + "9" * 10_000 + "]}",
        '{"added_tokens_decoder": {"-1": {"content": "x"}, "y": "x", "1e9": "x", "²": "x", "99999999999": "x"}}',
        '{"added_tokens_decoder": [1]}',
        '{"pad_token": 3, "cls_token": {"content": 3}, "mask_token": [], "added_tokens_decoder": {"1": {}}}',
        '{"max_seq_length": 12.5, "word_embedding_dimension": "x"}',
    ],
)
def test_bad_files_say_nothing_and_never_raise(tmp_path: Path, content: str) -> None:
    names = ("tokenizer__json", "tokenizer_config__json", "special_tokens_map__json", "sentence_bert_config__json")
    checkpoint = checkpoint_of(tmp_path, **dict.fromkeys((*names, "1_Pooling_in_config__json"), content))
    facts = special_tokens(checkpoint)
    assert (facts.ids, facts.tokens, facts.vocab_size) == ({}, {}, None)
    assert max_seq_length(checkpoint) is None
    found = pooling(checkpoint)
    assert found is None or (found.modes, found.width) == ((), None)


def test_a_token_cannot_forge_lines_or_drive_a_terminal(tmp_path: Path) -> None:
    content = '{"added_tokens": [{"id": 1, "content": "\\ud800\\n\\u001b[31m"}]}'
    facts = special_tokens(checkpoint_of(tmp_path, tokenizer__json=content))
    assert facts.tokens == {1: "\\ud800\\n\\x1b[31m"}


def test_a_sidecar_that_links_out_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "checkpoint"
    root.mkdir()
    (tmp_path / "outside.json").write_text('{"max_seq_length": 5}')
    (root / "sentence_bert_config.json").symlink_to(tmp_path / "outside.json")
    assert max_seq_length(checkpoint_of(root)) is None


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls_token"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls_token+mean_tokens"),
        ({"pooling_mode_cls_token": "true"}, ""),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_pooling_tells_its_mode_and_width(tmp_path: Path, settings: dict[str, object], mode: str) -> None:
    files = {"1_Pooling_in_config__json": {"word_embedding_dimension": 768} | settings}
    found = pooling(checkpoint_of(tmp_path, **files))
    assert found is not None
    assert (found.mode, found.width) == (mode, 768)


def test_max_seq_length_is_read(tmp_path: Path) -> None:
    assert max_seq_length(checkpoint_of(tmp_path, sentence_bert_config__json={"max_seq_length": 8192})) == 8192
