"""A config is read as its loader would read it, and refused only where no model could be built from it."""

from __future__ import annotations

import pytest

from gte_surgery.errors import CheckpointError
from gte_surgery.gte.families import read_config
from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.rope import Rope


def test_a_bare_remote_config_has_the_defaults_of_the_reference_code() -> None:
    config = read_config({"model_type": "new"})
    assert config.dialect is Dialect.REMOTE
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (30528, 768, 12)
    assert (config.num_attention_heads, config.intermediate_size, config.max_position_embeddings) == (12, 3072, 2048)
    assert (config.type_vocab_size, config.pad_token_id, config.initializer_range) == (1, None, 0.02)
    assert (config.layer_norm_type, config.layer_norm_eps, config.hidden_act) == ("layer_norm", 1e-12, "gelu")
    assert (config.position_embedding_type, config.pack_qkv) == ("rope", True)
    assert config.rope == Rope("default", 10000.0)


def test_a_bare_native_config_has_the_defaults_of_transformers() -> None:
    config = read_config({"model_type": "gte"})
    assert config.dialect is Dialect.NATIVE
    assert (config.vocab_size, config.max_position_embeddings, config.pad_token_id) == (250048, 8192, 1)
    assert config.rope == Rope("default", 160000.0)


def test_a_null_pad_is_no_pad_even_where_the_default_is_one() -> None:
    assert read_config({"model_type": "gte", "pad_token_id": None}).pad_token_id is None


def test_the_native_model_ignores_keys_that_ride_along() -> None:
    riding = {"layer_norm_type": "rms_norm", "position_embedding_type": "absolute", "pack_qkv": False}
    config = read_config({"model_type": "gte", "rope_parameters": {"rope_type": "default"}, **riding})
    assert (config.layer_norm_type, config.position_embedding_type, config.pack_qkv) == ("layer_norm", "rope", True)


@pytest.mark.parametrize(("value", "wanted"), [("false", True), ("true", True), ("", False), (0, False), (None, False)])
def test_flags_count_as_python_counts_them(value: object, wanted: bool) -> None:
    assert read_config({"model_type": "new", "pack_qkv": value}).pack_qkv is wanted


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({}, 2),
        ({"id2label": {"0": "A", "1": "B", "2": "C"}}, 3),
        ({"num_labels": 5}, 5),
        ({"id2label": None, "num_labels": None}, 2),
        ({"id2label": {"0": "A"}, "num_labels": 5}, 1),
    ],
)
def test_labels_are_counted(keys: dict[str, object], wanted: int) -> None:
    assert read_config({"model_type": "new", **keys}).num_labels == wanted


def test_both_names_of_the_dtype_are_read() -> None:
    assert read_config({"model_type": "new", "torch_dtype": "float16"}).dtype == "float16"
    assert read_config({"model_type": "new", "torch_dtype": "float16", "dtype": "float32"}).dtype == "float32"
    assert read_config({"model_type": "new"}).dtype is None


def test_architectures_are_kept_and_null_is_none() -> None:
    assert read_config({"model_type": "new", "architectures": ["NewModel", "X"]}).architectures == ("NewModel", "X")
    assert read_config({"model_type": "new", "architectures": None}).architectures == ()


@pytest.mark.parametrize("pad", [-1, 5000])
def test_a_pad_outside_the_vocabulary_is_read_and_left_to_the_rules(pad: int) -> None:
    assert read_config({"model_type": "gte", "vocab_size": 256, "pad_token_id": pad}).pad_token_id == pad


