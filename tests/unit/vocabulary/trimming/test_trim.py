"""Trimming keeps what texts use and the tokenizer needs, proves it on every distinct word, and tells what it costs."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import signal
from collections import Counter
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as models_of_tokenizers

from gte_surgery import prover, trim
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.cli.entry import run as run_command
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.findings import Severity
from gte_surgery.gte.schemas import violations
from gte_surgery.vocabulary.trimming import child, choice, texts
from gte_surgery.vocabulary.trimming.child import is_held
from gte_surgery.vocabulary.trimming.texts import parts, texts_of
from gte_surgery.vocabulary.trimming.word_files import escaped, unescaped
from gte_surgery.vocabulary.trimming.workers import started
from tests import builder
from tests.texts import KINDS, encoded, lines, write_tokenizer

SIZE = 1200
WORDS = "new.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = builder.remote_config(vocab_size=SIZE, architectures=["NewForMaskedLM"])
    path = builder.build(tmp_path_factory.mktemp(request.param) / "ckpt", config, "mlm")
    write_tokenizer(path, request.param, SIZE, 2000)
    return path


def texts_file(path: Path, texts: tuple[str, ...]) -> Path:
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def judged(path: Path) -> set[str]:
    """The codes of errors and warnings, but for what a made-up tokenizer lacks."""
    findings = run(open_checkpoint(path)).findings
    return {each.code for each in findings if each.severity > Severity.NOTE} - {"GTE308"}


def tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path / "tokenizer.json"))


def test_counted_texts_give_corresponding_ids_and_the_same_rows(place: Path, tmp_path: Path) -> None:
    texts = lines(1500)
    outcome = trim(place, texts=texts_file(tmp_path / "t.txt", texts), round_to=64, out=tmp_path / "small")
    old, new = tokenizer(place), tokenizer(tmp_path / "small")
    before, after = encoded(old, texts), encoded(new, texts)
    moved = {a: b for one, other in zip(before, after, strict=True) for a, b in zip(one, other, strict=True)}
    assert [[moved[number] for number in ids] for ids in before] == after
    tables = [builder.load(path)[WORDS] for path in (place, tmp_path / "small")]
    assert all((tables[0][a] == tables[1][b]).all() for a, b in moved.items())
    assert len(tables[1]) >= new.get_vocab_size() > len(tables[1]) - 64
    assert new.get_vocab_size() < SIZE
    assert judged(tmp_path / "small") == set()
    assert any("were encoded again, and give the same tokens" in each for each in outcome.plan.meaning)
    assert outcome.plan.command == "trim"


def test_counts_and_the_held_out_figures_are_those_of_an_independent_count(place: Path, tmp_path: Path) -> None:
    texts = lines(1200, 300)
    written = tmp_path / "counts.tsv"
    file = texts_file(tmp_path / "t.txt", texts)
    outcome = trim(place, texts=file, held_out=0.25, write_counts=written, out=tmp_path / "small")
    old, new = tokenizer(place), tokenizer(tmp_path / "small")
    held = [text for text in texts if is_held(text, 2500)]
    counted = Counter(
        number
        for encoding in old.encode_batch([text for text in texts if not is_held(text, 2500)], add_special_tokens=False)
        for number in encoding.ids
    )
    assert dict(map(int, line.replace("\t# ", " ").split()) for line in written.read_text().splitlines()) == counted
    before, after = encoded(old, held), encoded(new, held)
    kept = new.get_vocab()
    moved = [[kept.get(old.id_to_token(number)) for number in ids] for ids in before]
    same = sum(one == other for one, other in zip(moved, after, strict=True))
    more = sum(map(len, after)) - sum(map(len, before))
    (said,) = [each for each in outcome.plan.meaning if "held-out" in each]
    total = sum(map(len, before)) - 2 * len(held)
    assert said.startswith(f"of {len(held):,} held-out texts {100 * same / len(held):.1f} % are cut identically")
    assert f"{100 * more / total:+.2f} % tokens" in said


@pytest.mark.parametrize("wish", [{"top": 700}, {"coverage": 0.97}, {"min_count": 8}])
def test_a_lossy_choice_says_what_it_costs_and_proves_the_rest(
    place: Path, tmp_path: Path, wish: dict[str, float]
) -> None:
    texts = lines(1000)
    outcome = trim(place, texts=texts_file(tmp_path / "t.txt", texts), out=tmp_path / "small", **wish)  # type: ignore[arg-type]
    new = tokenizer(tmp_path / "small")
    if "top" in wish:
        assert 600 < new.get_vocab_size() <= 700
    (said,) = [each for each in outcome.plan.meaning if "use tokens that go" in each]
    same, distinct, changed = (
        int(each.replace(",", "")) for each in re.findall(r"([0-9,]+) (?:of|distinct|use)", said)[:3]
    )
    assert same + changed == distinct
    assert any("they cover" in each for each in outcome.plan.meaning)


def test_counts_of_files_are_summed_and_nothing_is_encoded_again(place: Path, tmp_path: Path) -> None:
    for at in range(2):
        (tmp_path / f"{at}.tsv").write_text(f"{100 + at}\t# 3\n110\t# 2\n")
    outcome = trim(place, counts=[tmp_path / "0.tsv", tmp_path / "1.tsv"], min_count=4, dry_run=True)
    assert "3 of 1,200 tokens occur; 1 of them are kept" in " ".join(outcome.plan.meaning)
    assert any("nothing was encoded again" in each for each in outcome.plan.meaning)


def test_texts_of_a_file_count_as_often_as_its_weight_says(place: Path, tmp_path: Path) -> None:
    files = [texts_file(tmp_path / f"{at}.txt", lines(60, 60 * at)) for at in range(2)]
    counts = tmp_path / "counts.tsv"
    trim(place, texts=files, weight=[3, 1], write_counts=counts, dry_run=True)
    wanted = Counter[int]()
    for weight, at in ((3, 0), (1, 1)):
        for encoding in tokenizer(place).encode_batch(list(lines(60, 60 * at)), add_special_tokens=False):
            wanted.update({number: weight * times for number, times in Counter(encoding.ids).items()})
    assert dict(map(int, line.replace("\t# ", " ").split()) for line in counts.read_text().splitlines()) == wanted


@pytest.mark.slow
def test_the_curve_is_what_each_size_comes_to(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choice, "SIZES", (700, 1000))
    monkeypatch.setattr("gte_surgery.vocabulary.trimming.trim.SIZES", (700, 1000))
    file, counts = texts_file(tmp_path / "t.txt", lines(1000)), tmp_path / "counts.tsv"
    found = trim(place, texts=file, write_counts=counts, dry_run=True).plan
    (point,) = [each for each in found.curve if each.size == 700]
    cut = trim(place, texts=file, top=700, out=tmp_path / "cut")
    assert violations({"receipts": [cut.receipt]}, "receipt") == []
    kept, row = tokenizer(tmp_path / "cut").get_vocab_size(), 32 + 1
    assert (point.kept, point.parameters, point.nbytes) == (kept, (SIZE - kept) * row, (SIZE - kept) * 4 * row)
    assert f"they cover {100 * point.coverage:.3f} % of what was counted" in " ".join(cut.plan.meaning)
    said = f"with --top 700: {100 * point.coverage:.3f} % of the tokens counted, {point.parameters:,} parameters and "
    assert any(each.startswith(said) and each.endswith(" MB fewer") for each in found.meaning)
    page = tmp_path / "curve.html"
    assert run_command(["trim", str(place), "--counts", str(counts), "--dry-run", "--html", str(page), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert violations(value, "plan") == []
    assert [each["size"] for each in value["curve"]] == [each.size for each in found.curve]
    html = page.read_text()
    assert "Coverage by the size of the vocabulary" in html
    assert f"<td>{100 * point.coverage:.3f}</td><td>{point.parameters:,}</td>" in html


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_thousand_lines_are_cut_as_before_and_proved(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = builder.build(tmp_path / "ckpt", builder.native_config(vocab_size=8000))
    write_tokenizer(path, kind, 8000, 20_000)
    texts, prove = lines(20_000, 20_000), prover("cpu")
    outcome = trim(path, texts=texts_file(tmp_path / "t.txt", texts), round_to=64, out=tmp_path / "small", prove=prove)
    old, new = tokenizer(path), tokenizer(tmp_path / "small")
    kept = new.get_vocab()
    for before, after in zip(old.encode_batch(list(texts)), new.encode_batch(list(texts)), strict=True):
        assert [kept[old.id_to_token(number)] for number in before.ids] == after.ids
    assert outcome.receipt is not None
    assert (outcome.receipt["proved"], outcome.receipt["proof"]["largest_difference"]) == (True, 0.0)
    assert judged(tmp_path / "small") == set()


def vocabulary_files(path: Path, kind: str) -> None:
    """The older files of the tokenizer beside tokenizer.json, as programs before it read them."""
    value = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if kind == "WordPiece":
        ordered = sorted(value["vocab"], key=value["vocab"].__getitem__)
        (path / "vocab.txt").write_text("".join(f"{text}\n" for text in ordered), encoding="utf-8")
    if kind == "BPE":
        (path / "vocab.json").write_text(json.dumps(value["vocab"]), encoding="utf-8")
        merges = "".join(f"{left} {right}\n" for left, right in value["merges"])
        (path / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_other_programs_load_the_result_and_agree_with_each_other(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    path = builder.write_sidecars(builder.build(tmp_path / "ckpt", builder.native_config(vocab_size=SIZE)))
    write_tokenizer(path, kind, SIZE, 2000)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    builder.write_json(path / "tokenizer_config.json", {**settings, "tokenizer_class": "PreTrainedTokenizerFast"})
    vocabulary_files(path, kind)
    texts = lines(400)
    small = trim(path, texts=texts_file(tmp_path / "t.txt", texts), round_to=64, out=tmp_path / "small").target
    wanted = encoded(tokenizer(small), texts)
    fast = transformers.AutoTokenizer.from_pretrained(small)
    assert fast(list(texts))["input_ids"] == wanted
    assert judged(small) == set()
    models = [sentence_transformers.SentenceTransformer(str(each), device="cpu") for each in (path, small)]
    assert [models[1].tokenize([text])["input_ids"][0].tolist() for text in texts[:50]] == wanted[:50]
    before, after = (model.encode(list(texts[:50]), batch_size=50) for model in models)
    assert (before == after).all()
    roles = {f"{role}_token": settings[f"{role}_token"] for role in ("cls", "sep", "pad", "unk", "mask")}
    match kind:
        case "WordPiece":
            from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

            slow = BertTokenizerLegacy(str(small / "vocab.txt"), **roles)
            assert [slow(text)["input_ids"] for text in texts] == wanted
        case "BPE":
            vocabulary, merges = (str(small / name) for name in ("vocab.json", "merges.txt"))
            older = Tokenizer(models_of_tokenizers.BPE.from_file(vocabulary, merges))
            older.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            assert [[0, *each.ids, 2] for each in older.encode_batch(list(texts))] == wanted


def test_a_rounding_to_nothing_is_refused(place: Path, tmp_path: Path) -> None:
    texts = texts_file(tmp_path / "t.txt", ["a"])
    for wish in ({"texts": texts}, {"top": 1 << 20}):
        with pytest.raises(UsageError, match=r"^round-to: 0, must be at least 1$"):
            trim(place, round_to=0, **wish)  # type: ignore[arg-type]


def test_a_table_of_which_only_the_place_was_saved_is_refused(tmp_path: Path) -> None:
    path = builder.write_sidecars(builder.build(tmp_path / "ckpt", builder.native_config()))
    words = {"embeddings.word_embeddings.weight": np.zeros(0, np.float32)}
    builder.save(path / "model.safetensors", {**builder.load(path), **words})
    (tmp_path / "t.txt").write_text("w7 w8\n")
    with pytest.raises(RefusedError, match=r"shape \[0\], config needs \[128, 32\]"):
        trim(path, texts=tmp_path / "t.txt")


@pytest.mark.parametrize("round_to", [1, 64])
def test_trimming_twice_changes_nothing(place: Path, tmp_path: Path, round_to: int) -> None:
    file = texts_file(tmp_path / "t.txt", lines(500))
    trim(place, texts=file, round_to=round_to, out=tmp_path / "once")
    assert trim(tmp_path / "once", texts=file, round_to=round_to, dry_run=True).plan.is_empty


def test_the_number_of_workers_changes_nothing(place: Path, tmp_path: Path) -> None:
    file = texts_file(tmp_path / "t.txt", lines(500))
    one, two = (trim(place, texts=file, threads=threads, dry_run=True).plan for threads in (1, 2))
    assert (one.files, one.meaning) == (two.files, two.meaning)


def test_words_that_are_written_down_often_are_counted_the_same(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files that makes, few of them are open at a time."""
    (part,) = parts([texts_file(tmp_path / "t.txt", (*lines(300), "a <mask> in a text"))], None)
    found = []
    for most_words, most_runs in ((child.MOST_WORDS, child.MOST_RUNS), (20, 3)):
        monkeypatch.setattr(child, "MOST_WORDS", most_words)
        monkeypatch.setattr(child, "MOST_RUNS", most_runs)
        monkeypatch.setattr(child, "bound", lambda size: None)
        folder = tmp_path / str(most_words)
        folder.mkdir()
        child.open_tokenizers({"old": place / "tokenizer.json"}, ())
        child.count(part, folder, 0)
        child.flush(folder)
        (words,) = folder.iterdir()
        found.append(words.read_bytes())
    assert found[0] == found[1]
    assert b"Ta <mask> in a text\t1\n" in found[0]


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    found = [int(each) for file in Path(f"/proc/{pid}/task").glob("*/children") for each in file.read_text().split()]
    return [*found, *(other for each in found for other in below(each))]


