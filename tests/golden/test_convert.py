"""Converting to native reproduces the reference outputs in transformers; there and back is the identity."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gte_surgery.errors import RefusedError
from gte_surgery.surgery.verbs import convert, undo
from tests.conftest import GOLDEN

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.18")

REFUSED = {"legacy-absolute": "position_embedding_type", "legacy-rmsnorm": "layer_norm_type"}
CASES = [folder.name for folder in sorted(GOLDEN.glob("*")) if folder.is_dir() and folder.name not in REFUSED]
NOT_MEANINGFUL = {"auto_map", "architectures", "transformers_version"}


def copy(case: str, folder: Path) -> Path:
    shutil.copytree(GOLDEN / case, folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_a_native_conversion_computes_the_reference_output(case: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = copy(case, tmp_path / case)
    convert(folder, to="native")
    config = json.loads((folder / "config.json").read_text())
    assert "auto_map" not in config
    assert "rope_scaling" not in config
    model_class = getattr(transformers, config["architectures"][-1])
    model, loading = model_class.from_pretrained(folder, output_loading_info=True)
    assert {key: value for key, value in loading.items() if value} == {}
    reference = load_file(folder / "reference.safetensors")
    output = "logits" if "logits" in reference else "last_hidden_state"
    with torch.no_grad():
        answer = model.eval()(input_ids=reference["input_ids"], attention_mask=reference["attention_mask"])
    difference = answer[output] - reference[output]
    if difference.shape[:2] == reference["input_ids"].shape:
        difference = difference[reference["attention_mask"].bool()]
    assert difference.abs().max() < 5e-5


@pytest.mark.parametrize(("case", "reason"), REFUSED.items())
def test_what_native_cannot_express_is_refused_by_name(case: str, reason: str, tmp_path: Path) -> None:
    folder = copy(case, tmp_path / case)
    with pytest.raises(RefusedError, match=reason):
        convert(folder, to="native")
    assert files(folder) == files(GOLDEN / case)


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("legacy-unpacked-qkv", "snowflake-m-v2")])
def test_remote_to_native_to_remote_is_the_identity(case: str, tmp_path: Path) -> None:
    folder = copy(case, tmp_path / case)
    convert(folder, to="native")
    is_untouched = (folder / "model.safetensors").read_bytes() == (GOLDEN / case / "model.safetensors").read_bytes()
    assert is_untouched is (json.loads((folder / "config.json").read_text())["architectures"] == ["GteModel"])
    convert(folder, to="remote")
    assert (folder / "model.safetensors").read_bytes() == (GOLDEN / case / "model.safetensors").read_bytes()
    assert json.loads((folder / "config.json").read_text()) == json.loads((GOLDEN / case / "config.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_native_to_remote_to_native_is_the_identity_and_undo_too(case: str, tmp_path: Path) -> None:
    folder = copy(case, tmp_path / case)
    convert(folder, to="native")
    native = files(folder)
    assert convert(folder, to="native").plan.is_empty
    convert(folder, to="remote")
    remote = files(folder)
    convert(folder, to="native")
    for name in ("config.json", "model.safetensors"):
        assert (folder / name).read_bytes() == native[name], name
    undo(folder)
    assert files(folder) == remote
    config = json.loads(remote["config.json"])
    published = json.loads((GOLDEN / case / "config.json").read_text())
    shared = config.keys() & published.keys() - NOT_MEANINGFUL
    resolved = {"unpad_inputs", "use_memory_efficient_attention", "pack_qkv", "model_type"}
    assert all(config[key] == published[key] for key in shared - resolved)
