"""Checkpoints as trainers, wrappers and quantisers leave them, and what makes them whole: once, as the hint says."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from gte_surgery import convert, fix, new, resize
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.errors import RefusedError
from gte_surgery.findings import Severity
from tests.builder import (
    Tensors,
    build,
    change_config,
    load,
    native_config,
    remote_config,
    save,
    tensors,
    write,
    write_json,
)
from tests.cases.test_config import config_of, grave

PREFIXES = ["_orig_mod.", "module._orig_mod.", "auto_model.", "0.auto_model.", "base_model.model."]
SMALL: dict[str, Any] = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 48}


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


@pytest.mark.parametrize("prefix", ["0.auto_model.", "0.model.", "encoder.0.model."])
def test_both_words_of_sentence_transformers_are_known(tmp_path: Path, prefix: str) -> None:
    path, _ = wrapped(tmp_path / "c", prefix)
    (finding,) = run(path).findings
    assert finding.message.endswith("as sentence-transformers saves a model")


def test_a_prefix_beside_a_wrong_config_goes_by_fix_since_convert_is_refused(tmp_path: Path) -> None:
    path, arrays = wrapped(tmp_path / "c", "module.")
    change_config(path, hidden_size="32")
    found = {finding.code: finding.hint for finding in run(path).findings}
    assert "GTE102" in found
    assert found["GTE200"] == f"gte-surgery check {path} --fix"
    fix(path)
    assert "GTE200" not in grave(path)
    assert set(load(path)) == set(arrays)


@pytest.mark.parametrize("model_type", ["GTE", "xlm-roberta", None])
def test_no_prefix_is_named_where_the_config_is_of_no_gte(tmp_path: Path, model_type: str | None) -> None:
    """`bert.` is no wrapper's, but what a BERT with a head has."""
    path = tmp_path / "c"
    new(path, release="gte-base", head="mlm", vocab=64, pad=0, **SMALL)
    change_config(path, model_type=model_type)
    assert [finding.code for finding in run(path).findings if finding.code in ("GTE101", "GTE200")] == ["GTE101"]


@pytest.mark.parametrize("prefix", ["_fsdp_wrapped_module.", "module."])
def test_flat_tensors_under_a_prefix_become_whole_by_the_hint(tmp_path: Path, prefix: str) -> None:
    path, arrays = wrapped(tmp_path / "c", prefix)
    save(path / "model.safetensors", {name: array.reshape(-1) for name, array in load(path).items()})
    (finding,) = run(open_checkpoint(path)).findings
    assert finding.hint == f"gte-surgery check {path} --fix"
    fix(path)
    assert grave(path) == set()
    assert {name: array.shape for name, array in load(path).items()} == {n: a.shape for n, a in arrays.items()}


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("fault", ["no index", "no metadata"])
def test_wrapped_shards_with_a_wrong_index_become_whole_at_once(tmp_path: Path, fault: str, is_flat: bool) -> None:
    path, arrays = wrapped(tmp_path / "c", "module._orig_mod.", 3)
    index = path / "model.safetensors.index.json"
    if fault == "no index":
        index.unlink()
    else:
        write_json(index, {"weight_map": json.loads(index.read_text())["weight_map"]})
    for file in path.glob("*.safetensors") if is_flat else ():
        save(file, {name: array.reshape(-1) for name, array in load_file(file).items()})
    assert f"gte-surgery check {path} --fix" in {finding.hint for finding in run(path).findings}
    fix(path)
    assert grave(path) == set()
    assert {name: tensor.shape for name, tensor in open_checkpoint(path).tensors.items()} == {
        name: array.shape for name, array in arrays.items()
    }


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


@pytest.mark.parametrize("word", ["_orig_mod.", "_checkpoint_wrapped_module."])
def test_layers_that_were_wrapped_one_by_one_are_named_and_freed(tmp_path: Path, word: str) -> None:
    config = remote_config()
    arrays = tensors(config)
    inside = {name.replace("layer.1.", "layer.1." + word): array for name, array in arrays.items()}
    path = write(tmp_path / "c", config, inside)
    (finding,) = run(path).findings
    assert finding.message.startswith(f"names have `{word}` inside, as ")
    assert finding.hint == f"gte-surgery convert {path} --strip-prefix {word}"
    convert(path, strip_prefix=word)
    assert grave(path) == set()
    assert set(load(path)) == set(arrays)