def test_workers_share_one_opened_tokenizer_their_death_is_told_and_none_is_left(place: Path, tmp_path: Path) -> None:
    before = set(below(os.getpid()))
    with started(3) as workers:
        workers.open({"old": place / "tokenizer.json"}, ())
        texts = [("old", ["a text"], 9)] * 9
        old = [answer for _, answer in workers.each(child.frame, texts)]
        assert len(set(below(os.getpid())) - before) == 4
        workers.open({"new": place / "tokenizer.json"}, ())
        assert len(set(below(os.getpid())) - before) == 1
        assert [answer for _, answer in workers.each(child.frame, [("new", *rest) for _, *rest in texts])] == old
        workers.rest()
        assert [answer for _, answer in workers.each(child.frame, texts)] == old
        (first,) = [pid for pid in below(os.getpid()) if below(pid)]
        os.kill(below(first)[1], signal.SIGABRT)
        with pytest.raises(RefusedError, match="died of reading the texts: SIGABRT"):
            list(workers.each(child.frame, texts))
    assert set(below(os.getpid())) == before


def test_a_tokenizer_that_changes_while_texts_are_counted_is_refused(tmp_path: Path) -> None:
    """The counts are of the one that was opened; cut by them, another one would be another vocabulary."""
    place = builder.build(tmp_path / "ckpt", builder.remote_config(vocab_size=SIZE))
    write_tokenizer(place, "Unigram", SIZE, 2000)
    counted = texts_file(tmp_path / "t.txt", lines(20))

    def progress(done: int, total: int) -> None:
        if total == counted.stat().st_size:
            write_tokenizer(place, "Unigram", SIZE, 1500)

    with pytest.raises(RefusedError, match="changed"):
        trim(place, texts=counted, progress=progress)
    assert not (place / "gte-surgery.json").exists()


