"""Maps between tokenizers of every family, made here with the tokenizers package itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.vocabulary.origins import row_origins
from gte_surgery.vocabulary.row_map import RowMap
from gte_surgery.vocabulary.token_map import token_map
from gte_surgery.vocabulary.token_text import Cutter, Spelling, Text
from gte_surgery.vocabulary.trimming.words import Words

tokenizers = pytest.importorskip("tokenizers")

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def ids(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


def wordpiece(
    tokens: list[str], special: tuple[str, ...] = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
) -> Tokenizer:
    """As BERT's: lower case, `##` marks a continuation."""
    tokenizer = Tokenizer(models.WordPiece(ids([*special, *tokens]), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def unigram(
    tokens: list[str], *, falls_back: bool = False, special: tuple[str, ...] = ("<s>", "<pad>", "</s>", "<unk>")
) -> Tokenizer:
    """As XLM-R's: `▁` marks the beginning of a word; longer tokens are likelier."""
    names = [*special, *(BYTES if falls_back else []), *tokens]
    scores = [(name, float(len(name)) - 20) for name in names]
    tokenizer = Tokenizer(models.Unigram(scores, special.index("<unk>"), falls_back))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([*special, "<mask>"])
    return tokenizer


def byte_level(merged: list[str], special: tuple[str, ...] = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")) -> Tokenizer:
    """As GPT-2's: every byte is a character, `Ġ` a space; `merged` tokens are built from the left."""
    names = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = []
    for token in merged:
        for end in range(2, len(token) + 1):
            if token[:end] not in names:
                names.append(token[:end])
                merges.append((token[: end - 1], token[end - 1]))
    tokenizer = Tokenizer(models.BPE(ids(names), merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def llama(merged: list[str]) -> Tokenizer:
    """As LLaMA's: BPE over `▁` with single bytes for what has no token."""
    names = ["<unk>", "<s>", "</s>", *BYTES, "▁", *"abcdefghijklmnopqrstuvwxyz"]
    merges = []
    for token in merged:
        for end in range(2, len(token) + 1):
            if token[:end] not in names:
                names.append(token[:end])
                merges.append((token[: end - 1], token[end - 1]))
    tokenizer = Tokenizer(models.BPE(ids(names), merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def mapped(old: Tokenizer, new: Tokenizer, folder: Path) -> tuple[RowMap, dict[str, list[str]]]:
    """The map, and the same in words: the old tokens of which each new one is made."""
    old.save(str(folder / "old.json"))
    new.save(str(folder / "new.json"))
    found = token_map(folder / "old.json", folder / "new.json")
    return found, {
        new.id_to_token(number): [old.id_to_token(row) for row in found.origin(number)] for number in range(found.rows)
    }


def test_shared_tokens_keep_their_rows_and_new_ones_get_their_pieces(tmp_path: Path) -> None:
    old = wordpiece(["the", "un", "##happi", "##ness", "##ing", "do", "##g", "sing"])
    new = wordpiece(["dog", "the", "unhappiness", "##ing", "##happiness", "xyz"], ("[PAD]", "[UNK]", "[CLS]", "[SEP]"))
    found, made = mapped(old, new, tmp_path)
    assert made == {
        "[PAD]": ["[PAD]"], "[UNK]": ["[UNK]"], "[CLS]": ["[CLS]"], "[SEP]": ["[SEP]"], "the": ["the"],
        "dog": ["do", "##g"], "unhappiness": ["un", "##happi", "##ness"], "##ing": ["##ing"],
        "##happiness": ["##happi", "##ness"], "xyz": [],
    }  # fmt: skip
    assert found.rows == 10
    assert found.coverage == (
        "coverage: 9 of 10 new tokens (90.0 %) have old rows: 6 shared, 0 special ones of the same part, "
        "3 cut into pieces (2.3 on average)",
        "tokens without an old row: `xyz`",
    )
    assert found.record["from_tokenizer"] == str(tmp_path / "old.json")


def test_the_beginning_of_a_word_is_respected_between_families(tmp_path: Path) -> None:
    old = wordpiece(["sing", "##ing", "##s", "i", "##n", "##g", "s"])
    new = unigram(["▁sing", "▁", "ing", "▁sings", "s"])
    _, made = mapped(old, new, tmp_path)
    assert made["▁sing"] == ["sing"]
    assert made["ing"] == ["##ing"]
    assert made["▁sings"] == ["sing", "##s"]
    assert made["s"] == ["s"]  # the same string is the same token
    assert made["▁"] == []
    _, back = mapped(new, old, tmp_path)
    assert back["sing"] == ["▁sing"]
    assert back["##ing"] == ["ing"]
    assert back["##s"] == ["s"]
    assert back["##g"] == []


def test_special_tokens_take_the_rows_of_those_that_play_their_part(tmp_path: Path) -> None:
    found, made = mapped(wordpiece(["a"]), unigram(["▁a"]), tmp_path)
    assert [made[token] for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")] == [
        ["[CLS]"], ["[PAD]"], ["[SEP]"], ["[UNK]"], ["[MASK]"],
    ]  # fmt: skip
    assert "5 special ones of the same part" in found.coverage[0]
    assert "special tokens that take the row of their old counterpart: `<s>`" in found.coverage[1]


def test_added_tokens_are_text_and_special_ones_are_not(tmp_path: Path) -> None:
    old = wordpiece(["new", "##york", "york", "[", "]", "query"])
    new = wordpiece(["a"])
    new.add_tokens(["newyork", AddedToken("new york", normalized=False)])
    new.add_special_tokens(["[query]"])
    _, made = mapped(old, new, tmp_path)
    assert made["newyork"] == ["new", "##york"]
    assert made["new york"] == ["new", "york"]
    assert made["[query]"] == []


def test_an_added_token_of_the_old_tokenizer_keeps_its_row(tmp_path: Path) -> None:
    old, new = wordpiece(["a"]), wordpiece(["b"])
    old.add_special_tokens(["[query]"])
    new.add_special_tokens(["[doc]", "[query]"])
    _, made = mapped(old, new, tmp_path)
    assert made["[query]"] == ["[query]"]
    assert made["[doc]"] == []


def test_what_the_old_tokenizer_does_not_know_becomes_its_bytes_where_it_has_them(tmp_path: Path) -> None:
    new = unigram(["▁漢", "漢a", "▁a"])
    _, made = mapped(unigram(["▁", "a", "▁a"], falls_back=True), new, tmp_path)
    assert made["漢a"] == ["<0xE6>", "<0xBC>", "<0xA2>", "a"]
    assert made["▁漢"] == ["▁", "<0xE6>", "<0xBC>", "<0xA2>"]
    _, made = mapped(llama(["▁a"]), new, tmp_path)
    assert made["漢a"] == ["<0xE6>", "<0xBC>", "<0xA2>", "a"]
    _, made = mapped(unigram(["▁", "a"]), new, tmp_path)
    assert made["漢a"] == ["a"]  # what is unknown is left out
    assert made["▁a"] == ["▁", "a"]


def test_byte_tokens_are_bytes_in_every_family(tmp_path: Path) -> None:
    old = byte_level(["Ġhello"])
    new = unigram(["▁hello", "hello", "▁hel"], falls_back=True)
    _, made = mapped(old, new, tmp_path)
    assert made["▁hello"] == ["Ġhello"]
    assert made["hello"] == ["h", "e", "l", "l", "o"]
    assert made["▁hel"] == ["Ġhel"]
    assert made["<0x41>"] == ["A"]
    assert made["<0xE6>"] == ["æ"]  # the byte as byte-level BPE writes it
    assert made["<0x20>"] == ["Ġ"]
    _, back = mapped(new, old, tmp_path)
    assert back["Ġhello"] == ["▁hello"]
    assert back["æ"] == ["<0xE6>"]
    _, same = mapped(unigram(["a"], falls_back=True), unigram(["b"], falls_back=True), tmp_path)
    assert all(same[byte] == [byte] for byte in BYTES)


def test_a_token_of_some_bytes_of_a_character_is_cut_into_those(tmp_path: Path) -> None:
    part = Spelling(begins="Ġ", is_bytes=True)
    assert part.read("æ¼").content == b"\xe6\xbc"
    new = byte_level(["æ¼"])
    _, made = mapped(unigram(["a"], falls_back=True), new, tmp_path)
    assert made["æ¼"] == ["<0xE6>", "<0xBC>"]
    _, made = mapped(byte_level(["Ġa"]), new, tmp_path)
    assert made["æ¼"] == ["æ", "¼"]
    _, made = mapped(wordpiece(["a"]), new, tmp_path)
    assert made["æ¼"] == []


def test_the_old_tokenizer_normalises_before_it_cuts(tmp_path: Path) -> None:
    _, made = mapped(wordpiece(["the", "##m", "don", "'", "t"]), unigram(["▁The", "▁THEM", "▁don't"]), tmp_path)
    assert made["▁The"] == ["the"]
    assert made["▁THEM"] == ["the", "##m"]
    assert made["▁don't"] == ["don", "'", "t"]


def test_a_tokenizer_without_marks_is_cut_as_the_text_it_is(tmp_path: Path) -> None:
    codons = Tokenizer(models.WordLevel(ids(["[UNK]", "A", "C", "G", "T"]), unk_token="[UNK]"))
    codons.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    longer = Tokenizer(models.WordLevel(ids(["[UNK]", "ACG", "TTT", "N"]), unk_token="[UNK]"))
    _, made = mapped(codons, longer, tmp_path)
    assert made == {"[UNK]": ["[UNK]"], "ACG": ["A", "C", "G"], "TTT": ["T", "T", "T"], "N": []}


def test_spellings_are_told_from_the_parts_of_a_tokenizer() -> None:
    assert Spelling.of(wordpiece(["a"])) == Spelling(continues="##")
    assert Spelling.of(unigram(["a"])) == Spelling(begins="▁")
    assert Spelling.of(llama([])) == Spelling(begins="▁")
    assert Spelling.of(byte_level([])) == Spelling(begins="Ġ", is_bytes=True)
    suffixed = Tokenizer(models.BPE({"a": 0, "a</w>": 1}, [], end_of_word_suffix="</w>"))
    assert Spelling.of(suffixed) == Spelling(ends="</w>")
    assert Spelling.of(suffixed).read("a</w>") == Text(b"a", None)


def test_a_cut_of_a_whole_word_is_what_the_tokenizer_itself_makes() -> None:
    for tokenizer in (
        wordpiece(["play", "##ing", "##s", "p"]), unigram(["▁play", "ing", "s", "▁p", "l", "a", "y"]), llama(["▁play"]),
        byte_level(["play", "ing"]),
    ):  # fmt: skip
        cutter = Cutter(tokenizer)
        for word in ("playing", "plays", "play"):
            begins = Spelling.of(tokenizer).begins != "Ġ"
            assert list(cutter.cut(Text(word.encode(), begins))) == tokenizer.encode(word, add_special_tokens=False).ids


def test_a_hole_in_the_new_vocabulary_has_no_origin(tmp_path: Path) -> None:
    new = Tokenizer(models.WordLevel({"a": 0, "b": 5}, unk_token="a"))
    found, _ = mapped(wordpiece(["a", "b"]), new, tmp_path)
    assert found.rows == 6
    assert list(found.new) == [0, 5]


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    wordpiece(["a"]).save(str(tmp_path / "good.json"))
    (tmp_path / "bad.json").write_text('{"model": 1}')
    with pytest.raises(RefusedError, match=r"bad.json: not a tokenizer.json"):
        token_map(tmp_path / "good.json", tmp_path / "bad.json")
    with pytest.raises(UsageError, match="no such file"):
        row_origins(tmp_path, from_tokenizer=tmp_path / "absent.json", to_tokenizer=tmp_path / "good.json")


def test_without_the_package_the_hint_says_how_to_get_it(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from gte_surgery.cli.entry import run\n"
        "sys.exit(run(['remap', 'ckpt', '--from-tokenizer', 'old.json', '--to-tokenizer', 'new.json']))"
    )
    (tmp_path / "old.json").touch()
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert "error: tokenizers: cannot be imported" in ran.stderr
    assert "hint: `pip install 'gte-surgery[tokenizers]'`" in ran.stderr


def test_whatever_opens_a_tokenizer_says_how_to_get_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(RefusedError, match=r"^tokenizers: cannot be imported") as refused:
        Words(tmp_path / "tokenizer.json", ())
    assert refused.value.hint == "`pip install 'gte-surgery[tokenizers]'`"