@pytest.mark.parametrize(("prefix", "code"), [("base_model.model.", "GTE200"), ("", "GTE201")])
def test_an_adapter_that_is_not_merged_is_told_and_not_unwrapped(tmp_path: Path, prefix: str, code: str) -> None:
    path, arrays = wrapped(tmp_path / "c", prefix)
    part = next(name for name in arrays if name.endswith("qkv_proj.weight"))
    arrays[part.replace(".weight", ".base_layer.weight")] = arrays.pop(part)
    arrays[part.replace(".weight", ".lora_A.default.weight")] = np.zeros((4, 32), "f4")
    save(path / "model.safetensors", {prefix + name: array for name, array in arrays.items()})
    (finding,) = run(path).findings
    assert finding.code == code
    assert "merge_and_unload" in finding.hint
    with pytest.raises(RefusedError, match=code):
        fix(path)
    assert {found.code for found in run(path).findings} == {code}


@pytest.mark.parametrize(("end", "dtype", "code"), [(".qweight", "i4", "GTE201"), (".weight", "u1", "GTE204")])
def test_what_a_quantiser_wrote_is_told_by_its_name(tmp_path: Path, end: str, dtype: str, code: str) -> None:
    path, arrays = wrapped(tmp_path / "c", "")
    for name in [name for name in arrays if name.endswith("_proj.weight")]:
        arrays[name.replace(".weight", end)] = np.zeros((8, 1), dtype)
        arrays.pop(name) if end == ".qweight" else None
    save(path / "model.safetensors", arrays)
    change_config(path, quantization_config={"quant_method": "gptq"})
    found = [finding for finding in run(path).findings if finding.code == code]
    assert found
    assert all(finding.hint.startswith('quantised by "gptq"') for finding in found)


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


@pytest.mark.parametrize(
    "name", ["_flat_param", "flat_param", "_fsdp_wrapped_module.encoder._fsdp_wrapped_module._flat_param"]
)
def test_flat_parameters_of_fsdp_are_told_as_lost(tmp_path: Path, name: str) -> None:
    path = build(tmp_path / "c")
    save(path / "model.safetensors", {name: np.concatenate([each.ravel() for each in load(path).values()])})
    (finding,) = run(path).findings
    assert finding.code == "GTE200"
    assert "FULL_STATE_DICT" in finding.hint


@pytest.mark.parametrize("name", ["pytorch_model.safetensors", "model.fp16.safetensors", "gte base.safetensors"])
def test_weights_under_another_name_are_told_what_makes_them_weights(tmp_path: Path, name: str) -> None:
    path = build(tmp_path / "c")
    (path / "model.safetensors").rename(path / name)
    (finding,) = run(path).findings
    assert finding.code == "GTE004"
    subprocess.run(shlex.split(finding.hint.split("`")[1]), check=True)
    assert grave(path) == set()


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "model-00002.safetensors", "1_Dense/model.safetensors"])
def test_what_is_not_all_the_weights_is_not_taken_for_them(tmp_path: Path, name: str) -> None:
    path = build(tmp_path / "c")
    (path / "1_Dense").mkdir()
    (path / "model.safetensors").rename(path / name)
    (finding,) = (each for each in run(path).findings if each.code == "GTE004")
    assert not finding.hint


@pytest.mark.parametrize("head", ["none", "mlm", "reranker"])
@pytest.mark.parametrize("release", ["gte-base", "gte-modernbert-base", "gte-multilingual-base"])
@pytest.mark.parametrize("prefix", ["", "_fsdp_wrapped_module."])
def test_flat_tensors_of_every_kind_get_their_shapes(tmp_path: Path, release: str, head: str, prefix: str) -> None:
    """Those as well that may be stored and need not be: a pooler, a tied decoder."""
    path = tmp_path / "c"
    new(path, release=release, head=head, vocab=64, pad=0, dtype="F32", **SMALL)
    arrays = load(path)
    if release == "gte-base" and head == "none":
        arrays |= {"pooler.dense.weight": np.eye(32, dtype=np.float32), "pooler.dense.bias": np.zeros(32, np.float32)}
    save(path / "model.safetensors", {prefix + name: array.reshape(-1) for name, array in arrays.items()})
    (path / "gte-surgery.json").unlink()
    fix(path)
    assert grave(path) == set()
    assert {name: array.shape for name, array in load(path).items()} == {n: a.shape for n, a in arrays.items()}


