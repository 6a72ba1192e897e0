"""Shapes, files and numbers that other programs leave: each is found for what it is, and the hint in hand mends it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gte_surgery.checks.run import run
from gte_surgery.cli.entry import run as main
from gte_surgery.findings import Finding
from tests.builder import (
    ABSENT,
    Config,
    build,
    change_config,
    load,
    native_config,
    remote_config,
    save,
    template,
    tensors,
    write,
    write_json,
    write_sidecars,
)


def errors(path: Path, **options: bool) -> list[Finding]:
    return [finding for finding in run(path, **options).findings if finding.severity.name == "ERROR"]


@pytest.mark.parametrize("grown", ["table", "bias"])
def test_a_table_and_a_bias_of_two_sizes_are_mended_by_the_hint(tmp_path: Path, grown: str) -> None:
    """The embeddings were resized and the masked-LM bias was not, or the other way round."""
    config = remote_config(architectures=["NewForMaskedLM"])
    arrays = tensors(config, "mlm")
    name = "new.embeddings.word_embeddings.weight" if grown == "table" else "lm_head.decoder.bias"
    arrays[name] = np.concatenate([arrays[name], arrays[name][:64]])
    path = write(tmp_path / "c", config, arrays)
    change_config(path, vocab_size=192)
    found = errors(path)
    assert {finding.code for finding in found} == {"GTE204"}
    if grown == "bias":
        assert all('set "vocab_size": 128' in finding.hint for finding in found)
        change_config(path, vocab_size=128)
        found = errors(path)
    (command,) = {finding.hint for finding in found}
    assert main(shlex.split(command)[1:]) == 0
    assert errors(path) == []


def test_placeholders_of_zero_3_are_called_so(tmp_path: Path) -> None:
    path = build(tmp_path / "c", native_config())
    arrays = {name: array if array.ndim < 2 else array.reshape(-1)[:0] for name, array in load(path).items()}
    save(path / "model.safetensors", arrays)
    (finding,) = errors(path)
    assert finding.code == "GTE205"
    assert "ZeRO-3" in finding.message
    assert "zero_to_fp32.py" in finding.hint


def test_fp8_numbers_without_their_scales_are_found_among_all_numbers(tmp_path: Path) -> None:
    path = build(tmp_path / "c")
    scaled = {
        name: (array / (np.abs(array).max(1, keepdims=True) / 448)).astype("f4") if "proj.weight" in name else array
        for name, array in load(path).items()
    }
    save(path / "model.safetensors", scaled)
    assert errors(path) == []
    assert [finding.code for finding in errors(path, values=True)] == ["GTE268"]


def test_a_shard_of_an_older_save_is_mentioned(tmp_path: Path) -> None:
    path = build(tmp_path / "c", shards=2)
    old = path / "model-00003-of-00003.safetensors"
    old.write_bytes((path / "model-00001-of-00002.safetensors").read_bytes())
    (finding,) = [finding for finding in run(path).findings if finding.code == "GTE066"]
    assert finding.location.file == old.name


@pytest.mark.parametrize("build_config", [native_config, remote_config])
@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"hidden_size": ABSENT}, '"hidden_size": 32'),
        ({"hidden_size": 64}, '"hidden_size": 32'),
        ({"intermediate_size": 64}, '"intermediate_size": 48'),
        ({"num_hidden_layers": 3}, '"num_hidden_layers": 2'),
        ({"num_hidden_layers": 1}, '"num_hidden_layers": 2'),
        ({"type_vocab_size": 3}, '"type_vocab_size": 1'),
        ({"vocab_size": 64}, '"vocab_size": 128'),
        ({"hidden_size": 64, "intermediate_size": 96}, '"hidden_size": 32, "intermediate_size": 48'),
        ({"num_hidden_layers": 12, "vocab_size": 256}, '"num_hidden_layers": 2, "vocab_size": 128'),
    ],
)
def test_the_sizes_that_the_tensors_have_are_read_off_them(
    build_config: Callable[..., Config], tmp_path: Path, stated: Config, told: str
) -> None:
    path = build(tmp_path / "c", build_config())
    change_config(path, **stated)
    found = errors(path)
    assert found
    assert all(f"set {told}" in finding.hint for finding in found)
    change_config(path, **json.loads(f"{{{told}}}"))
    assert errors(path) == []


@pytest.mark.parametrize("name", ["embeddings.word_embeddings", "layer.1.mlp.down_proj"])
def test_no_sizes_are_told_for_a_table_that_is_turned_over(tmp_path: Path, name: str) -> None:
    path = build(tmp_path / "c", native_config())
    arrays = load(path)
    (whole,) = [each for each in arrays if each.endswith(f"{name}.weight")]
    save(path / "model.safetensors", {**arrays, whole: np.ascontiguousarray(arrays[whole].T)})
    found = errors(path)
    assert [finding.code for finding in found] == ["GTE204"]
    assert found[0].hint == ""


@pytest.mark.parametrize("types", [0, 1, 2])
def test_the_types_of_a_pair_need_their_rows(tmp_path: Path, types: int) -> None:
    path = write_sidecars(build(tmp_path / "c", native_config(type_vocab_size=types)))
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    pair = template({"<s>": 0, "</s>": 2}, pair_type=1)
    write_json(path / "tokenizer.json", tokenizer | {"post_processor": pair})
    found = [finding for finding in errors(path) if finding.code == "GTE309"]
    assert len(found) == (1 if types == 1 else 0)
    for finding in found:
        command = shlex.split(finding.hint.strip("`"))[1:]
        assert main(command) == 0
        assert errors(path) == []
