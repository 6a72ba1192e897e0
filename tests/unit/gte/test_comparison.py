"""Configs compared by meaning: dialects and defaults make no difference, everything else does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gte_surgery.errors import CheckpointError
from gte_surgery.gte.comparison import KeyDifference, differences_in_meaning, differences_in_spelling
from gte_surgery.gte.kinds import Head
from gte_surgery.gte.new_impl.members import native_members, remote_members
from tests import builder

F32 = ("float32", "float32")
HEADS = {"legacy-mlm": Head.MASKED_LM, "legacy-reranker": Head.SEQUENCE_CLASSIFICATION}
CONVERTIBLE = (
    "legacy-base", "legacy-en-v1.5", "legacy-mixed-ntk", "legacy-mlm", "legacy-multilingual", "legacy-norope-scaling",
    "legacy-reranker", "legacy-type2", "legacy-unpacked-qkv", "snowflake-m-v2",
)  # fmt: skip


def meant(left: dict[str, object], right: dict[str, object]) -> list[str]:
    return [item.key for item in differences_in_meaning(left, right, F32)]


@pytest.mark.parametrize("case", CONVERTIBLE)
def test_a_config_in_either_dialect_means_the_same(case: str, golden: Path) -> None:
    values = json.loads((golden / case / "config.json").read_text())
    head = HEADS.get(case, Head.NONE)
    native = native_members(values, head)
    remote = remote_members(native, head)
    assert meant(values, native) == meant(native, values) == meant(values, remote) == []
    spelled = {item.key for item in differences_in_spelling(values, native, [])}
    assert {"auto_map", "rope_parameters"} <= spelled
    assert not spelled & {"hidden_size", "vocab_size", "hidden_act"}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"vocab_size": 192}, "vocab_size"),
        ({"pad_token_id": None}, "pad_token_id"),
        ({"layer_norm_type": "rms_norm"}, "layer_norm_type"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"hidden_dropout_prob": 0.2}, "hidden_dropout_prob"),
        ({"hidden_dropout_prob": 0}, "hidden_dropout_prob"),
        ({"classifier_dropout": 0.1}, "classifier_dropout"),
        ({"unpad_inputs": "false"}, "unpad_inputs"),
        ({"rope_theta": 20001}, "rope"),
        ({"rope_scaling": None}, "rope"),
        ({"rope_scaling": {"type": "ntk", "factor": 8.0, "mixed_b": 0.5}}, "rope"),
        ({"dtype": "float16"}, "dtype"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"my_own_key": [1, 2]}, "my_own_key"),
    ],
)
def test_whatever_a_loader_or_a_user_would_notice_is_a_difference(change: dict[str, object], key: str) -> None:
    before = builder.remote_config()
    after = before | change
    assert meant(before, after) == meant(after, before) == [key]
    assert differences_in_spelling(before, after, differences_in_meaning(before, after, F32)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"transformers_version": "4.57.6"},
        {"architectures": ["NewForMaskedLM"]},
        {"rope_theta": 20000.0},
        {"hidden_dropout_prob": builder.ABSENT},
        {"unpad_inputs": builder.ABSENT},
        {"classifier_dropout": builder.ABSENT},
        {"use_memory_efficient_attention": 0},
        {"tie_word_embeddings": True},
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
        {"dtype": "torch.float32"},
        {"dtype": builder.ABSENT, "torch_dtype": "float32"},
        {"dtype": builder.ABSENT},
        {"head_dim": 8},
    ],
)
def test_defaults_and_other_words_are_notes_only(change: dict[str, object]) -> None:
    before = builder.remote_config()
    after = builder.remote_config(**change)
    assert meant(before, after) == meant(after, before) == []
    written = {key for key in change if before.get(key, builder.ABSENT) != after.get(key, builder.ABSENT)}
    spelled = {item.key for item in differences_in_spelling(before, after, [])}
    assert written <= spelled


def test_a_rope_that_lost_its_digits_is_a_difference() -> None:
    exact = builder.native_config()
    rope = {"rope_type": "linear", "rope_theta": 160000.0, "factor": 1.6818}
    found = differences_in_meaning(exact, exact | {"rope_parameters": rope}, F32)
    assert [item.key for item in found] == ["rope"]
    assert meant(builder.remote_config(), exact) == []


@pytest.mark.parametrize("change", [{"factor": 4.0}, {"beta_fast": 16}])
def test_ropes_that_no_gte_knows_are_compared_as_they_are_written(change: dict[str, object]) -> None:
    yarn = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0}
    before = builder.native_config(rope_parameters=yarn)
    assert meant(before, json.loads(json.dumps(before))) == []
    assert meant(before, builder.native_config(rope_parameters=yarn | change)) == ["rope"]


def test_absolute_positions_have_no_rope_to_compare() -> None:
    before = builder.remote_config(position_embedding_type="absolute")
    after = builder.remote_config(position_embedding_type="absolute", rope_theta=5)
    assert meant(before, after) == []
    assert meant(before, builder.remote_config()) == ["position_embedding_type", "rope"]


def test_a_config_without_a_dtype_has_that_of_the_weights() -> None:
    left, right = builder.remote_config(dtype=builder.ABSENT), builder.remote_config(dtype="float16")
    assert differences_in_meaning(left, right, ("float32", "float16")) == [KeyDifference("dtype", "float32", "float16")]
    assert differences_in_meaning(left, right, ("float16", "float16")) == []


def test_labels_count_by_name() -> None:
    left = builder.remote_config(id2label={"0": "no", "1": "yes"})
    assert meant(left, builder.remote_config(id2label={"0": "no", "1": "maybe"})) == ["id2label"]
    assert meant(left, builder.remote_config()) == ["id2label"]
    assert meant(left, builder.remote_config(id2label={"0": "no"})) == ["num_labels", "id2label", "label2id"]


def test_a_config_of_another_family_is_refused() -> None:
    with pytest.raises(CheckpointError, match="model_type"):
        meant(builder.remote_config(), {"model_type": "electra"})


def test_a_difference_shows_both_values() -> None:
    before = builder.remote_config(rope_theta=10000, rope_scaling=None)
    after = before | {"rope_theta": 20000, "architectures": ["X"]}
    found = differences_in_meaning(before, after, F32)
    assert found == [KeyDifference("rope", "theta 10000", "theta 20000")]
    assert differences_in_spelling(before, after, found) == [
        KeyDifference("architectures", before["architectures"], ["X"])
    ]


def test_a_dtype_is_blamed_under_both_of_its_names() -> None:
    before = builder.remote_config(dtype="float32", torch_dtype="float32")
    after = before | {"dtype": "float16", "torch_dtype": "float16"}
    found = differences_in_meaning(before, after, F32)
    assert found == [KeyDifference("dtype", "float32", "float16")]
    assert differences_in_spelling(before, after, found) == []
    assert {item.key for item in differences_in_spelling(before, after, [])} == {"dtype", "torch_dtype"}


def test_without_a_dtype_anywhere_there_is_none() -> None:
    nowhere = builder.remote_config(dtype=builder.ABSENT)
    found = differences_in_meaning(nowhere, builder.remote_config(dtype="float16"), (None, None))
    assert found == [KeyDifference("dtype", None, "float16")]


def test_heads_of_another_size_are_a_rope_of_other_frequencies() -> None:
    before, after = builder.remote_config(), builder.remote_config(num_attention_heads=8)
    assert meant(before, after) == ["num_attention_heads", "rope"]


def test_frequencies_are_equal_to_nine_digits_and_not_to_eight() -> None:
    def linear(factor: float) -> dict[str, object]:
        return builder.native_config(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": factor})

    assert meant(linear(2.0), linear(2.0 * (1 + 1e-10))) == []
    assert meant(linear(2.0), linear(2.0 * (1 + 3e-9))) == ["rope"]
