"""BERT and ModernBERT against transformers' own models: names, shapes and counts of every release, first moments of
fresh weights, and whatever `save_pretrained` writes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.18")

from safetensors.torch import load_file  # noqa: E402

from gte_surgery import check, load_encoder, new, open_checkpoint  # noqa: E402
from gte_surgery.checks.description import describe  # noqa: E402
from gte_surgery.gte.families import read_config, releases  # noqa: E402
from gte_surgery.gte.kinds import SUFFIXES, Dialect, Head  # noqa: E402

OURS = [name for name, (family, _) in releases().items() if family.name in ("BERT", "ModernBERT")]
SMALL = {"layers": 4, "hidden": 64, "heads": 4, "intermediate": 96, "vocab": 640, "pad": 3, "dtype": "F32"}
HEADS = {"none": Head.NONE, "mlm": Head.MASKED_LM, "reranker": Head.SEQUENCE_CLASSIFICATION}
HEADS |= {"classifier": Head.TOKEN_CLASSIFICATION}


def theirs(members: dict[str, Any]) -> Any:
    """transformers' own model of a config.json, without storage."""
    named = str(members["architectures"][0])
    stem = named.removesuffix(next(end for end in SUFFIXES.values() if named.endswith(end)))
    known = {key: value for key, value in members.items() if key != "dtype"}
    with torch.device("meta"):
        return getattr(transformers, named)(getattr(transformers, f"{stem}Config")(**known))


def test_there_are_eight_of_them() -> None:
    assert len(OURS) == 8
    assert len(releases()) == 16


@pytest.mark.parametrize("name", OURS)
def test_a_release_has_the_tensors_of_the_model_that_transformers_builds(name: str) -> None:
    family, release = releases()[name]
    members = family.release_config(release, Dialect.NATIVE)
    specs = family.published(read_config(members), release.layout, release.head)
    model = theirs(members)
    assert {spec.name: spec.shape for spec in specs} == {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert (len(specs), sum(spec.size for spec in specs)) == (release.tensors, release.parameters)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("release", ["gte-base", "gte-modernbert-base"])
def test_fresh_weights_have_the_moments_of_their_initialisation(release: str, head: Any, tmp_path: Path) -> None:
    made = new(tmp_path / "ours", release=release, head=head, **SMALL).target  # type: ignore[arg-type]
    members = json.loads((made / "config.json").read_text())
    model = theirs(members)
    torch.manual_seed(5)
    model.to_empty(device="cpu")
    model.init_weights()
    model.tie_weights()
    ours, wanted = load_file(made / "model.safetensors"), dict(model.named_parameters())
    assert ours.keys() == wanted.keys()
    for name, tensor in ours.items():
        mine, other = (each.detach().double().flatten().numpy() for each in (tensor, wanted[name]))
        size = len(mine)
        if mine.std() == 0:
            assert np.array_equal(mine, other), name
            continue
        assert abs(mine.mean() - other.mean()) < 5 * other.std() * math.sqrt(2 / size), name
        assert abs(mine.std() / other.std() - 1) < 5 / math.sqrt(size), name
        assert size < 4096 or abs(np.abs(mine).max() / np.abs(other).max() - 1) < 0.35, name


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("release", ["gte-base", "gte-modernbert-base"])
@pytest.mark.parametrize("way", ["whole", "sharded", "half", "its own names"])
def test_what_transformers_saves_is_read(release: str, head: str, way: str, tmp_path: Path) -> None:
    made = new(tmp_path / "ours", release=release, head=head, **SMALL).target  # type: ignore[arg-type]
    named = json.loads((made / "config.json").read_text())["architectures"][0]
    model = getattr(transformers, named).from_pretrained(made, dtype=torch.float16 if way == "half" else torch.float32)
    saved = tmp_path / "theirs"
    shards = "100KB" if way == "sharded" else "5GB"
    model.save_pretrained(saved, max_shard_size=shards, save_original_format=way != "its own names")
    told, ours = describe(open_checkpoint(saved)), describe(open_checkpoint(made))
    assert (told.head, told.layout, told.parameters) == (HEADS[head].value, ours.layout, ours.parameters)
    assert [f.code for f in check(open_checkpoint(saved)).findings if f.severity.value == "error"] == []
    batch = {
        "input_ids": torch.tensor([[5, 6, 7, 8], [9, 10, 3, 3]]),
        "attention_mask": torch.tensor([[1] * 4, [1, 1, 0, 0]]),
    }
    encoder = load_encoder(saved, device="cpu", dtype="float32", attention="eager")
    body = getattr(model, model.base_model_prefix, model).float().eval()
    with torch.no_grad():
        wanted = body(**batch).last_hidden_state[batch["attention_mask"].bool()]
        assert (encoder(**batch)[batch["attention_mask"].bool()] - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("release", ["gte-base", "gte-modernbert-base"])
def test_a_body_saved_alone_and_a_head_put_on_one_are_read(release: str, tmp_path: Path) -> None:
    whole = new(tmp_path / "whole", release=release, head="mlm", **SMALL).target  # type: ignore[arg-type]
    bare = new(tmp_path / "bare", release=release, **SMALL).target  # type: ignore[arg-type]
    named = [json.loads((each / "config.json").read_text())["architectures"][0] for each in (whole, bare)]
    of_head, of_body = (getattr(transformers, name) for name in named)
    of_body.from_pretrained(whole).save_pretrained(tmp_path / "body")
    of_head.from_pretrained(bare).save_pretrained(tmp_path / "head")
    for name, alike in (("body", bare), ("head", whole)):
        told, ours = describe(open_checkpoint(tmp_path / name)), describe(open_checkpoint(alike))
        assert (told.head, told.layout) == (ours.head, ours.layout)
        assert [f.code for f in check(open_checkpoint(tmp_path / name)).findings if f.severity.value == "error"] == []


def test_a_config_of_a_bert_as_transformers_4_wrote_it_means_the_same() -> None:
    family, release = releases()["gte-base"]
    written = family.release_config(release, Dialect.NATIVE)
    before = {key: value for key, value in written.items() if key not in ("dtype", "tie_word_embeddings")}
    before |= {"torch_dtype": "float16", "gradient_checkpointing": False, "transformers_version": "4.57.6"}
    assert read_config(before) == read_config(written)
    assert before.keys() <= (family.known_keys or frozenset())


def test_a_config_of_transformers_4_means_the_same_as_one_of_transformers_5() -> None:
    family, release = releases()["gte-modernbert-base"]
    written = family.release_config(release, Dialect.NATIVE)
    before = {key: value for key, value in written.items() if key not in ("layer_types", "rope_parameters")}
    before |= {"global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "global_attn_every_n_layers": 3}
    assert read_config(before) == read_config(written)
    assert theirs(before).config.rope_parameters == written["rope_parameters"]
    odd = before | {"global_rope_theta": 80000.0, "local_rope_theta": 5000.0}
    found = read_config(odd)
    assert found.local_rope is not None
    assert (found.rope.theta, found.local_rope.theta) == (80000.0, 5000.0)
    nested = theirs(odd).config.rope_parameters
    assert [nested[kind]["rope_theta"] for kind in ("full_attention", "sliding_attention")] == [80000.0, 5000.0]
