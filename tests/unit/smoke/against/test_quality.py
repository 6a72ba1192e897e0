"""What became of texts: an exact trim scores 1, and what moves embeddings is caught by the default thresholds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer  # noqa: E402

from gte_surgery import SmokeOptions, load_encoder, smoke, trim  # noqa: E402
from gte_surgery.cli.entry import run  # noqa: E402
from gte_surgery.errors import RefusedError, UsageError  # noqa: E402
from gte_surgery.findings import Location  # noqa: E402
from gte_surgery.gte.schemas import violations  # noqa: E402
from gte_surgery.render.smoke import smoke_text  # noqa: E402
from gte_surgery.smoke.codes import CODES  # noqa: E402
from gte_surgery.smoke.ledger import BrokenRunError  # noqa: E402
from gte_surgery.smoke.result import Quality, SmokeResult  # noqa: E402
from tests import builder  # noqa: E402
from tests.texts import lines, write_tokenizer  # noqa: E402

WORDS = "embeddings.word_embeddings.weight"
WEIGHTS = "model.safetensors"
TEXTS = tuple(" ".join(lines(2, 2 * at)) for at in range(60))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`old`, and `small`, trimmed to the texts in `texts.txt`; `queries.jsonl` asks for two of them each."""
    folder = tmp_path_factory.mktemp("quality")
    old = builder.build(folder / "old", builder.remote_config(vocab_size=1200, initializer_range=0.5))
    write_tokenizer(old, "WordPiece", 1200, 2000)
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    trim(old, texts=folder / "texts.txt", round_to=64, out=folder / "small")
    asked = [
        {"query": " ".join(TEXTS[at].split()[:6]), "positives": [TEXTS[at], TEXTS[at + 1]]} for at in range(0, 40, 2)
    ]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    return folder


def compared(folder: Path, path: Path, **more: Any) -> SmokeResult:
    options = {"texts": folder / "texts.txt", "max_length": 64} | more
    return smoke(path, SmokeOptions(device="cpu", against=folder / "old", **options))


def quality(result: SmokeResult) -> Quality:
    assert result.against is not None
    assert result.against.quality is not None
    return result.against.quality


def codes(result: SmokeResult) -> set[str]:
    return {finding.code for finding in result.findings}


@pytest.mark.slow
def test_an_exact_trim_scores_1_in_everything(folder: Path) -> None:
    result = compared(folder, folder / "small", queries=folder / "queries.jsonl")
    assert result.has_passed
    found = quality(result)
    assert (found.cosine, found.least_cosine, found.neighbours, found.tau) == (1.0, 1.0, 1.0, 1.0)
    assert (found.texts, found.left_out, found.nearest) == (60, 0, 10)
    assert found.tokens_before == found.tokens_after
    assert found.retrieval is not None
    assert found.retrieval.ndcg_before == found.retrieval.ndcg_after
    assert found.retrieval.recall_before == found.retrieval.recall_after > 0


def damaged(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder / "small", tmp_path / "damaged")


def wrong_pooling(path: Path) -> None:
    (path / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (path / "modules.json").write_text(
        json.dumps(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            ]
        )
    )


def shifted_pad(path: Path) -> None:
    """The pad is now id 0, `<s>`, with which every text begins, and its row is zero."""
    builder.change_config(path, pad_token_id=0)
    words = builder.load(path)[WORDS]
    words[0] = 0
    builder.save(path / WEIGHTS, builder.load(path) | {WORDS: words})


def shuffled_table(path: Path) -> None:
    words = builder.load(path)[WORDS]
    order = np.random.default_rng(1).permutation(np.arange(5, len(words)))
    builder.save(path / WEIGHTS, builder.load(path) | {WORDS: np.concatenate([words[:5], words[order]])})