def test_heads_that_do_not_divide_are_read_and_left_to_the_rules() -> None:
    assert read_config({"model_type": "gte", "hidden_size": 65, "num_attention_heads": 4}).head_size == 16


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("vocab_size", -5, "vocab_size: -5, must be at least 1"),
        ("vocab_size", 1000.0, "vocab_size: 1000.0, must be an integer"),
        ("vocab_size", True, "vocab_size: true, must be an integer"),
        ("vocab_size", "256", 'vocab_size: "256", must be an integer'),
        ("vocab_size", 10**30, "must be at most 2147483647"),
        ("num_hidden_layers", 10**6, "num_hidden_layers: 1000000, must be at most 4096"),
        ("num_hidden_layers", 0, "num_hidden_layers: 0, must be at least 1"),
        ("hidden_size", None, "hidden_size: null, must be an integer"),
        ("num_attention_heads", 1024, "num_attention_heads: 1024, must be at most 768"),
        ("type_vocab_size", -1, "type_vocab_size: -1, must be at least 0"),
        ("pad_token_id", "1", 'pad_token_id: "1", must be an integer or null'),
        ("initializer_range", -0.1, "initializer_range: -0.1, must be from 0 to 1e+30"),
        ("initializer_range", 10**400, "initializer_range: 1000"),
        ("layer_norm_eps", "1e-12", 'layer_norm_eps: "1e-12", must be a number'),
        ("layer_norm_type", "batch_norm", 'layer_norm_type: "batch_norm", must be "layer_norm" or "rms_norm"'),
        ("position_embedding_type", "alibi", 'position_embedding_type: "alibi", must be "rope" or "absolute"'),
        ("hidden_act", 7, "hidden_act: 7, must be a string"),
        ("num_labels", -1, "num_labels: -1, must be at least 0"),
    ],
)
def test_a_value_that_no_model_could_be_built_from_is_refused_by_its_key(key: str, value: object, wanted: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        read_config({"model_type": "new", key: value})
    assert wanted in raised.value.message


def test_a_head_size_of_its_own_is_refused_where_the_loader_would_obey_it() -> None:
    assert read_config({"model_type": "gte", "head_dim": 64}).head_size == 64
    with pytest.raises(CheckpointError, match="head_dim: 32, must be absent"):
        read_config({"model_type": "gte", "head_dim": 32})
    assert read_config({"model_type": "new", "head_dim": 32}).head_size == 64


@pytest.mark.parametrize(("config", "found"), [({}, "missing"), ({"model_type": "electra"}, '"electra"')])
def test_another_architecture_is_refused(config: dict[str, object], found: str) -> None:
    with pytest.raises(CheckpointError, match=f"model_type: {found}, must be") as raised:
        read_config(config)
    assert raised.value.hint == "this is not the config of a GTE model"


@pytest.mark.parametrize(
    "config",
    [
        {"hidden_size": 1, "num_attention_heads": 1},
        {"hidden_size": 2**20},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 2**12},
        {"num_attention_heads": 768},
        {"intermediate_size": 1},
        {"max_position_embeddings": 1},
        {"vocab_size": 1},
        {"vocab_size": 2**31 - 1},
        {"type_vocab_size": 0},
        {"layer_norm_eps": 0},
        {"initializer_range": 9e29},
        {"num_labels": 0},
    ],
    ids=str,
)
def test_the_smallest_and_the_largest_that_can_be_are_read(config: dict[str, int]) -> None:
    read = read_config({"model_type": "new", **config})
    assert {key: getattr(read, key) for key in config} == config


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("hidden_size", 2**20 + 1, "hidden_size: 1048577, must be at most 1048576"),
        ("num_hidden_layers", 2**12 + 1, "num_hidden_layers: 4097, must be at most 4096"),
        ("num_attention_heads", 0, "num_attention_heads: 0, must be at least 1"),
        ("intermediate_size", 0, "intermediate_size: 0, must be at least 1"),
        ("max_position_embeddings", 0, "max_position_embeddings: 0, must be at least 1"),
        ("vocab_size", 2**31, "vocab_size: 2147483648, must be at most 2147483647"),
        ("initializer_range", 1e30, "initializer_range: 1e+30, must be from 0 to 1e+30"),
    ],
)
def test_one_beyond_is_refused(key: str, value: object, wanted: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        read_config({"model_type": "new", key: value})
    assert raised.value.message == wanted


def test_a_head_size_that_does_not_divide_is_rounded_down_for_head_dim_and_rope_too() -> None:
    odd = {"model_type": "gte", "hidden_size": 65, "num_attention_heads": 4, "head_dim": 16}
    longrope = {"rope_type": "longrope", "rope_theta": 5, "short_factor": [2] * 8, "long_factor": [2] * 8}
    broken = read_config({**odd, "rope_parameters": {**longrope, "short_factor": []}}).rope
    assert broken.refusal == "short_factor and long_factor must be lists of 8 numbers above 0"
    assert read_config({**odd, "rope_parameters": longrope}).rope == Rope("longrope", 5.0, factors=(2.0,) * 8)
    with pytest.raises(CheckpointError, match=r"num_attention_heads = 16$"):
        read_config({**odd, "head_dim": 17})


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"model_type": "qwen2"}, "gte-Qwen2 or stella_en_1.5B"),
        ({"model_type": "qwen3"}, "Qwen3-Embedding"),
        ({"model_type": "nomic_bert"}, "nomic-embed"),
        ({"model_type": "bert", "position_embedding_type": "alibi"}, "a jina-embeddings model"),
        ({"model_type": "bert", "auto_map": {"AutoModel": "jinaai/jina-bert-implementation--x.Y"}}, "jina-embeddings"),
        ({"model_type": "xlm-roberta"}, "XLM-RoBERTa"),
    ],
)
def test_what_is_known_and_not_covered_is_told_by_name(values: dict[str, object], what: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        read_config(values)
    assert what in raised.value.hint
    assert raised.value.hint.endswith(": recognised, and not covered")
    assert ("with positions or code of another" in raised.value.message) == (values["model_type"] == "bert")