@pytest.mark.parametrize("key", ["vocab_size", "num_hidden_layers", "intermediate_size"])
def test_a_prefix_over_more_faults_goes_by_fix_which_tells_of_them_since_convert_is_refused(
    tmp_path: Path, key: str
) -> None:
    path, arrays = wrapped(tmp_path / "c", "module.")
    right = config_of(path)[key]
    change_config(path, **{key: 64})
    (hint,) = (finding.hint for finding in run(path).findings if finding.code == "GTE200")
    command, stays, _ = hint.partition("; what stays to mend: ")
    assert (command, bool(stays)) == (f"gte-surgery check {path} --fix", True)
    fix(path)
    assert set(load(path)) == set(arrays)
    told = [finding for finding in run(path).findings if finding.severity is Severity.ERROR]
    assert "GTE200" not in {finding.code for finding in told}
    assert any(f'set "{key}": {right}' in finding.hint for finding in told)


def test_whatever_is_written_says_its_format(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = build(tmp_path / "c")
    for metadata in (None, {}, {"format": "np"}, {"made_by": "hand"}):
        save_file(load(path), path / "model.safetensors", metadata=metadata)
        convert(path, dtype="F16", out=tmp_path / f"{metadata}")
        with safe_open(tmp_path / f"{metadata}" / "model.safetensors", "np") as opened:
            assert opened.metadata()["format"] == "pt"


def test_shards_without_an_index_are_told_what_makes_it_if_all_are_there(tmp_path: Path) -> None:
    path = build(tmp_path / "c", shards=3)
    (path / "model.safetensors.index.json").unlink()
    (finding,) = run(path).findings
    assert (finding.code, finding.hint) == ("GTE004", f"gte-surgery check {path} --fix")
    fix(path)
    assert grave(path) == set()
    (path / "model.safetensors.index.json").unlink()
    next(path.glob("*-00002-of-*")).unlink()
    (finding,) = run(path).findings
    assert finding.hint == ""


def test_an_adapter_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (finding,) = run(open_checkpoint(tmp_path)).findings
    assert "an adapter of PEFT, no whole model" in finding.message
    assert "merge" in finding.hint


def test_what_deepspeed_wraps_is_unwrapped_by_the_hint(tmp_path: Path) -> None:
    import shlex
    import subprocess
    import sys

    import torch

    path = build(tmp_path / "c")
    arrays = load(path)
    (path / "model.safetensors").unlink()
    state = {"module": {name: torch.from_numpy(array) for name, array in arrays.items()}, "global_steps": 5}
    (path / "global_step5").mkdir()
    torch.save(state, path / "global_step5" / "mp_rank_00_model_states.pt")
    (finding,) = run(open_checkpoint(path)).findings
    _, *words = shlex.split(finding.hint.split("`")[1])
    subprocess.run([sys.executable, *words], check=True)
    assert grave(path) == set()
    assert set(load(path)) == set(arrays)


def test_parts_of_deepspeed_and_of_torch_are_named(tmp_path: Path) -> None:
    path = build(tmp_path / "c")
    (path / "model.safetensors").unlink()
    (path / "__0_0.distcp").write_bytes(b"")
    assert "dcp_to_torch" in run(open_checkpoint(path)).findings[0].hint
    (path / "__0_0.distcp").unlink()
    (path / "zero_to_fp32.py").write_text("")
    (path / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"")
    assert "zero_to_fp32.py" in run(open_checkpoint(path)).findings[0].hint


def test_a_refusal_with_out_points_to_what_is_there(tmp_path: Path) -> None:
    config = remote_config(architectures=["NewForMaskedLM"])
    arrays = tensors(config, "mlm")
    decoder = {"lm_head.decoder.weight": arrays["new.embeddings.word_embeddings.weight"] * 2}
    path = write(tmp_path / "c", config, arrays | decoder)
    with pytest.raises(RefusedError) as raised:
        resize(path, vocab=192, pad=1, out=tmp_path / "out")
    assert str(path) in raised.value.hint
    assert str(tmp_path / "out") not in raised.value.hint


@pytest.mark.parametrize("shards", [1, 2])
def test_a_bare_model_with_a_pooler_and_one_for_multiple_choice_are_sound(tmp_path: Path, shards: int) -> None:
    arrays = tensors(remote_config())
    pooler = {"pooler.dense.weight": np.ones((32, 32), np.float32), "pooler.dense.bias": np.ones(32, np.float32)}
    assert grave(write(tmp_path / "bare", remote_config(), arrays | pooler, shards)) == set()
    config = remote_config(architectures=["NewForMultipleChoice"])
    choice = {n: a[:1] if n.startswith("classifier") else a for n, a in tensors(config, "reranker").items()}
    assert grave(write(tmp_path / "choice", config, choice, shards)) == set()
