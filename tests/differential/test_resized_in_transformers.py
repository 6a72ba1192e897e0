"""A resized checkpoint in programs that are not ours: safetensors opens it, transformers loads it and computes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open

from gte_surgery.surgery.verbs import new, resize
from tests import builder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.18")

CLASSES = {"none": "GteModel", "mlm": "GteForMaskedLM", "classifier": "GteForTokenClassification"}
CLASSES["reranker"] = "GteForSequenceClassification"


def load(folder: Path, head: str) -> object:
    """The native model, with no tensor missing, unexpected or of another shape."""
    model_class = getattr(transformers, CLASSES[head])
    model, loading = model_class.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    assert {key: value for key, value in loading.items() if value} == {}
    return model.eval()


def make_native(folder: Path) -> None:
    """Writes the native config of a golden checkpoint by the facts: ntk is linear with theta·f and factor f^(2/8)."""
    config = json.loads((folder / "config.json").read_text())
    factor = config["rope_scaling"]["factor"]
    rope = {"rope_type": "linear", "rope_theta": config["rope_theta"] * factor, "factor": factor ** (2 / 8)}
    for key in ("auto_map", "rope_scaling", "rope_theta"):
        del config[key]
    builder.write_json(folder / "config.json", config | {"model_type": "gte", "rope_parameters": rope})


def inputs(folder: Path) -> tuple[object, object, object, str]:
    with safe_open(folder / "reference.safetensors", "pt") as reference:
        output = next(name for name in reference.keys() if name in ("last_hidden_state", "logits"))  # noqa: SIM118
        names = ("input_ids", "attention_mask", output)
        ids, mask, wanted = (reference.get_tensor(name) for name in names)
    return ids, mask, wanted, output


@pytest.mark.parametrize(
    ("case", "head"), [("legacy-base", "none"), ("legacy-multilingual", "classifier"), ("legacy-mlm", "mlm")]
)
def test_a_resized_golden_checkpoint_computes_the_reference_output(
    case: str, head: str, golden: Path, tmp_path: Path
) -> None:
    shutil.copytree(golden / case, tmp_path / "ckpt")
    resize(tmp_path / "ckpt", vocab=160, pad=0)
    make_native(tmp_path / "ckpt")
    ids, mask, wanted, output = inputs(golden / f"{case}.resized-160-pad0")
    with torch.no_grad():
        found = getattr(load(tmp_path / "ckpt", head)(input_ids=ids, attention_mask=mask), output)
    assert (found - wanted)[mask.bool()].abs().max() < 5e-5


@pytest.mark.parametrize("case", ["legacy-base", "legacy-multilingual"])
def test_folding_the_type_row_changes_no_output(case: str, golden: Path, tmp_path: Path) -> None:
    head = "none" if case == "legacy-base" else "classifier"
    shutil.copytree(golden / case, tmp_path / "ckpt")
    make_native(tmp_path / "ckpt")
    ids, mask, _, output = inputs(golden / case)
    with torch.no_grad():
        before = getattr(load(tmp_path / "ckpt", head)(input_ids=ids, attention_mask=mask), output)
        resize(tmp_path / "ckpt", vocab=256, pad=1, type_vocab=0)
        after = getattr(load(tmp_path / "ckpt", head)(input_ids=ids, attention_mask=mask), output)
        shutil.copytree(golden / case, tmp_path / "dropped")
        make_native(tmp_path / "dropped")
        resize(tmp_path / "dropped", vocab=256, pad=1, type_vocab=0, type_vocab_mode="drop")
        dropped = getattr(load(tmp_path / "dropped", head)(input_ids=ids, attention_mask=mask), output)
    is_real = mask.bool()
    assert (after - before)[is_real].abs().max() < 1e-5
    assert (dropped - before)[is_real].abs().max() > 1e-2


@pytest.mark.parametrize("head", list(CLASSES))
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_new_checkpoint_and_its_resizes_load_whole(head: str, dtype: str, tmp_path: Path) -> None:
    folder = tmp_path / "ckpt"
    sizes = {"vocab": 512, "layers": 2, "hidden": 64, "heads": 4, "intermediate": 96, "max_positions": 128}
    new(folder, release="gte-multilingual-base", head=head, dtype=dtype, shard_size=40_000, **sizes)  # type: ignore[arg-type]
    load(folder, head)
    for vocab, pad, types in ((100, 7, 2), (640, 0, 0), (640, 0, 1)):
        resize(folder, vocab=vocab, pad=pad, type_vocab=types)
        model = load(folder, head)
        words = model.get_input_embeddings()  # type: ignore[attr-defined]
        assert words.weight.shape == (vocab, 64)
        assert words.padding_idx == pad
        assert not words.weight[pad].any()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            assert all(opened.get_tensor(name).isfinite().all() for name in opened.keys())  # noqa: SIM118


def test_new_initialises_as_transformers_does(tmp_path: Path) -> None:
    """Same kinds of tensors drawn, zeroed and set to one; same spread."""
    sizes = {"vocab": 2048, "layers": 1, "hidden": 128, "heads": 4, "intermediate": 256, "max_positions": 64}
    new(tmp_path / "ours", release="gte-multilingual-mlm-base", dtype="F32", **sizes)  # type: ignore[arg-type]
    ours = load(tmp_path / "ours", "mlm")
    theirs = transformers.GteForMaskedLM(ours.config)  # type: ignore[attr-defined]
    for (name, mine), (other, fresh) in zip(
        ours.named_parameters(),
        theirs.named_parameters(),
        strict=True,  # type: ignore[attr-defined]
    ):
        assert name == other
        if fresh.unique().numel() == 1:
            assert (mine == fresh).all(), name
        else:
            assert mine.std().item() == pytest.approx(fresh.std().item(), rel=0.2), name
            assert abs(mine.mean().item()) < 5 * 0.02 / mine.numel() ** 0.5, name