def test_too_few_and_unknown_tokens_are_refused(place: Path, tmp_path: Path) -> None:
    file = texts_file(tmp_path / "t.txt", lines(50))
    with pytest.raises(RefusedError, match="this tokenizer needs"):
        trim(place, texts=file, top=10, dry_run=True)
    with pytest.raises(UsageError, match="must be a token of the vocabulary"):
        trim(place, texts=file, keep_tokens=["no such token"], dry_run=True)
    with pytest.raises(UsageError, match="nothing to count"):
        trim(place, dry_run=True)
    with pytest.raises(UsageError, match="weight: 2 of them for 1 files"):
        trim(place, texts=file, weight=[1, 2], dry_run=True)
    with pytest.raises(UsageError, match="are one choice"):
        trim(place, texts=file, top=900, coverage=0.5, dry_run=True)


def test_a_word_that_wordpiece_gave_up_is_given_up_still(tmp_path: Path) -> None:
    """With fewer pieces the longest match is shorter, and a word that was unknown would be cut after all."""
    texts = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "ab", "abc", "##cd", "x", "a", "##b", "##c", "c", "d"]
    model = {"type": "WordPiece", "unk_token": "<unk>", "vocab": {text: at for at, text in enumerate(texts)}}
    model |= {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    path = builder.build(tmp_path / "ckpt", builder.remote_config(vocab_size=len(texts) + 2))
    parts_ = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    whole = {"version": "1.0", **parts_, "pre_tokenizer": {"type": "Whitespace"}, "added_tokens": [], "model": model}
    (path / "tokenizer.json").write_text(json.dumps(whole))
    assert tokenizer(path).encode("abcd").tokens == ["<unk>"], "abc is the longest match, and d has no piece"
    outcome = trim(path, texts=texts_file(tmp_path / "t.txt", ("abcd ab xcd",)), out=tmp_path / "small")
    new = tokenizer(tmp_path / "small")
    assert new.encode("abcd").tokens == ["<unk>"]
    assert "kept for words that would have been cut otherwise: 1" in outcome.plan.meaning


def test_an_added_token_in_a_text_is_cut_as_it_is(place: Path, tmp_path: Path) -> None:
    texts = ("import <mask>sys", "<s>class</s>", "def<unk> x")
    trim(place, texts=texts_file(tmp_path / "t.txt", texts), out=tmp_path / "small")
    old, new = tokenizer(place), tokenizer(tmp_path / "small")
    assert [each.tokens for each in new.encode_batch(list(texts))] == [
        each.tokens for each in old.encode_batch(list(texts))
    ]


FLAGS = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
HOSTILE = {
    "one piece of 250,000 characters": {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a" * 250_000, -1.0]]}},
    "an added token that grows a billion times": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}] * 9,
        },
        "added_tokens": [
            {"id": 9, "content": "a", "special": False, "normalized": True, **FLAGS},
        ],
        "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("members", HOSTILE.values(), ids=list(HOSTILE))
