"""What `inspect` is told of sound, broken and strange checkpoints."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.description import Description, describe
from gte_surgery.render.description import description_text
from tests.builder import build, change_config, load, native_config, remote_config, save, tensors, write
from tests.conftest import GOLDEN


def described(path: Path) -> Description:
    return describe(open_checkpoint(path))


def test_the_parts_add_up_to_the_whole(tmp_path: Path) -> None:
    config = remote_config(architectures=["NewForMaskedLM"])
    arrays = tensors(config, "mlm") | {"extra.weight": np.ones((3, 5), np.float32)}
    found = described(write(tmp_path, config, arrays, shards=3))
    assert found.parameters == sum(array.size for array in arrays.values())
    assert found.nbytes == sum(array.nbytes for array in arrays.values())
    assert sum(part.parameters for part in found.parts) == found.parameters
    assert sum(part.nbytes for part in found.parts) == found.nbytes
    assert [(part.name, part.tensors) for part in found.parts] == [
        ("embeddings", 4), ("layers", 22), ("head", 5), ("other", 1),
    ]  # fmt: skip
    assert found.parts[-1].parameters == 15
    assert found.shards == 3


def test_memory_is_four_two_and_sixteen_bytes_a_parameter(tmp_path: Path) -> None:
    found = described(build(tmp_path))
    assert found.memory.inference_fp32 == 4 * found.parameters
    assert found.memory.inference_fp16 == 2 * found.parameters
    assert found.memory.training_fp32 == 16 * found.parameters


@pytest.mark.parametrize(
    ("name", "dialect", "layout", "head", "rope"),
    [
        ("legacy-base", "remote", "a", "none", "theta 20000, ntk factor 8"),
        ("legacy-mlm", "remote", "b", "mlm", "theta 20000, ntk factor 8"),
        ("legacy-multilingual", "remote", "b", "classifier", "theta 20000, ntk factor 8"),
        ("legacy-reranker", "remote", "b", "reranker", "theta 20000, ntk factor 8"),
        ("legacy-mixed-ntk", "remote", "a", "none", "theta 20000, ntk factor 4, mixed_b 0.7"),
        ("legacy-absolute", "remote", "a", "none", "none, absolute positions"),
        ("snowflake-m-v2", "remote-renamed", "a", "none", "theta 10000"),
    ],
)
def test_the_golden_checkpoints_are_recognised(name: str, dialect: str, layout: str, head: str, rope: str) -> None:
    found = described(GOLDEN / name)
    assert (found.dialect, found.layout, found.head) == (dialect, layout, head)
    assert found.rope is not None
    assert found.rope.words == rope
    assert found.dtypes == (("F32", len(found.tensors)),)
    assert found.faults == 0


def test_wavelengths_of_a_plain_rope_run_from_one_turn_to_theta_to_the_last_pair(tmp_path: Path) -> None:
    found = described(build(tmp_path, remote_config(rope_scaling=None, rope_theta=10000)))
    assert found.rope is not None
    assert found.rope.shortest_wavelength == pytest.approx(2 * math.pi)
    assert found.rope.longest_wavelength == pytest.approx(2 * math.pi * 10000 ** (6 / 8))


def test_vocabulary_pad_and_tokens_come_from_table_and_tokenizer(tmp_path: Path) -> None:
    build(tmp_path)
    tokens = {"0": {"content": "<s>"}, "1": {"content": "<pad>"}, "119": {"content": "<mask>"}}
    settings = {"added_tokens_decoder": tokens, "pad_token": "<pad>", "mask_token": "<mask>", "cls_token": "<s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    found = described(tmp_path)
    assert found.vocabulary is not None
    assert (found.vocabulary.rows, found.vocabulary.tokenizer, found.vocabulary.spare) == (128, 120, 8)
    assert found.pad is not None
    assert (found.pad.id, found.pad.token, found.pad.norm, found.pad.is_zero) == (1, "<pad>", 0.0, True)
    assert dict(found.special_ids) == {"pad": 1, "mask": 119, "cls": 0}


def test_special_ids_of_config_json_are_told_where_no_tokenizer_lies(tmp_path: Path) -> None:
    found = described(build(tmp_path, remote_config(cls_token_id=2, mask_token_id=True, sep_token_id=None)))
    assert (found.special_ids, dict(found.stated_ids)) == ((), {"pad": 1, "cls": 2})
    assert "special ids" in description_text(found)
    assert "pad 1, cls 2, by config.json" in description_text(found)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert "by config.json" not in description_text(described(tmp_path))


def test_the_norm_of_a_trained_pad_row_is_told(tmp_path: Path) -> None:
    arrays = load(build(tmp_path))
    arrays["embeddings.word_embeddings.weight"][1] = 0.5
    save(tmp_path / "model.safetensors", arrays)
    pad = described(tmp_path).pad
    assert pad is not None
    assert pad.norm == pytest.approx(0.5 * math.sqrt(32))
    assert pad.is_zero is False


def test_sentence_transformers_files_are_read(tmp_path: Path) -> None:
    (build(tmp_path) / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true, "word_embedding_dimension": 32}'
    )
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 128}')
    found = described(tmp_path)
    assert (found.pooling, found.max_seq_length) == ("cls_token", 128)
    assert {file.name for file in found.files} >= {"1_Pooling/config.json", "config.json", "model.safetensors"}


def test_the_release_of_this_shape_is_named_with_what_differs(tmp_path: Path) -> None:
    change_config(
        build(tmp_path),
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        vocab_size=32000,
    )
    found = described(tmp_path)
    assert found.release == "gte-multilingual-base"
    assert found.differences == (("vocab_size", 32000, 250048),)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "config.json").unlink(),
        lambda path: (path / "config.json").write_text("[]"),
        lambda path: (path / "model.safetensors").unlink(),
        lambda path: (path / "model.safetensors").write_bytes(b"<html>"),
        lambda path: change_config(path, model_type="electra"),
        lambda path: change_config(path, pad_token_id=10**6),
        lambda path: change_config(path, num_attention_heads=10**6),
        lambda path: change_config(path, rope_scaling={"type": "yarn"}),
    ],
)
def test_a_broken_checkpoint_is_described_as_far_as_it_goes(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    damage(build(tmp_path))
    found = described(tmp_path)
    assert found.files
    json.dumps(asdict(found))
    assert found.faults or found.sizes is None or found.rope is None or found.pad is not None


def test_a_native_checkpoint_in_a_hub_cache_is_described_and_left_alone(tmp_path: Path) -> None:
    sound = build(tmp_path / "sound", native_config())
    snapshot = tmp_path / "models--x--y" / "snapshots" / "abc"
    blobs = tmp_path / "models--x--y" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(sound.iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / str(number))
    found = described(snapshot)
    assert found.faults == 0
    assert found.parameters == described(sound).parameters
    assert found.rope is not None
    assert found.rope.kind == "linear"
