"""What `check --fix` mends changes nothing that transformers computes on valid input."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gte_surgery.surgery.verbs import fix
from tests import builder
from tests.differential.test_resized_in_transformers import inputs, load, make_native

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")


@pytest.mark.parametrize(
    ("case", "head", "codes"),
    [
        ("legacy-base", "none", {"GTE060", "GTE104", "GTE230"}),
        ("legacy-multilingual", "classifier", {"GTE060", "GTE104", "GTE230"}),
        ("legacy-mlm", "mlm", {"GTE060", "GTE104", "GTE241"}),
    ],
)
def test_outputs_are_the_same_to_the_bit(case: str, head: str, codes: set[str], golden: Path, tmp_path: Path) -> None:
    path = shutil.copytree(golden / case, tmp_path / "ckpt")
    make_native(path)
    builder.change_config(path, tie_word_embeddings="true" if head == "mlm" else True, unpad_inputs="true")
    arrays = builder.load(path)
    words = next(name for name in arrays if name.endswith("word_embeddings.weight"))
    ids, mask, _, output = inputs(golden / case)
    if head == "mlm":
        arrays["lm_head.decoder.weight"] = arrays[words].copy()
    else:
        pad = int(ids[~mask.bool()][0])
        arrays[words][pad] = 0.5
    builder.save(path / "model.safetensors", arrays)
    (path / "model.safetensors.tmp").write_bytes(b"left behind")

    def computed() -> object:
        builder.change_config(copy := shutil.copytree(path, tmp_path / "read"), tie_word_embeddings=True)
        with torch.no_grad():
            found = getattr(load(copy, head)(input_ids=ids, attention_mask=mask), output)
        shutil.rmtree(copy)
        return found[mask.bool()]

    before = computed()
    plan = fix(path).plan
    assert len(plan.meaning) == len(codes) - 1  # flags show among the config's changes
    assert torch.equal(computed(), before)
