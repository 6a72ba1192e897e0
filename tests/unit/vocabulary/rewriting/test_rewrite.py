"""A tokenizer rewritten to other ids cuts what it keeps as before, in all its files, and changes nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary import classes
from gte_surgery.vocabulary.rewriting.closure import passed_through
from gte_surgery.vocabulary.rewriting.rewrite import Source, load, rewritten, settings_alone
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from tests.builder import build
from tests.texts import KINDS, encoded, lines, write_tokenizer


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = build(tmp_path_factory.mktemp(request.param))
    write_tokenizer(path, request.param, 1200, 2000)
    return path


def source(path: Path) -> Source:
    return load(open_checkpoint(path))


def closed(found: Source, kept: Iterable[int]) -> list[int]:
    """The ids and those that the tokenizer needs beside them, ascending."""
    wanted = {*kept, *found.needed}
    return sorted({*wanted, *passed_through(found.contents, wanted)})


def dense(kept: Iterable[int]) -> dict[int, int]:
    return {old: new for new, old in enumerate(kept)}


def written(path: Path, files: Mapping[str, bytes]) -> Tokenizer:
    path.mkdir(exist_ok=True)
    for name, raw in files.items():
        (path / name).write_bytes(raw)
    return Tokenizer.from_file(str(path / "tokenizer.json"))


def test_every_text_whose_tokens_are_kept_is_cut_as_before(place: Path, tmp_path: Path) -> None:
    found, old = source(place), Tokenizer.from_file(str(place / "tokenizer.json"))
    used = encoded(old, lines(500))
    new_ids = dense(closed(found, {number for ids in used for number in ids}))
    assert len(new_ids) < len(found.contents.texts)
    new = written(tmp_path, rewritten(found, new_ids))
    texts = lines(3000)
    before = encoded(old, texts)
    kept = [at for at, ids in enumerate(before) if all(number in new_ids for number in ids)]
    assert set(range(500)) <= set(kept)
    assert len(kept) > 600
    after = encoded(new, [texts[at] for at in kept])
    assert after == [[new_ids[number] for number in before[at]] for at in kept]


@given(seed=st.integers(0, 2**32), share=st.floats(0.05, 1.0), shuffled=st.booleans())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rewriting_then_encoding_is_encoding_then_mapping(
    place: Path, tmp_path: Path, seed: int, share: float, shuffled: bool
) -> None:
    found, old = source(place), Tokenizer.from_file(str(place / "tokenizer.json"))
    order, texts = random.Random(seed), lines(400, 1000)
    chosen = [number for number in found.contents.texts if order.random() < share]
    kept = closed(found, chosen)
    if shuffled:
        order.shuffle(kept)
    new_ids = dense(kept)
    same = {"tokenizer.json": (place / "tokenizer.json").read_bytes()}
    new = written(tmp_path, same | rewritten(found, new_ids))
    before = encoded(old, texts)
    whole = [at for at, ids in enumerate(before) if all(number in new_ids for number in ids)]
    unknown = found.contents.unknown
    whole = [at for at in whole if unknown is None or unknown not in before[at] or found.contents.is_scored]
    assert encoded(new, [texts[at] for at in whole]) == [[new_ids[n] for n in before[at]] for at in whole]


def test_the_identity_changes_no_byte(place: Path) -> None:
    found = source(place)
    assert rewritten(found, {number: number for number in found.contents.texts}) == {}


def test_two_rewrites_are_the_composed_one(place: Path, tmp_path: Path) -> None:
    found = source(place)
    first = dense(closed(found, [number for number in found.contents.texts if number % 3]))
    half = {name: (place / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}
    written(build(tmp_path / "half"), half | rewritten(found, first))
    between = source(tmp_path / "half")
    second = dense(reversed(closed(between, [number for number in between.contents.texts if number % 2])))
    assert rewritten(between, second) == rewritten(
        found, {old: second[new] for old, new in first.items() if new in second}
    )


def test_all_else_stays(place: Path, tmp_path: Path) -> None:
    found = source(place)
    new_ids = dense(reversed(closed(found, [number for number in found.contents.texts if number % 2])))
    written(tmp_path, rewritten(found, new_ids))
    old, new = (json.loads((path / "tokenizer.json").read_text()) for path in (place, tmp_path))
    for members in (old, new):
        for key in ("vocab", "merges", "unk_id"):
            members["model"].pop(key, None)
        for key in ("added_tokens", "post_processor"):
            members.pop(key)
    assert new == old
    decoder = json.loads((tmp_path / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    texts = found.contents.texts
    assert {int(key): value["content"] for key, value in decoder.items()} == {
        new_ids[number]: texts[number] for number in range(5)
    }


def test_however_the_file_is_written_the_same_is_rewritten(place: Path, tmp_path: Path) -> None:
    """With special tokens that are no ASCII, as they are or escaped, on a line or on many."""
    value = json.loads((place / "tokenizer.json").read_text("utf-8").replace("</s>", "</é\U0001f600>"))
    forms = [{"ensure_ascii": ascii, "indent": indent} for ascii in (True, False) for indent in (None, 1)]
    found = []
    for at, form in enumerate(forms):
        path = build(tmp_path / str(at))
        (path / "tokenizer.json").write_text(json.dumps(value, **form), "utf-8")
        here = source(path)
        kept = closed(here, [number for number in here.contents.texts if number % 2])
        raw = rewritten(here, dense(reversed(kept)))["tokenizer.json"]
        assert json.dumps(json.loads(raw), **form).encode() == raw
        found.append(json.loads(raw))
    assert found == found[:1] * 4
    assert found[0] != value


def test_what_is_needed_is_refused_by_name(place: Path) -> None:
    found = source(place)
    with pytest.raises(RefusedError, match=r"`<s>` \(0\) gets no new id, and the post-processor holds it"):
        rewritten(found, {number: number - 1 for number in found.contents.texts if number})


def test_a_gap_is_refused_where_ids_are_counted(place: Path) -> None:
    found = source(place)
    new_ids = {number: number + 5 for number in found.contents.texts}
    if found.contents.is_scored:
        with pytest.raises(RefusedError, match="new id 0 has no token"):
            rewritten(found, new_ids)
    else:
        assert list(rewritten(found, new_ids)) == ["tokenizer.json", "tokenizer_config.json"]


FILES: dict[str, tuple[object, object]] = {
    "vocab.txt": ("<s>\n<pad>\n</s>\n<unk>\n<mask>\na\nb\n", "<s>\n<pad>\n</s>\n<unk>\n<mask>\nb\n"),
    "vocab.json": ('{"<s>":0,"a":5,"b":6,"<mask>":4}', '{"<s>":0,"<mask>":4,"b":5}'),
    "merges.txt": ("#version: 0.2\na b\nb b\n", "#version: 0.2\n"),
    "added_tokens.json": ('{\n  "<mask>": 4,\n  "a": 5,\n  "b": 6\n}\n', '{\n  "<mask>": 4,\n  "b": 5\n}\n'),
}


@pytest.mark.parametrize(("name", "before", "after"), [(name, *pair) for name, pair in FILES.items()])
def test_older_files_follow(tmp_path: Path, name: str, before: str, after: str) -> None:
    texts = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b"]
    model = {"type": "WordLevel", "vocab": {text: at for at, text in enumerate(texts)}, "unk_token": "<unk>"}
    (build(tmp_path) / "tokenizer.json").write_text(json.dumps({"added_tokens": [], "model": model}))
    (tmp_path / name).write_text(before)
    new = rewritten(source(tmp_path), {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 6: 5})
    assert new[name].decode() == after


def test_a_key_of_thousands_of_digits_is_no_id(tmp_path: Path) -> None:
    decoder = {"9" * 5000: {"content": "<x>"}, "1": {"content": "<y>"}}
    (build(tmp_path) / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    files = settings_alone(open_checkpoint(tmp_path), {1: 0})
    assert json.loads(files["tokenizer_config.json"]) == {"added_tokens_decoder": {"0": {"content": "<y>"}}}


def test_what_is_no_id_in_an_older_file_goes(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1, "b": 2}, "unk_token": "<unk>"}
    (build(tmp_path) / "tokenizer.json").write_text(json.dumps({"added_tokens": [], "model": model}))
    (tmp_path / "added_tokens.json").write_text('{"<x>": [1], "b": 2, "<y>": true}')
    assert rewritten(source(tmp_path), {0: 0, 2: 1})["added_tokens.json"] == b'{"b": 1}'


@pytest.mark.parametrize("odd", [{"content": "<unk>"}, "<unk>"])
def test_an_added_token_that_states_no_id_is_refused(tmp_path: Path, odd: object) -> None:
    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1, "b": 2}, "unk_token": "<unk>"}
    added = [{"id": 0, "content": "<unk>"}, odd]
    (build(tmp_path) / "tokenizer.json").write_text(json.dumps({"added_tokens": added, "model": model}))
    with pytest.raises(RefusedError, match=r"^tokenizer.json: /added_tokens/1: `<unk>` states no id"):
        rewritten(source(tmp_path), {0: 0, 2: 1})


def test_a_piece_whose_type_is_no_number_is_refused(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1, "b": 2}, "unk_token": "<unk>"}
    (build(tmp_path) / "tokenizer.json").write_text(json.dumps({"added_tokens": [], "model": model}))
    (tmp_path / "spiece.model").write_bytes(b"\x0a\x05\x0a\x01a\x1a\x00")
    with pytest.raises(RefusedError, match=r"spiece\.model: cannot be rewritten: the type of a piece is no number"):
        rewritten(source(tmp_path), {0: 0, 2: 1})


def test_a_sentencepiece_model_follows_and_loads(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(lines(2000)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(tmp_path / "m"), vocab_size=600, minloglevel=2, character_coverage=1.0
    )
    before = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    pieces = [(before.id_to_piece(at), before.get_score(at)) for at in range(before.get_piece_size())]
    vocabulary = [["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], *map(list, pieces[3:]), ["<mask>", 0.0]]
    path = build(tmp_path / "ckpt")
    model = {"type": "Unigram", "unk_id": 3, "vocab": vocabulary}
    (path / "tokenizer.json").write_text(json.dumps({"added_tokens": [], "model": model}))
    (path / "sentencepiece.bpe.model").write_bytes((tmp_path / "m.model").read_bytes())
    found = source(path)
    ids = {number + 1 for line in lines(100) for number in before.encode(line)}
    kept = closed(found, {*ids, 0, 1, 2, 3, len(vocabulary) - 1})
    new_ids = dense(kept)
    files = rewritten(found, new_ids)
    (tmp_path / "new.model").write_bytes(files["sentencepiece.bpe.model"])
    after = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "new.model"))
    assert after.get_piece_size() < before.get_piece_size()
    for line in lines(100):
        assert [number + 1 for number in after.encode(line)] == [new_ids[number + 1] for number in before.encode(line)]


def test_what_is_rewritten_is_read_again(place: Path, tmp_path: Path) -> None:
    found = source(place)
    new_ids = dense(closed(found, range(900)))
    written(build(tmp_path), rewritten(found, new_ids))
    checkpoint: Checkpoint = open_checkpoint(tmp_path)
    assert read_tokenizer(checkpoint).vocab_size == len(new_ids)


@pytest.mark.parametrize(("model_type", "replaced"), [("bert", True), ("modernbert", False)])
def test_a_class_that_is_not_taken_replaces_nothing(model_type: str, replaced: bool, tmp_path: Path) -> None:
    """Of a ModernBERT transformers takes the tokenizer as it is filed, whatever class is named."""
    path = build(tmp_path)
    write_tokenizer(path, "WordPiece", 600, 500)
    for name, stated in (
        ("config.json", {"model_type": model_type}),
        ("tokenizer_config.json", {"do_lower_case": True}),
    ):
        members = json.loads((path / name).read_text()) | stated | {"tokenizer_class": "BertTokenizer"}
        (path / name).write_text(json.dumps(members))
    tokenizer = json.loads((path / "tokenizer.json").read_text()) | {"normalizer": None}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    found = source(path)
    assert any(classes.replaced(found.checkpoint, found.contents.whole.members)) is replaced