@pytest.mark.parametrize("damage", [wrong_pooling, shifted_pad, shuffled_table])
def test_planted_damage_is_caught_by_the_default_thresholds(damage: Any, folder: Path, tmp_path: Path) -> None:
    path = damaged(folder, tmp_path)
    damage(path)
    result = compared(folder, path)
    assert "GTE590" in codes(result)
    assert codes(result) & {"GTE591", "GTE592"}
    assert quality(result).cosine < 0.99


def test_texts_that_are_cut_are_counted(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "old" / "tokenizer.json"))
    tokenizer.no_truncation()
    lengths = [len(tokenizer.encode(text).ids) for text in TEXTS]
    longest = sorted(lengths)[40]
    result = compared(folder, folder / "small", max_length=longest)
    found = quality(result)
    assert (found.cut, found.longest) == (sum(length > longest for length in lengths), longest)
    assert f", {found.cut} cut to {longest} tokens" in smoke_text(result)
    assert quality(compared(folder, folder / "small", max_length=9000)).longest == 128


@pytest.mark.slow
def test_the_figures_are_those_of_the_encoders_and_numpy(folder: Path, tmp_path: Path) -> None:
    path = damaged(folder, tmp_path)
    words = builder.load(path)[WORDS]
    noise = np.random.default_rng(2).standard_normal(words.shape).astype(np.float32) * 0.05
    builder.save(path / WEIGHTS, builder.load(path) | {WORDS: words + noise})
    found = quality(compared(folder, path))
    vectors = [by_hand(place) for place in (folder / "old", path)]
    near = (vectors[0] * vectors[1]).sum(1)
    assert found.cosine == pytest.approx(near.mean(), abs=1e-5)
    assert found.least_cosine == pytest.approx(near.min(), abs=1e-5)
    sets = []
    for each in vectors:
        scores = each @ each.T
        np.fill_diagonal(scores, -2)
        sets.append([{*row[:10]} for row in np.argsort(-scores, 1)])
    assert found.neighbours == pytest.approx(np.mean([len(a & b) / 10 for a, b in zip(*sets, strict=True)]))
    assert [each.text for each in found.worst] == [TEXTS[at][:160] for at in np.argsort(near)[:10]]
    assert sum(texts for *_, texts in found.histogram) == 60


def by_hand(path: Path) -> np.ndarray:
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)
    encoder = load_encoder(path, "cpu", "float32", "eager")
    with torch.no_grad():
        rows = [encoder.embed({"input_ids": torch.tensor([tokenizer.encode(text).ids])}) for text in TEXTS]
    return torch.cat(rows).double().numpy()


@pytest.mark.slow
def test_ids_serve_where_texts_do_not_and_those_that_went_are_left_out(folder: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "old" / "tokenizer.json"))
    kept = [tokenizer.encode(text).ids for text in TEXTS[:20]]
    small = Tokenizer.from_file(str(folder / "small" / "tokenizer.json")).get_vocab()
    gone = next(number for token, number in tokenizer.get_vocab().items() if token not in small)
    file = tmp_path / "ids.jsonl"
    file.write_text("\n".join(json.dumps({"input_ids": ids}) for ids in [*kept, [0, gone, 2], kept[0]]))
    found = quality(compared(folder, folder / "small", texts=file, column="input_ids"))
    assert (found.texts, found.left_out, found.cut, found.cosine) == (20, 1, 0, 1.0)
    cut = quality(compared(folder, folder / "small", texts=file, column="input_ids", max_length=len(kept[0]) - 1))
    assert cut.cut == sum(len(ids) >= len(kept[0]) for ids in kept)
    assert found.worst[0].text.startswith("ids 0 ")


