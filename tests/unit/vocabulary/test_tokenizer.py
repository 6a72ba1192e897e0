"""The tokenizer of a checkpoint as one value: from whichever files there are, the same for any size and writing."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Package
from tokenizers.models import WordLevel

from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint
from gte_surgery.surgery.verbs import resize
from gte_surgery.vocabulary import filed, json_stream
from gte_surgery.vocabulary.emission import Emitted, Frame
from gte_surgery.vocabulary.pieces import Pieces, json_pieces
from gte_surgery.vocabulary.tokenizer import Tokenizer, read_tokenizer
from tests.builder import build, template, write_sidecars

AWKWARD = ['"', "\\", "]", '",0]', "é", "\n", "a,b", "{}", '\\"]', "𝄞", "vocab", '"vocab":[', " ", "<s>"]
UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [[word, -1.5e-3 * at] for at, word in enumerate(AWKWARD)]}
WORDLEVEL = {"type": "WordLevel", "unk_token": " ", "vocab": {word: 3 * at for at, word in enumerate(AWKWARD)}}
MULTILINGUAL = {0: "<s>", 1: "<pad>", 2: "</s>", 3: "<unk>", 250001: "<mask>"}
ROLES = {"pad": 1, "cls": 0, "sep": 2, "mask": 250001, "bos": 0, "eos": 2, "unk": 3}
TEXTS = {f"{role}_token": MULTILINGUAL[number] for role, number in ROLES.items()}


def whole(model: object, **members: object) -> dict[str, object]:
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    return {"version": "1.0", **dict.fromkeys(parts), "added_tokens": [], "model": model, **members}


def added(text: str, number: int, special: bool = True) -> dict[str, object]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special, "special": special}
    return {"id": number, "content": text, **flags}


def read(root: Path, **files: object) -> Tokenizer:
    """The tokenizer of the given files; "__" in a name is a dot."""
    return read_tokenizer(checkpoint_of(root, **files))


def checkpoint_of(root: Path, **files: object) -> Checkpoint:
    (root / "config.json").write_text("{}")
    for name, content in files.items():
        path = root / name.replace("__", ".")
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return open_checkpoint(root)


def test_a_plan_walks_through_the_vocabulary_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a published model that is a quarter of a million entries."""
    checkpoint = build(tmp_path / "checkpoint")
    write_sidecars(checkpoint)
    walked = []

    def counted(stream: json_stream.JsonStream, wanted: Collection[str]) -> Pieces:
        walked.append(stream.offset)
        return json_pieces(stream, wanted)

    monkeypatch.setattr(filed, "json_pieces", counted)
    resize(checkpoint, vocab=64, pad=0, dry_run=True)
    assert len(walked) == 1


@pytest.mark.parametrize(("model", "rows"), [(UNIGRAM, len(AWKWARD)), (WORDLEVEL, 3 * len(AWKWARD) - 2)])
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}])
@pytest.mark.parametrize("piece", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("model_first", [False, True])
def test_any_writing_is_read_alike_in_pieces_of_any_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: object,
    rows: int,
    style: dict[str, object],
    piece: int,
    model_first: bool,
) -> None:
    monkeypatch.setattr(json_stream, "PIECE", piece)
    members = whole(model, added_tokens=[added(word, 7) for word in AWKWARD] + [added("<new>", 999)])
    if model_first:
        members = {"model": members.pop("model"), **members}
    found = read(tmp_path, tokenizer__json=json.dumps(members, **style))
    assert (found.rows, found.source, found.trouble) == (rows, "tokenizer.json", {})
    package = Package.from_str(json.dumps(members))
    assert set(found.tokens) == set(package.get_added_tokens_decoder())
    assert found.ids["cls"] == package.token_to_id("<s>")


@pytest.mark.parametrize(
    "texts",
    [
        ["b"],
        ["x"],
        ["x", "y"],
        ["c", "x"],
        ["x", "x"],
        ["b", "x", "a", "y"],
        ["x", "c", "y"],
    ],
)
def test_added_tokens_have_the_ids_that_the_package_gives_them(tmp_path: Path, texts: list[str]) -> None:
    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 5}, "unk_token": "a"}
    members = whole(model, added_tokens=[added(text, 100 + at) for at, text in enumerate(texts)])
    package = Package.from_str(json.dumps(members))
    wanted = {number: token.content for number, token in package.get_added_tokens_decoder().items()}
    assert read(tmp_path, tokenizer__json=members).tokens == wanted


