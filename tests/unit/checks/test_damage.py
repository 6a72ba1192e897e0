"""A table of single damages: each is found by one rule, whatever the dialect, the head and the number of shards."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as serialized

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.findings import Severity
from tests.builder import (
    ABSENT,
    Tensors,
    build,
    change_config,
    load,
    native_config,
    remote_config,
    save,
    tensors,
    write,
)

WORDS = "embeddings.word_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"
LABELS = {"id2label": {"0": "A", "1": "B", "2": "C"}, "label2id": {"A": 0, "B": 1, "C": 2}}
CONFIGS = {
    "remote": (remote_config(type_vocab_size=2), "none"),
    "native": (native_config(type_vocab_size=2), "none"),
    "mlm": (remote_config(type_vocab_size=2, architectures=["NewForMaskedLM"]), "mlm"),
    "classifier": (
        remote_config(type_vocab_size=2, architectures=["NewForTokenClassification"], **LABELS), "classifier",
    ),
    "reranker": (
        remote_config(type_vocab_size=2, architectures=["NewForSequenceClassification"], **LABELS), "reranker",
    ),
    "absolute": (remote_config(type_vocab_size=2, position_embedding_type="absolute"), "none"),
    "rms": (remote_config(type_vocab_size=2, layer_norm_type="rms_norm"), "none"),
    "unpacked": (remote_config(type_vocab_size=2, pack_qkv=False), "none"),
}  # fmt: skip
TENSORS = [(base, name) for base, (config, head) in CONFIGS.items() for name in tensors(config, head)]
each_tensor = pytest.mark.parametrize(("base", "name"), TENSORS)


def grave(path: Path) -> set[str]:
    """The codes of errors and warnings."""
    return {f.code for f in run(open_checkpoint(path)).findings if f.severity > Severity.NOTE}


def damaged(path: Path, base: str, change: Callable[[Tensors], object], shards: int = 1) -> set[str]:
    """Write a checkpoint with changed tensors under an unchanged config; the codes that are found."""
    config, head = CONFIGS[base]
    arrays = tensors(config, head)
    change(arrays)
    return grave(write(path, config, arrays, shards))


@pytest.mark.parametrize("base", CONFIGS)
@pytest.mark.parametrize("shards", [1, 3])
def test_undamaged_nothing_is_found(tmp_path: Path, base: str, shards: int) -> None:
    assert damaged(tmp_path, base, lambda t: None, shards) == set()


def test_a_pad_beyond_absolute_positions(tmp_path: Path) -> None:
    config = remote_config(position_embedding_type="absolute", max_position_embeddings=16, pad_token_id=16)
    assert grave(write(tmp_path, config, tensors(config))) == {"GTE107"}


@pytest.mark.parametrize("theta", [10000.0, 20000.0])
def test_absolute_positions_are_turned_by_no_rope(tmp_path: Path, theta: float) -> None:
    config = remote_config(position_embedding_type="absolute", rope_theta=theta, rope_scaling=None)
    config |= {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    assert grave(write(tmp_path, config, tensors(config))) == set()


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu"])
def test_a_native_masked_lm_of_another_activation(tmp_path: Path, activation: str) -> None:
    config = native_config(architectures=["GteForMaskedLM"], hidden_act=activation)
    assert grave(write(tmp_path, config, tensors(config, "mlm"))) == {"GTE117"}


def test_frequencies_that_were_stored(tmp_path: Path) -> None:
    def stored(theta: float) -> set[str]:
        spun = (theta ** (-np.arange(4) / 4) / 8.0**0.25).astype(np.float32)
        return damaged(tmp_path, "remote", lambda t: t.update({"rotary_emb.inv_freq": spun}))

    assert stored(160000.0) == {"GTE250"}
    assert stored(20000.0) == {"GTE251"}


@each_tensor
def test_a_tensor_that_is_missing(tmp_path: Path, base: str, name: str) -> None:
    wanted = "GTE200" if name.endswith(WORDS) else "GTE220" if name.endswith(TYPES) else "GTE201"
    assert damaged(tmp_path, base, lambda t: t.pop(name), shards=2) == {wanted}


@pytest.mark.parametrize("base", CONFIGS)
def test_no_tensor_at_all(tmp_path: Path, base: str) -> None:
    config, _ = CONFIGS[base]
    write(tmp_path, config, {})
    (tmp_path / "model.safetensors").write_bytes(serialized({}))  # with metadata, 0.4.3 writes what is no JSON
    assert grave(tmp_path) == {"GTE200"}


@each_tensor
def test_a_tensor_that_lost_a_row(tmp_path: Path, base: str, name: str) -> None:
    wanted = "GTE222" if name.endswith(TYPES) else "GTE204"
    assert damaged(tmp_path, base, lambda t: t.update({name: t[name][:-1]})) == {wanted}


@each_tensor
def test_a_tensor_that_gained_a_dimension(tmp_path: Path, base: str, name: str) -> None:
    wanted = "GTE222" if name.endswith(TYPES) else "GTE204"
    assert damaged(tmp_path, base, lambda t: t.update({name: t[name][None]})) == {wanted}


@each_tensor
def test_a_tensor_of_which_only_the_place_was_saved(tmp_path: Path, base: str, name: str) -> None:
    assert damaged(tmp_path, base, lambda t: t.update({name: np.zeros(0, np.float32)})) == {"GTE205"}


@each_tensor
def test_a_tensor_that_was_laid_flat(tmp_path: Path, base: str, name: str) -> None:
    is_matrix = tensors(*CONFIGS[base])[name].ndim > 1
    assert damaged(tmp_path, base, lambda t: t.update({name: t[name].reshape(-1)})) == (
        {"GTE209"} if is_matrix else set()
    )


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module.", "module._orig_mod.", "_fsdp_wrapped_module.", "base_model.model.", "auto_model.",
     "0.auto_model.", "model.", "encoder.", "bert."],
)  # fmt: skip
@pytest.mark.parametrize("base", ["remote", "mlm", "reranker"])
def test_a_model_that_was_saved_in_its_wrapper(tmp_path: Path, base: str, prefix: str) -> None:
    def wrap(arrays: Tensors) -> None:
        for name in list(arrays):
            arrays[prefix + name] = arrays.pop(name)

    assert damaged(tmp_path, base, wrap) == {"GTE200"}


@each_tensor
def test_a_tensor_of_another_float_dtype(tmp_path: Path, base: str, name: str) -> None:
    assert damaged(tmp_path, base, lambda t: t.update({name: t[name].astype(np.float16)}), shards=2) == {"GTE206"}


@each_tensor
def test_a_tensor_of_integers(tmp_path: Path, base: str, name: str) -> None:
    assert damaged(tmp_path, base, lambda t: t.update({name: t[name].astype(np.int32)})) == {"GTE207"}


CONFIG_DAMAGES: dict[str, tuple[str, dict[str, object]]] = {
    "no model type": ("GTE101", {"model_type": ABSENT}),
    "null model type": ("GTE101", {"model_type": None}),
    "model type of another encoder": ("GTE101", {"model_type": "distilbert"}),
    "vocabulary as a float": ("GTE102", {"vocab_size": 128.0}),
    "vocabulary in words": ("GTE102", {"vocab_size": "128"}),
    "vocabulary true": ("GTE102", {"vocab_size": True}),
    "vocabulary zero": ("GTE102", {"vocab_size": 0}),
    "no layers": ("GTE102", {"num_hidden_layers": 0}),
    "no heads": ("GTE102", {"num_attention_heads": 0}),
    "negative pad": ("GTE102", {"pad_token_id": -1}),
    "negative types": ("GTE102", {"type_vocab_size": -1}),
    "negative theta": ("GTE102", {"rope_theta": -20000}),
    "unknown norm": ("GTE102", {"layer_norm_type": "batch_norm"}),
    "dropout above one": ("GTE102", {"hidden_dropout_prob": 10}),
    "a flag as a number": ("GTE102", {"unpad_inputs": 1}),
    "scaling without a factor": ("GTE102", {"rope_scaling": {"type": "ntk"}}),
    "quoted False": ("GTE103", {"logn_attention_clip1": "False"}),
    "quoted no": ("GTE103", {"use_memory_efficient_attention": "no"}),
    "quoted False for packing": ("GTE103", {"pack_qkv": "false"}),
    "empty string for a flag": ("GTE103", {"unpad_inputs": ""}),
    "quoted True": ("GTE104", {"use_memory_efficient_attention": "True"}),
    "pad just beyond the table": ("GTE110", {"pad_token_id": 128}),
    "heads that do not divide": ("GTE111", {"num_attention_heads": 5}),
    "more heads than numbers": ("GTE111", {"num_attention_heads": 64}),
    "odd head size": ("GTE111", {"num_attention_heads": 32}),
    "null pad": ("GTE113", {"pad_token_id": None}),
    "architecture of a reranker": ("GTE115", {"architectures": ["NewForSequenceClassification"]}),
    "architecture of a native reranker": ("GTE115", {"architectures": ["GteForSequenceClassification"]}),
    "ntk in a renamed config": ("GTE121", {"model_type": "gte", "auto_map": {"AutoModel": "modeling.GteModel"}}),
    "ntk in a native config": ("GTE121", {"model_type": "gte"}),
    "saved again without a scaling": (
        "GTE122", {"rope_parameters": {"rope_type": "ntk", "factor": 8.0, "rope_theta": 2e4}, "rope_scaling": None},
    ),
    "two ropes": ("GTE127", {"rope_parameters": {"rope_type": "ntk", "factor": 2.0, "rope_theta": 2e4}}),
    "two thetas": ("GTE127", {"rope_scaling": None, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
    "a quantiser": ("GTE145", {"quantization_config": {"quant_method": "fp8"}}),
    "another scaling": ("GTE124", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
    "unpadding alone": ("GTE141", {"unpad_inputs": True}),
    "a layer less": ("GTE202", {"num_hidden_layers": 1}),
    "a layer more": ("GTE201", {"num_hidden_layers": 3}),
    "narrower": ("GTE204", {"intermediate_size": 32}),
    "larger vocabulary": ("GTE204", {"vocab_size": 192}),
    "smaller vocabulary": ("GTE204", {"vocab_size": 64}),
    "rms norm": ("GTE202", {"layer_norm_type": "rms_norm"}),
    "absolute positions": ("GTE201", {"position_embedding_type": "absolute"}),
    "unpacked": ("GTE214", {"pack_qkv": False}),
    "no types": ("GTE221", {"type_vocab_size": 0}),
    "more types": ("GTE222", {"type_vocab_size": 2}),
    "another pad row": ("GTE230", {"pad_token_id": 0}),
}  # fmt: skip


@pytest.mark.parametrize(("code", "changes"), CONFIG_DAMAGES.values(), ids=list(CONFIG_DAMAGES))
def test_a_remote_config_that_was_edited(tmp_path: Path, code: str, changes: dict[str, object]) -> None:
    change_config(build(tmp_path, shards=2), **changes)
    assert grave(tmp_path) == {code}


def rope(**keys: object) -> dict[str, object]:
    return {"rope_parameters": {"rope_theta": 160000.0, **keys}}


NATIVE_DAMAGES: dict[str, tuple[str, dict[str, object]]] = {
    "no rope": ("GTE120", {"rope_parameters": ABSENT}),
    "null rope": ("GTE120", {"rope_parameters": None}),
    "empty rope": ("GTE120", {"rope_parameters": {}}),
    "rope without theta": ("GTE120", {"rope_parameters": {"rope_type": "linear", "factor": 8.0**0.25}}),
    "ntk": ("GTE121", rope(rope_type="ntk", factor=8.0)),
    "ntk left beside the new rope": ("GTE121", {"rope_scaling": {"type": "ntk", "factor": 8.0}}),
    "factor of four digits": ("GTE123", rope(rope_type="linear", factor=1.6818)),
    "factor cut off": ("GTE123", rope(rope_type="linear", factor=1.6817)),
    "linear without a factor": ("GTE124", rope(rope_type="linear")),
    "longrope with too few factors": ("GTE124", rope(rope_type="longrope", short_factor=[1.0], long_factor=[1.0])),
    "unheard-of rope": ("GTE124", rope(rope_type="spiral")),
    "dynamic": ("GTE126", rope(rope_type="dynamic", factor=2.0)),
    "theta of before beside the new rope": ("GTE127", {"rope_theta": 20000}),
    "theta in words": ("GTE102", {"rope_parameters": {"rope_type": "default", "rope_theta": "160000"}}),
    "absolute positions": ("GTE114", {"position_embedding_type": "absolute"}),
    "rms norm": ("GTE114", {"layer_norm_type": "rms_norm"}),
    "unpacked": ("GTE114", {"pack_qkv": False}),
    "no pad": ("GTE113", {"pad_token_id": None}),
}


@pytest.mark.parametrize(("code", "changes"), NATIVE_DAMAGES.values(), ids=list(NATIVE_DAMAGES))
def test_a_native_config_that_was_edited(tmp_path: Path, code: str, changes: dict[str, object]) -> None:
    change_config(build(tmp_path, native_config()), **changes)
    assert grave(tmp_path) == {code}


def zipped(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


FOREIGN = {
    "pickle": pickle.dumps({"weight": [1.0] * 64}, protocol=2),
    "torch zip": zipped(["archive/data.pkl", "archive/version"]),
    "zip": zipped(["readme.txt"]),
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n",
    "HTML": b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>",
    "GGUF": b"GGUF\x03\x00\x00\x00" + bytes(64),
    "JSON": json.dumps({"error": "Repository not found", "at": "x" * 64}).encode(),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=list(FOREIGN))
@pytest.mark.parametrize("file", ["model.safetensors", "model-00002-of-00003.safetensors"])
def test_something_else_under_the_name_of_weights(tmp_path: Path, content: bytes, file: str) -> None:
    build(tmp_path, shards=1 if file == "model.safetensors" else 3)
    (tmp_path / file).write_bytes(content)
    assert grave(tmp_path) == {"GTE005"}


@pytest.mark.parametrize("content", [b"", b"\x00" * 4, gzip.compress(b"weights", mtime=0), b"\xff\xfe\xfd"])
def test_a_few_stray_bytes_are_one_error(tmp_path: Path, content: bytes) -> None:
    (build(tmp_path) / "model.safetensors").write_bytes(content)
    assert len(grave(tmp_path)) == 1


@pytest.mark.parametrize(("share", "code"), [(0.001, "GTE032"), (0.5, "GTE048"), (0.999, "GTE048")])
def test_a_download_that_stopped(tmp_path: Path, share: float, code: str) -> None:
    file = build(tmp_path) / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    assert grave(tmp_path) == {code}


@pytest.mark.parametrize("value", ["../x", "/etc/passwd", "a/../../x", "..\\x", "", "."])
def test_an_index_that_leads_out(tmp_path: Path, value: str) -> None:
    index = build(tmp_path, shards=2) / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"][WORDS] = value
    index.write_text(json.dumps(content))
    assert grave(tmp_path) == {"GTE012"}


def test_an_index_that_names_a_shard_as_a_path(tmp_path: Path) -> None:
    index = build(tmp_path, shards=2) / "model.safetensors.index.json"
    index.write_text(index.read_text().replace('"model-', '"./model-'))
    assert grave(tmp_path) == {"GTE021"}


def test_a_shard_that_is_a_link_out(tmp_path: Path) -> None:
    path = build(tmp_path / "checkpoint", shards=2)
    shard = path / "model-00002-of-00002.safetensors"
    shard.rename(tmp_path / "outside.safetensors")
    shard.symlink_to(tmp_path / "outside.safetensors")
    assert grave(path) == {"GTE012"}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("make", ["dangling", "pipe"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, make: str) -> None:
    file = build(tmp_path) / name
    file.unlink()
    if make == "dangling":
        file.symlink_to(tmp_path / "nowhere")
    else:
        os.mkfifo(file)
    assert grave(tmp_path) == {"GTE006"}


@pytest.mark.parametrize("tie", [True, ABSENT])
@pytest.mark.parametrize("row", [0, 64, 127])
def test_a_decoder_that_differs_in_one_row_from_what_it_is_tied_to(tmp_path: Path, tie: object, row: int) -> None:
    config = remote_config(architectures=["NewForMaskedLM"], tie_word_embeddings=tie)
    arrays = tensors(config, "mlm")
    arrays["lm_head.decoder.weight"] = arrays[f"new.{WORDS}"].copy()
    assert grave(write(tmp_path, config, arrays)) == set()
    arrays["lm_head.decoder.weight"][row, -1] += 1
    write(tmp_path, config, arrays)
    assert [f.code for f in run(open_checkpoint(tmp_path)).findings] == ["GTE240"]
    assert f"at row {row}" in run(open_checkpoint(tmp_path)).findings[0].message


def test_an_untied_decoder_may_differ_but_not_be_absent(tmp_path: Path) -> None:
    config = remote_config(architectures=["NewForMaskedLM"], tie_word_embeddings=False)
    arrays = tensors(config, "mlm")
    assert grave(write(tmp_path, config, arrays)) == {"GTE201"}
    arrays["lm_head.decoder.weight"] = np.ones_like(arrays[f"new.{WORDS}"])
    assert grave(write(tmp_path, config, arrays)) == set()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("embeddings.position_ids", "GTE250"),
        ("encoder.rotary_emb.inv_freq", "GTE251"),
        ("pooler.dense.weight", "GTE204"),
        ("encoder.layer.2.attn_ln.weight", "GTE202"),
        ("embeddings.position_embeddings.weight", "GTE202"),
        ("extra.weight", "GTE203"),
        ("bert.encoder.layer.0.attn_ln.weight", "GTE203"),
    ],
)
def test_a_tensor_too_many(tmp_path: Path, name: str, code: str) -> None:
    assert damaged(tmp_path, "remote", lambda t: t.update({name: np.ones(32, np.float32)})) == {code}


def test_a_renamed_tensor_is_missing_and_the_hint_names_it(tmp_path: Path) -> None:
    build(tmp_path)
    arrays = load(tmp_path)
    arrays["encoder.layer.0.attention_norm.weight"] = arrays.pop("encoder.layer.0.attn_ln.weight")
    save(tmp_path / "model.safetensors", arrays)
    findings = run(open_checkpoint(tmp_path)).findings
    assert [finding.code for finding in findings] == ["GTE201"]
    assert "`encoder.layer.0.attention_norm.weight`" in findings[0].hint


def test_long_lists_show_five_and_count_the_rest(tmp_path: Path) -> None:
    change_config(build(tmp_path), num_hidden_layers=3)
    findings = run(open_checkpoint(tmp_path)).findings
    assert len(findings) == 5
    assert findings[-1].message.endswith("(and 6 more such)")
    assert "more" not in findings[0].message


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_a_pad_row_of_negative_zeros_is_zero(tmp_path: Path, dtype: str) -> None:
    config = remote_config(dtype=dtype)
    arrays = {name: array.astype(dtype) for name, array in tensors(config).items()}
    arrays[WORDS][1] = -0.0
    assert run(open_checkpoint(write(tmp_path, config, arrays))).findings == ()
    arrays[WORDS][1, -1] = 6e-8
    write(tmp_path, config, arrays)
    assert grave(tmp_path) == {"GTE230"}


def test_zero_rows_are_told_with_their_tokens(tmp_path: Path) -> None:
    config = remote_config(vocab_size=4096)
    arrays = tensors(config)
    arrays[WORDS][[0, 5, 2000, 2001, 4095]] = 0
    write(tmp_path, config, arrays)
    tokens = {"0": {"content": "<s>"}, "2000": {"content": "<mask>"}, "9999": {"content": "<far>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": tokens}))
    finding = next(f for f in run(open_checkpoint(tmp_path)).findings if f.code == "GTE231")
    assert "4 rows all zero" in finding.message
    assert "0 (`<s>`), 5, 2000 (`<mask>`), 4095" in finding.message
    assert "searched" in finding.message


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [("new.", "new.gte.", "GTE210"), ("new.", "gte.", None), ("lm_head.norm", "lm_head.layer_norm", "GTE211")],
)
def test_damaged_names_do_not_keep_the_tensors_from_being_judged(
    tmp_path: Path, old: str, new: str, code: str | None
) -> None:
    config = native_config(architectures=["GteForMaskedLM"])
    arrays = {name.replace(old, new): array for name, array in tensors(config, "mlm").items()}
    if new == "new.gte.":
        arrays = {name.replace("lm_head", "new.lm_head"): array for name, array in arrays.items()}
    wanted = set() if code is None else {code}
    report = run(open_checkpoint(write(tmp_path, config, arrays)))
    assert report.skipped == ()
    assert grave(tmp_path) == wanted
    write(tmp_path, config, {name: array for name, array in arrays.items() if not name.endswith("dense.bias")})
    assert grave(tmp_path) == {*wanted, "GTE201"}