def test_a_tokenizer_that_kills_the_package_is_refused(tmp_path: Path, members: dict[str, object]) -> None:
    path = builder.build(tmp_path / "ckpt")
    parts_ = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    (path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], **parts_, **members}))
    assert judged(path) == set()
    with pytest.raises(RefusedError, match=r"died of opening the tokenizer|gets no new id"):
        trim(path, texts=texts_file(tmp_path / "t.txt", ("a b",)), threads=1, dry_run=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.txt", "one\n\ntwo\r\nthree"),
        ("t.jsonl", '{"text": "one"}\n"two"\n{"text": "three", "x": 1}\n'),
        ("t.csv", 'x,text\n1,one\n2,two\n3,"three"\n'),
    ],
)
def test_texts_are_read_from_files_of_each_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content, newline="")
    for size in (1, 5, 1 << 20):
        monkeypatch.setattr("gte_surgery.vocabulary.trimming.texts.PART", size)
        assert [text for part in parts([tmp_path / name], None) for text in texts_of(part)] == ["one", "two", "three"]


@pytest.mark.parametrize("name", ["t.txt", "t.jsonl", "t.csv", "t.parquet"])
def test_a_file_is_split_over_the_processors_and_nothing_is_read_twice_or_lost(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "PART", 700)
    wanted = [f'{number} ü "{"x," * (number % 7)}' for number in range(300)]
    path = tmp_path / name
    if name == "t.txt":
        path.write_text("\n".join(wanted))
    elif name == "t.jsonl":
        path.write_text("\n".join(json.dumps({"text": text}) for text in wanted))
    elif name == "t.csv":
        wanted = [f"{text}\r\nsecond line" if len(text) % 3 else text for text in wanted]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("n", "text"), *enumerate(wanted), ()])
        path.write_bytes(path.read_bytes() + b"7,\xff\xfe\n")
        wanted.append("\ufffd\ufffd")
    else:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({"n": range(300), "text": wanted}), path, row_group_size=23)
    split = parts([path], None)
    assert len(split) > 4
    found = [list(texts_of(part)) for part in split]
    assert [text for each in found for text in each] == wanted
    assert sum(map(bool, found)) > 4


