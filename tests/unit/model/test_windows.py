"""Tiles see what a sliding window sees, at every length; families pool as they do, and fold without a change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery import SmokeOptions, load_encoder, resize, smoke  # noqa: E402
from gte_surgery.errors import RefusedError  # noqa: E402
from gte_surgery.model.packing import pack_mask  # noqa: E402
from tests import builder  # noqa: E402
from tests.golden.test_families import FOLDER  # noqa: E402

MASK = torch.tensor([[1] * 30, [1] * 7 + [0] * 23, [1] + [0] * 29, [1] * 17 + [0] * 13])


@pytest.mark.parametrize("reach", [0, 1, 3, 8, 9, 40])
def test_tiles_give_what_a_mask_gives(reach: int) -> None:
    packing = pack_mask(MASK)
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(packing.tokens, 2, 4, generator=generator) for _ in range(3))
    tiles = packing.tiles(reach)
    spread = (each.transpose(1, 2) for each in (tiles.spread(query), tiles.around(key), tiles.around(value)))
    attend = torch.nn.functional.scaled_dot_product_attention
    found = tiles.gather(attend(*spread, attn_mask=tiles.bias(torch.float32, 2)).transpose(1, 2))[0]
    row = torch.repeat_interleave(torch.arange(4), torch.tensor(packing.lengths))
    near = (packing.position_ids[0][:, None] - packing.position_ids[0][None]).abs() <= reach
    seen = near & (row[:, None] == row[None])
    wanted = attend(*(each.transpose(0, 1) for each in (query, key, value)), attn_mask=seen).transpose(0, 1)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert packing.tiles(reach) is tiles


def batch() -> dict[str, torch.Tensor]:
    ids = torch.tensor([[5, 6, 7, 8, 9], [9, 10, 0, 0, 0]])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@pytest.mark.parametrize("unpad", [True, False])
def test_the_sentence_vector_of_a_bert_is_the_mean_unless_its_files_say_otherwise(tmp_path: Path, unpad: bool) -> None:
    place = tmp_path / "bert"
    shutil.copytree(FOLDER / "bert-base", place)
    encoder = load_encoder(place, "cpu", "float32", unpad=unpad)
    states = encoder(**batch())
    means = torch.stack([states[0].mean(0), states[1, :2].mean(0)])
    assert torch.allclose(encoder.embed(batch()), torch.nn.functional.normalize(means, dim=-1), atol=1e-6)
    (place / "1_Pooling").mkdir()
    (place / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    first = torch.nn.functional.normalize(states[:, 0], dim=-1)
    assert torch.allclose(load_encoder(place, "cpu", "float32").embed(batch()), first, atol=1e-6)
    (place / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "max"}))
    assert load_encoder(place, "cpu", "float32").pooling == "mean"
    modern = load_encoder(FOLDER / "modernbert-base", "cpu", "float32", unpad=unpad)
    first = torch.nn.functional.normalize(modern(**batch())[:, 0], dim=-1)
    assert torch.allclose(modern.embed(batch()), first, atol=1e-6)


@pytest.mark.parametrize(
    ("stated", "pooling"),
    [
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "lasttoken"}, "cls"),
    ],
)
def test_a_gte_of_2024_is_pooled_as_its_files_say(stated: dict[str, object], pooling: str, tmp_path: Path) -> None:
    place = builder.build(tmp_path / "new", builder.remote_config())
    assert load_encoder(place, "cpu", "float32").pooling == "cls"
    (place / "1_Pooling").mkdir()
    (place / "1_Pooling" / "config.json").write_text(json.dumps(stated))
    encoder = load_encoder(place, "cpu", "float32")
    states = encoder(**batch())
    wanted = states[:, 0] if pooling == "cls" else torch.stack([states[0].mean(0), states[1, :2].mean(0)])
    assert torch.allclose(encoder.embed(batch()), torch.nn.functional.normalize(wanted, dim=-1), atol=1e-6)


def test_the_types_of_a_bert_fold_into_its_words(tmp_path: Path) -> None:
    place = tmp_path / "bert"
    shutil.copytree(FOLDER / "bert-base", place)
    before = load_encoder(place, "cpu", "float32")(**batch())
    with pytest.raises(RefusedError, match="type vocabulary: 0, a BERT model runs with at least 1"):
        resize(place, vocab=256, pad=0, type_vocab=0)
    told = resize(place, vocab=256, pad=0, type_vocab=1).plan.meaning
    assert any("the type table becomes one of zeros" in sentence for sentence in told)
    after = load_encoder(place, "cpu", "float32")
    assert (after(**batch()) - before).abs().max() < 5e-6
    assert not after.model.embeddings.token_type_embeddings.weight.any()  # type: ignore[union-attr]
    assert resize(place, vocab=256, pad=0, type_vocab=1).receipt is None


def test_what_is_not_compiled_says_so() -> None:
    with pytest.raises(RefusedError, match="compile: a BERT model is not compiled here"):
        load_encoder(FOLDER / "bert-base", "cpu", "float32", compile=True)
    told: list[str] = []
    with pytest.raises(RefusedError, match="compile: a ModernBERT model is not compiled here"):
        smoke(FOLDER / "modernbert-base", SmokeOptions(device="cpu", max_length=8, compile=True), told.append)
    assert told == []


def test_a_modernbert_has_no_types(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "modernbert-base", tmp_path / "modern")
    with pytest.raises(RefusedError, match="has no token types"):
        resize(tmp_path / "modern", vocab=256, pad=5, type_vocab=2)