def test_a_tokenizer_json_alone_says_its_size_and_its_special_ids(tmp_path: Path) -> None:
    ids = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "w": 4, "<mask>": 5}
    model = {"type": "WordPiece", "vocab": ids, "unk_token": "<unk>"}
    post = template(ids)
    found = read(tmp_path, tokenizer__json=whole(model, post_processor=post))
    assert (found.kind, found.vocab_size, found.frame) == ("WordPiece", 6, Frame((0,), (2,), 0, 0))
    assert found.ids == {"pad": 1, "cls": 0, "sep": 2, "mask": 5, "unk": 3}


def test_ids_come_from_tokenizer_config_alone(tmp_path: Path) -> None:
    decoder = {str(number): {"content": text, "special": True} for number, text in MULTILINGUAL.items()}
    settings = TEXTS | {"added_tokens_decoder": decoder, "model_max_length": 1000000000000000019884624838656}
    found = read(tmp_path, tokenizer_config__json=settings)
    assert (found.files, found.ids, found.tokens) == (("tokenizer_config.json",), ROLES, MULTILINGUAL)
    assert found.vocab_size == 250002


def test_ids_come_from_the_lines_of_vocab_txt(tmp_path: Path) -> None:
    texts = {"pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[GONE]"}
    found = read(tmp_path, vocab__txt="[PAD]\n[unused0]\n[CLS]\nthe\n", tokenizer_config__json=texts)
    assert (found.rows, found.ids, found.source) == (4, {"pad": 0, "cls": 2, "mask": 4}, "vocab.txt")


def test_a_token_is_told_in_the_file_that_names_it(tmp_path: Path) -> None:
    found = read(tmp_path, vocab__txt="[PAD]\n", special_tokens_map__json={"mask_token": "[GONE]"})
    assert [(each.file, each.pointer) for each in found.emitted] == [("special_tokens_map.json", "/mask_token")]
    found = read(tmp_path, tokenizer_config__json={"tokenizer_class": "BertTokenizer", "cls_token": "[PAD]"})
    assert {each.token: each.file for each in found.emitted} == {
        "[GONE]": "special_tokens_map.json",
        "[UNK]": "vocab.txt",
        "[SEP]": "vocab.txt",
    }, "the class alone names these"


def test_the_tokens_of_added_tokens_json_count(tmp_path: Path) -> None:
    found = read(tmp_path, vocab__txt="[PAD]\na\n", added_tokens__json={"<a>": 2, "<b>": 9})
    assert (found.vocab_size, found.tokens) == (4, {2: "<a>", 3: "<b>"}), "they count on from the vocabulary's end"
    members = whole({"type": "WordLevel", "vocab": {"[PAD]": 0, "a": 1}, "unk_token": "a"})
    found = read(tmp_path, tokenizer__json=members, vocab__txt="", added_tokens__json={"<a>": 2, "<b>": 9})
    assert found.tokens == {2: "<a>", 3: "<b>"}
    assert [each.id for each in found.emitted] == [2, 3, 9], "and slow tokenizers take the id that is stated"
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").unlink()
    found = read(tmp_path, added_tokens__json={"<a>": 2, "<b>": 9})
    assert found.tokens == {2: "<a>", 9: "<b>"}, "without a vocabulary nothing but the stated ids is known"


def test_a_vocab_json_and_a_sentencepiece_model_are_vocabularies_too(tmp_path: Path) -> None:
    found = read(tmp_path, vocab__json={"a": 0, "<mask>": 7}, merges__txt="#version: 0.2\n")
    assert (found.rows, found.source) == (8, "vocab.json")
    (tmp_path / "vocab.json").unlink()
    pieces = b"".join(b"\x0a\x03\x0a\x01" + text for text in (b"u", b"v", b"w", b"x"))
    (tmp_path / "sentencepiece.bpe.model").write_bytes(pieces + b"\x12\x02\x08\x01")
    found = read(tmp_path, tokenizer_config__json={"mask_token": "<mask>", "pad_token": "<pad>"})
    assert (found.rows, found.ids) == (6, {"pad": 1, "mask": 5}), "as XLM-R's tokenizer counts them"