def test_texts_are_read_from_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"body": ["one", None, "two"]}), tmp_path / "t.parquet")
    assert [text for part in parts([tmp_path / "t.parquet"], "body") for text in texts_of(part)] == ["one", "two"]
    with pytest.raises(RefusedError, match="no column `text`"):
        list(texts_of(parts([tmp_path / "t.parquet"], None)[0]))


def test_halves_of_surrogate_pairs_are_replaced_as_other_bytes_that_are_no_text(tmp_path: Path, place: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a \\ud800 b"}\n"\\ud83d\\ude00 \\udc00"\n')
    assert [text for part in parts([path], None) for text in texts_of(part)] == ["a ? b", "😀 ?"]
    path.write_text('{"query": "\\ud800", "positives": ["\\udfff", [1]]}\n')
    assert list(texts.labelled(path)) == [("?", ["?", [1]])]
    assert trim(place, texts=[path], column="query", top=800, dry_run=True).plan


def test_a_row_of_a_csv_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text\n" + "a " * 100_000 + "\n")
    assert [len(text) for part in parts([tmp_path / "t.csv"], None) for text in texts_of(part)] == [200_000]


def test_a_line_of_json_that_is_too_long_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"text": "a " * 9_000_000}))
    with pytest.raises(RefusedError, match=r"t\.jsonl: byte 0: not a JSON value, must be one a line of at most 16 MiB"):
        list(texts_of(parts([tmp_path / "t.jsonl"], None)[0]))


