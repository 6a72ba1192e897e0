"""Checkpoints as trainers, wrappers and quantisers leave them, and what makes them whole: once, as the hint says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gte_surgery import convert, fix
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.errors import RefusedError
from tests.builder import Tensors, build, load, native_config, remote_config, save, tensors, write
from tests.cases.test_config import config_of, grave

PREFIXES = ["_orig_mod.", "module._orig_mod.", "auto_model.", "0.auto_model.", "base_model.model."]


def wrapped(path: Path, prefix: str, shards: int = 1) -> tuple[Path, Tensors]:
    config = native_config(architectures=["GteForTokenClassification"], id2label={"0": "A"}, label2id={"A": 0})
    arrays = tensors(config, "classifier")
    write(path, config, {prefix + name: array for name, array in arrays.items()}, shards)
    return path, arrays


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("shards", [1, 3])
def test_a_wrapper_is_named_and_taken_off(tmp_path: Path, prefix: str, shards: int) -> None:
    path, arrays = wrapped(tmp_path / "c", prefix, shards)
    (finding,) = run(open_checkpoint(path)).findings
    assert finding.hint == f"gte-surgery convert {path} --strip-prefix {prefix}"
    convert(path, strip_prefix=prefix)
    assert grave(path) == set()
    found = {name: array for file in path.glob("*.safetensors") for name, array in load_file(file).items()}
    assert set(found) == set(arrays)
    assert all((found[name] == array).all() for name, array in arrays.items())


@pytest.mark.parametrize("layout", ["b", "d", "f"])
def test_a_wrapper_goes_where_the_names_change_anyway(tmp_path: Path, layout: str) -> None:
    path, _ = wrapped(tmp_path / "c", "_orig_mod.")
    convert(path, layout=layout)
    assert grave(path) == set()


def test_words_that_fsdp_leaves_in_the_middle_go_as_well(tmp_path: Path) -> None:
    config = remote_config()
    arrays = tensors(config)
    inside = {
        "_fsdp_wrapped_module." + name.replace("layer.1.", "layer.1._fsdp_wrapped_module."): array
        for name, array in arrays.items()
    }
    path = write(tmp_path / "c", config, inside)
    fix(path)
    assert grave(path) == set()
    assert set(load(path)) == set(arrays)


def test_a_prefix_that_no_name_has_is_refused(tmp_path: Path) -> None:
    path = build(tmp_path / "c")
    with pytest.raises(RefusedError, match="no tensor name begins so"):
        convert(path, strip_prefix="module.")


def test_strangers_and_buffers_are_dropped_by_name(tmp_path: Path) -> None:
    path = build(tmp_path / "c")
    arrays = load(path)
    scale = {"encoder.layer.0.attention.qkv_proj.weight_scale": np.ones((96, 1), np.float32)}
    save(path / "model.safetensors", arrays | scale | {"embeddings.position_ids": np.arange(128)[None]})
    assert grave(path) == {"GTE203", "GTE250"}
    convert(path, drop=["*.weight_scale", "*position_ids"])
    assert grave(path) == set()
    assert set(load(path)) == set(arrays)


def test_a_head_that_is_dropped_is_declared_no_more(tmp_path: Path) -> None:
    config = remote_config(architectures=["NewForMaskedLM"])
    path = write(tmp_path / "c", config, tensors(config, "mlm"), shards=2)
    convert(path, drop="lm_head.*")
    assert config_of(path)["architectures"] == ["NewModel"]
    assert grave(path) == set()


def test_what_the_model_needs_is_not_dropped(tmp_path: Path) -> None:
    path = build(tmp_path / "c")
    with pytest.raises(RefusedError, match="GTE201"):
        convert(path, drop="encoder.layer.1.attn_ln.bias")
    with pytest.raises(RefusedError, match="matches no tensor"):
        convert(path, drop="nothing.*")


def test_a_flat_table_gets_its_shape_and_keeps_its_bytes(tmp_path: Path) -> None:
    path = build(tmp_path / "c")
    arrays = load(path)
    save(path / "model.safetensors", {name: array.reshape(-1) for name, array in arrays.items()})
    assert grave(path) == {"GTE209"}
    fix(path)
    found = load(path)
    assert all(found[name].shape == array.shape and (found[name] == array).all() for name, array in arrays.items())


def test_whatever_is_written_says_its_format(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = build(tmp_path / "c")
    for metadata in (None, {}, {"format": "np"}, {"made_by": "hand"}):
        save_file(load(path), path / "model.safetensors", metadata=metadata)
        convert(path, dtype="F16", out=tmp_path / f"{metadata}")
        with safe_open(tmp_path / f"{metadata}" / "model.safetensors", "np") as opened:
            assert opened.metadata()["format"] == "pt"