@pytest.mark.slow
def test_without_a_map_texts_can_still_be_compared_but_not_ids(folder: Path, tmp_path: Path) -> None:
    path = damaged(folder, tmp_path)
    (path / "gte-surgery.json").unlink()
    result = compared(folder, path)
    assert quality(result).cosine == 1.0
    skipped = [proof for proof in result.proofs if proof.outcome == "skipped"]
    assert "nobody knows which ids keep their meaning" in skipped[0].detail
    (tmp_path / "ids.jsonl").write_text('{"text": [0, 5, 2]}\n{"text": [0, 6, 2]}\n')
    with pytest.raises(UsageError, match="nobody knows the new ones"):
        compared(folder, path, texts=tmp_path / "ids.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.txt", "one\n", "1 text that both"),
        ("t.jsonl", '{"text": 3}\n', "no text in `text`"),
        ("t.jsonl", '{"text": []}\n', "no text in `text`"),
        ("t.jsonl", "{\n", "not a JSON value"),
    ],
)
def test_texts_that_are_none_are_refused_with_their_place(
    name: str, content: str, said: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RefusedError, match=said):
        compared(folder, folder / "small", texts=tmp_path / name)


@pytest.mark.parametrize("line", ["3", "{}", '{"query": "a"}', '{"query": "a", "positives": []}',
                                  '{"query": "a", "positives": [3]}', '{"query": 1, "positives": ["a"]}'])  # fmt: skip
def test_a_line_that_is_no_labelled_query_is_refused(line: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(line + "\n")
    with pytest.raises(RefusedError, match="not a query with its positives"):
        compared(folder, folder / "small", queries=tmp_path / "q.jsonl")


def test_positives_that_are_not_found_any_more_are_told(folder: Path, tmp_path: Path) -> None:
    path = damaged(folder, tmp_path)
    words = builder.load(path)[WORDS]
    same = np.concatenate([words[:5], np.repeat(words[5:6], len(words) - 5, 0)])
    builder.save(path / WEIGHTS, builder.load(path) | {WORDS: same})
    result = compared(folder, path, queries=folder / "queries.jsonl")
    retrieval = quality(result).retrieval
    assert retrieval is not None
    fell = {"GTE593": retrieval.ndcg_before - retrieval.ndcg_after > 0.01,
            "GTE594": retrieval.recall_before - retrieval.recall_after > 0.01}  # fmt: skip
    assert {code for code, has_fallen in fell.items() if has_fallen} == codes(result) & fell.keys()
    assert fell["GTE593"]


def test_where_the_texts_were_not_measured_no_page_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise BrokenRunError(CODES["GTE504"].found(Location(), "the device broke"), True)

    monkeypatch.setattr("gte_surgery.smoke.against.run.measure_quality", broken)
    (page := tmp_path / "page.html").write_text("an earlier one")
    line = ["smoke", str(folder / "small"), "--against", str(folder / "old"), "--device", "cpu", "--texts"]
    assert run([*line, str(folder / "texts.txt"), "--html", str(page)]) == 1
    assert f"{page}: not written" in capsys.readouterr().err
    assert page.read_text() == "an earlier one"


@pytest.mark.slow
def test_the_command_prints_writes_a_page_and_follows_its_schema(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    line = ["smoke", str(folder / "small"), "--against", str(folder / "old"), "--device", "cpu", "--texts"]
    line += [str(folder / "texts.txt"), "--queries", str(folder / "queries.jsonl"), "--html", str(page)]
    assert run([*line, "--json"]) == 0
    assert violations(json.loads(capsys.readouterr().out), "smoke") == []
    text = page.read_text()
    assert "Histogram of the cosines" in text
    assert "<script" not in text
    assert text.count("<tr><td>1.000000") >= 10
    assert run(line) == 0
    told = capsys.readouterr().out
    assert "passed  GTE590  embeddings are near, mean cosine" in told
    assert "mean 1.000000, least 1.000000" in told
    assert run([*line, "--min-tau", "2"]) == 2
    assert run(["smoke", str(folder / "small"), "--device", "cpu", "--html", str(page)]) == 2
    assert run([*line[:4], "--device", "cpu", "--queries", "q.jsonl"]) == 2