@pytest.mark.parametrize("is_begun", [False, True])
def test_workers_of_which_the_first_was_killed_refuse(is_begun: bool, tmp_path: Path, place: Path) -> None:
    texts_file(tmp_path / "t.txt", lines(200))
    calls = [(part, tmp_path, 0) for part in parts([tmp_path / "t.txt"], None)]
    with started(1) as workers:
        workers.open({"old": place / "tokenizer.json"}, ())
        if is_begun:
            list(workers.each(child.count, calls))
        workers.rest()
        os.kill(workers.first._process.pid, 9)
        with pytest.raises(RefusedError, match="died of reading the texts: SIGKILL"):
            list(workers.each(child.count, calls))
        workers.rest()


def test_a_trim_within_a_limit_of_memory_of_its_caller_is_done(tmp_path: Path, place: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with started(1) as workers:
        workers.first.call(resource.setrlimit, resource.RLIMIT_AS, (1 << 30, 1 << 30))
        workers.open({"old": place / "tokenizer.json"}, ())
        workers.rest()
        assert workers.first.call(resource.getrlimit, resource.RLIMIT_AS) == (1 << 30, 1 << 30)
    assert resource.getrlimit(resource.RLIMIT_AS) == limits


def test_a_full_disk_is_told_and_no_file_of_texts_blamed(tmp_path: Path, place: Path) -> None:
    texts_file(tmp_path / "t.txt", lines(200))
    with started(1) as workers:
        workers.open({"old": place / "tokenizer.json"}, ())
        for _, pid in workers.each(os.getpid, [()]):  # the words that a child counts go to a device without room
            (tmp_path / f"{pid}-0").symlink_to("/dev/full")
        list(workers.each(child.count, [(part, tmp_path, 0) for part in parts([tmp_path / "t.txt"], None)]))
        with pytest.raises(RefusedError, match=f"^{gettempdir()}: No space left on device"):
            workers.all(child.flush, tmp_path)


def test_what_a_child_fails_of_is_told_with_its_file(tmp_path: Path, place: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(RefusedError, match=r"t\.parquet: "):
        trim(place, texts=[tmp_path / "t.parquet"], top=800, dry_run=True)


def test_a_token_to_keep_that_is_none_is_told_in_few_words(tmp_path: Path, place: Path) -> None:
    (tmp_path / "t.txt").write_text("import sys\n")
    (tmp_path / "kept").write_text("1" * 1_000_000)
    with pytest.raises(UsageError, match="must be a token of the vocabulary") as caught:
        trim(place, texts=[tmp_path / "t.txt"], top=800, keep_tokens=[(tmp_path / "kept").read_text()], dry_run=True)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("word", ["", "a\tb", "\\n", "a\n\\\r\t", "\ud800x", "\\\\t"])
def test_a_word_survives_being_written_down(word: str) -> None:
    assert unescaped(escaped(word)) == word
    assert not set("\n\r\t") & set(escaped(word))