def test_no_tokenizer_files_say_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == Tokenizer()


@pytest.mark.parametrize(
    "processor",
    [
        template({"<s>": 3, "</s>": 9}, pair_type=1),
        {"type": "BertProcessing", "sep": ["</s>", 9], "cls": ["<s>", 3]},
        {"type": "Sequence", "processors": [{"type": "BertProcessing", "sep": ["</s>", 9], "cls": ["<s>", 3]}]},
    ],
)
def test_what_post_processors_emit(tmp_path: Path, processor: dict[str, object]) -> None:
    model = {"type": "WordLevel", "vocab": {"<s>": 3, "</s>": 2, "a": 0}, "unk_token": "a"}
    found = read(tmp_path, tokenizer__json=whole(model, post_processor=processor))
    assert found.frame == Frame((3,), (9,), 0, 1)
    said = {(each.token, each.id, each.own) for each in found.emitted}
    assert said == {("<s>", 3, 3), ("</s>", 9, 2)}
    package = Package.from_str(json.dumps(whole(model, post_processor=processor)))
    assert package.encode("a").ids == [3, 0, 9]
    assert max(package.encode("a", "a").type_ids) == 1


def test_a_token_called_none_is_not_that_of_a_text(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"None": 3, "a": 0}, "unk_token": "a"}
    parts = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "None", "type_id": 0}}]
    special = {"None": {"id": "None", "ids": [3], "tokens": ["None"]}}
    processor = {"type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": special}
    assert read(tmp_path, tokenizer__json=whole(model, post_processor=processor)).frame == Frame((), (3,), 0, 0)


def test_roberta_gives_no_types_and_byte_level_nothing(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": True}
    found = read(tmp_path, tokenizer__json=whole(model, post_processor=roberta | {"add_prefix_space": True}))
    assert found.frame == Frame((1,), (2,), 0, 0)
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    assert read(tmp_path, tokenizer__json=whole(model, post_processor=byte_level)).frame == Frame()


def test_padding_says_its_id_and_its_side(tmp_path: Path) -> None:
    padding = {"strategy": "BatchLongest", "direction": "Left", "pad_id": 77, "pad_type_id": 0, "pad_token": "a"}
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    found = read(tmp_path, tokenizer__json=whole(model, padding=padding))
    assert found.side == "left"
    assert found.emitted == (Emitted(77, "a", "/padding/pad_id", "padding", 0),)
    found = read(tmp_path, tokenizer_config__json={"padding_side": "right"})
    assert found.side == "right", "tokenizer_config.json is asked first"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[",
        "[]",
        '{"model":{"vocab":[["a",0],',
        '{"model":{"vocab":{"a":1,"b"',
        '{"model":{"vocab":[["a"]]}}',
        '{"model":{"vocab":{"a":"b"}}}',
        '{"model":{"vocab":3}}',
        '{"model":{"vocab":[]},"model":{}}',
        '{"model":{"vocab":[]}',
        '{"model":{"vocab":{"\\ud800<":1}}}',
        '{"added_tokens": ' + "[" * 100_000,
        '{"added_tokens": [' + "9" * 10_000 + "]}",
        "\0",
        '{"model":{"vocab":{"a\x01":0}}}',
        '{"model":{"vocab":{"a":007}}}',
        '{"model":{"vocab":{"a":\v0}}}',
        '{"model":{"vocab":{"\\q":0}}}',
        '{"model":{"vocab":{"a":0,}}}',
        '{"model":{"vocab":[["a",1.2.3]]}}',
        '{"model":{"vocab":{"a":0}}} 1',
        '{"model":{"vocab":{"a":0}}}}',
        *(f'{{"model":{{"vocab":{{"a":0}},"merges":{merges}}}}}'
          for merges in ("{}", "3", "[1]", '["a b",]', '["a b" "c d"]', '[["a"]]', '["\\ud800"]', '["\n"]', "[,]")),
    ],
)  # fmt: skip
def test_what_holds_no_vocabulary_is_trouble_and_no_error(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, tokenizer__json=text)
    assert (found.rows, found.tokens, list(found.trouble)) == (None, {}, ["tokenizer.json"])


