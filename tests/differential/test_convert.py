"""Conversions beside programs that are not ours: transformers' saved names, torch's casts, Hugging Face's shards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.errors import RefusedError
from gte_surgery.surgery.pieces.piece import Fill
from gte_surgery.surgery.planning.parts.sharding import fill_shards
from gte_surgery.surgery.planning.plan import PlannedTensor
from gte_surgery.surgery.verbs import convert, new
from tests import builder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.18")

HEADS = {
    "none": ("legacy-base", "GteModel"),
    "mlm": ("legacy-mlm", "GteForMaskedLM"),
    "classifier": ("legacy-multilingual", "GteForTokenClassification"),
    "reranker": ("legacy-reranker", "GteForSequenceClassification"),
}


def saved_variants(case: str, model_class: str, golden: Path, tmp_path: Path) -> dict[str, Path]:
    """The golden checkpoint, its native conversion, and what transformers makes of that: other layouts."""
    source = tmp_path / "source"
    shutil.copytree(golden / case, source)
    variants = {"published": golden / case}
    convert(source, to="native")
    variants["native"] = source
    model = getattr(transformers, model_class).from_pretrained(source)
    model.save_pretrained(tmp_path / "resaved")
    model.save_pretrained(tmp_path / "renamed", save_original_format=False)
    fresh = getattr(transformers, model_class)(model.config)
    fresh.load_state_dict(model.state_dict())
    fresh.save_pretrained(tmp_path / "scratch")
    return variants | {name: tmp_path / name for name in ("resaved", "renamed", "scratch")}


@pytest.mark.parametrize("head", list(HEADS))
def test_every_layout_of_one_network_converges_to_the_same_bytes(head: str, golden: Path, tmp_path: Path) -> None:
    case, model_class = HEADS[head]
    variants = saved_variants(case, model_class, golden, tmp_path)
    layout: Any = "a" if head == "none" else "b"
    for name, folder in variants.items():
        convert(folder, to="native", layout=layout, out=tmp_path / f"converted-{name}")
    wanted = (golden / case / "model.safetensors").read_bytes()
    assert {
        name: (tmp_path / f"converted-{name}" / "model.safetensors").read_bytes() == wanted for name in variants
    } == (dict.fromkeys(variants, True))


def test_a_masked_lm_made_from_a_bare_checkpoint_gets_the_published_names(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "legacy-base", tmp_path / "bare")
    convert(tmp_path / "bare", to="native")
    transformers.GteForMaskedLM.from_pretrained(tmp_path / "bare").save_pretrained(tmp_path / "e")
    assert "lm_head.layer_norm.weight" in builder.load(tmp_path / "e")
    convert(tmp_path / "e", to="native", layout="b")
    names = set(builder.load(tmp_path / "e"))
    assert names == set(builder.load(golden / "legacy-mlm"))
    _, loading = transformers.GteForMaskedLM.from_pretrained(tmp_path / "e", output_loading_info=True)
    assert {key: value for key, value in loading.items() if value} == {}


@pytest.mark.parametrize("layout", ["b", "d", "f"])
def test_every_layout_can_be_chosen_loads_and_leads_back(layout: str, golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "legacy-mlm", tmp_path / "ckpt")
    convert(tmp_path / "ckpt", to="native", layout=layout)  # type: ignore[arg-type]
    _, loading = transformers.GteForMaskedLM.from_pretrained(tmp_path / "ckpt", output_loading_info=True)
    assert {key: value for key, value in loading.items() if value} == {}
    convert(tmp_path / "ckpt", layout="b")
    wanted = (golden / "legacy-mlm" / "model.safetensors").read_bytes()
    assert (tmp_path / "ckpt" / "model.safetensors").read_bytes() == wanted


def test_layouts_that_do_not_fit_the_head_are_refused(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "legacy-mlm", tmp_path / "mlm")
    shutil.copytree(golden / "legacy-base", tmp_path / "bare")
    with pytest.raises(RefusedError, match="has a head"):
        convert(tmp_path / "mlm", layout="a")
    with pytest.raises(RefusedError, match="has no head"):
        convert(tmp_path / "bare", layout="b")


@pytest.mark.parametrize("before", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("after", ["F32", "F16", "BF16"])
def test_casts_are_torchs_casts(before: str, after: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    dtypes = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    sizes = {"vocab": 300, "layers": 1, "hidden": 64, "heads": 4, "intermediate": 96}
    new(tmp_path / "ckpt", release="gte-multilingual-mlm-base", dtype=before, **sizes)  # type: ignore[arg-type]
    wanted = {name: tensor.to(dtypes[after]) for name, tensor in load_file(tmp_path / "ckpt/model.safetensors").items()}
    convert(tmp_path / "ckpt", dtype=after)  # type: ignore[arg-type]
    found = load_file(tmp_path / "ckpt/model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(found[name].dtype == dtypes[after] and torch.equal(found[name], wanted[name]) for name in wanted)
    assert json.loads((tmp_path / "ckpt/config.json").read_text())["dtype"] == str(dtypes[after]).removeprefix("torch.")


def test_overflow_is_refused_unless_allowed_and_small_numbers_are_counted(tmp_path: Path) -> None:
    config = builder.remote_config()
    arrays = builder.tensors(config)
    arrays["encoder.layer.0.mlp.down_proj.weight"][:2, 0] = [65519.9, 65520.0]
    arrays["encoder.layer.1.mlp.down_proj.weight"][:3, 0] = [1e-9, -1e-9, 6e-8]
    builder.write(tmp_path / "ckpt", config, arrays)
    with pytest.raises(RefusedError, match=r"down_proj.weight`: 1 numbers are too large for F16"):
        convert(tmp_path / "ckpt", dtype="F16")
    plan = convert(tmp_path / "ckpt", dtype="F16", allow_overflow=True).plan
    assert any("layer.1.mlp.down_proj.weight`: 2 numbers are too small" in sentence for sentence in plan.meaning)
    found = builder.load(tmp_path / "ckpt")["encoder.layer.0.mlp.down_proj.weight"]
    assert found[:2, 0].tolist() == [65504.0, float("inf")]


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=30), limit=st.integers(1, 64))
def test_shards_are_filled_as_hugging_face_fills_them(sizes: list[int], limit: int) -> None:
    from huggingface_hub import split_torch_state_dict_into_shards

    tensors = [PlannedTensor(f"t{n}", "U8", (size,), (Fill(b"\0", size),)) for n, size in enumerate(sizes)]
    state = {tensor.name: torch.zeros(tensor.shape, dtype=torch.uint8) for tensor in tensors}
    theirs = split_torch_state_dict_into_shards(state, max_shard_size=limit)
    ours = [[tensor.name for tensor in shard] for shard in fill_shards(tensors, limit)]
    assert ours == list(theirs.filename_to_tensors.values())


@pytest.mark.parametrize("shard_size", [20_000, 60_000, 10**9])
def test_sharding_there_and_back_changes_no_byte(shard_size: int, golden: Path, tmp_path: Path) -> None:
    source = golden / "legacy-mlm" / "model.safetensors"
    shutil.copytree(golden / "legacy-mlm", tmp_path / "ckpt")
    convert(tmp_path / "ckpt", shard_size=shard_size)
    shards = sorted(tmp_path.glob("ckpt/model-*.safetensors"))
    assert len(shards) == len({shard.name.partition("-of-")[2] for shard in shards}) * len(shards)
    if shards:
        index = json.loads((tmp_path / "ckpt/model.safetensors.index.json").read_text())
        held = {name: shard.name for shard in shards for name in builder.load(shard)}
        assert index["weight_map"] == held
        assert index["metadata"]["total_size"] == sum(a.nbytes for a in builder.load(source).values())
    convert(tmp_path / "ckpt", shard_size=10**9)
    assert sorted(file.name for file in tmp_path.glob("ckpt/model*")) == ["model.safetensors"]
    assert (tmp_path / "ckpt/model.safetensors").read_bytes() == source.read_bytes()


def test_fp8_and_integers_are_carried(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    config = builder.remote_config()
    arrays = {name: torch.from_numpy(array) for name, array in builder.tensors(config).items()}
    extras = {"extra.scale": torch.arange(8, dtype=torch.int64), "extra.f8": torch.ones(8).to(torch.float8_e4m3fn)}
    builder.write(tmp_path / "ckpt", config, {"x": np.zeros(1)})
    save_file(arrays | extras, tmp_path / "ckpt/model.safetensors", metadata={"format": "pt"})
    convert(tmp_path / "ckpt", to="native", dtype="BF16")
    found = load_file(tmp_path / "ckpt/model.safetensors")
    assert all(torch.equal(found[name].view(torch.uint8), extras[name].view(torch.uint8)) for name in extras)
    assert found["embeddings.word_embeddings.weight"].dtype == torch.bfloat16


def test_a_redundant_decoder_weight_goes_and_an_unequal_one_is_refused(golden: Path, tmp_path: Path) -> None:
    config = json.loads((golden / "legacy-mlm/config.json").read_text())
    arrays = builder.load(golden / "legacy-mlm")
    arrays["lm_head.decoder.weight"] = arrays["new.embeddings.word_embeddings.weight"].copy()
    builder.write(tmp_path / "equal", config, arrays)
    convert(tmp_path / "equal", to="native")
    assert "lm_head.decoder.weight" not in builder.load(tmp_path / "equal")
    arrays["lm_head.decoder.weight"][7, 7] += 1
    builder.write(tmp_path / "unequal", config, arrays)
    with pytest.raises(RefusedError, match="differs from"):
        convert(tmp_path / "unequal", to="native")