@pytest.mark.parametrize("damaged", [b'"a', b"th", b"h e"])
def test_bytes_that_are_no_text_are_trouble_and_merges_are_passed_over(tmp_path: Path, damaged: bytes) -> None:
    merges = ["th e", ["\n", "é"], " ", "]"] * 3
    model = {"type": "BPE", "vocab": {"a": 0, "b": 7}, "merges": merges, "unk_token": None}
    found = read(tmp_path, tokenizer__json=json.dumps(whole(model), indent=1))
    assert (found.rows, found.trouble) == (8, {})
    path = tmp_path / "tokenizer.json"
    path.write_bytes(path.read_bytes().replace(damaged, damaged[:1] + b"\xff"))
    assert list(read(tmp_path).trouble) == ["tokenizer.json"]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"added_tokens": 3}',
        '{"added_tokens_decoder": {"-1": {"content": "x"}, "y": "x", "1e9": "x", "²": "x", "99999999999": "x"}}',
        '{"added_tokens_decoder": [1]}',
        '{"pad_token": 3, "cls_token": {"content": 3}, "mask_token": [], "added_tokens_decoder": {"1": {}}}',
    ],
)
def test_bad_settings_say_nothing(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, tokenizer_config__json=content, special_tokens_map__json=content)
    assert (found.ids, found.tokens, found.vocab_size) == ({}, {}, None)


def test_a_string_without_end_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    found = read(tmp_path, tokenizer__json='{"model":{"vocab":[["' + "a" * (json_stream.SMALL + 100))
    assert "more than" in found.trouble["tokenizer.json"]


def test_a_token_cannot_forge_lines_or_drive_a_terminal(tmp_path: Path) -> None:
    content = '{"added_tokens_decoder": {"1": {"content": "\\n\\u001b[31m"}}}'
    assert read(tmp_path, tokenizer_config__json=content).tokens == {1: "\\n\\x1b[31m"}


def test_a_link_out_is_not_followed(tmp_path: Path) -> None:
    path = build(tmp_path / "checkpoint")
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole(UNIGRAM)))
    (path / "tokenizer.json").symlink_to(tmp_path / "tokenizer.json")
    found = read_tokenizer(open_checkpoint(path))
    assert found.rows is None
    assert "link that leads out" in found.trouble["tokenizer.json"]


def test_a_saved_tokenizer_is_read_as_the_package_reads_it(tmp_path: Path) -> None:
    package = Package(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    package.add_tokens(["c", "b"])
    package.add_special_tokens([AddedToken("<s>", special=True)])
    package.save(str(tmp_path / "tokenizer.json"))
    found = read(tmp_path)
    assert found.tokens == {number: token.content for number, token in package.get_added_tokens_decoder().items()}
    assert found.vocab_size == package.get_vocab_size()


def test_the_sidecars_of_the_tests_are_read(tmp_path: Path) -> None:
    found = read_tokenizer(open_checkpoint(write_sidecars(build(tmp_path), ids=60)))
    assert (found.rows, found.ids) == (60, {"pad": 1, "mask": 4})
    assert found.tokens == {0: "<s>", 1: "<pad>", 2: "</s>", 3: "<unk>", 4: "<mask>"}


@pytest.mark.slow
@pytest.mark.parametrize("indent", [None, 2])
def test_a_vocabulary_longer_than_any_one_value_may_be_is_read(tmp_path: Path, indent: int | None) -> None:
    count = json_stream.SMALL // 24
    pieces = [[f"piece number {number}", -1.0] for number in range(count)]
    text = json.dumps(whole({"type": "Unigram", "unk_id": 0, "vocab": pieces}), indent=indent)
    assert len(text) > json_stream.SMALL
    found = read(tmp_path, tokenizer__json=text)
    assert (found.rows, found.trouble) == (count, {})
