"""Any dialect's config becomes a native one that means the same network, or is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gte_surgery.errors import RefusedError
from gte_surgery.gte.families import read_config
from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.new_impl.members import native_members
from tests.builder import ABSENT, native_config, remote_config

NTK = {"factor": 8.0**0.25, "rope_theta": 160000.0, "rope_type": "linear"}


def test_a_remote_config_becomes_native_and_keeps_what_rides_along() -> None:
    members = native_members(remote_config(auto_map={"AutoModel": "x"}, my_key=[1]), Head.NONE)
    assert members["model_type"] == "gte"
    assert members["architectures"] == ["GteModel"]
    assert members["rope_parameters"] == NTK
    assert {"auto_map", "rope_theta", "rope_scaling"} & members.keys() == set()
    assert (members["my_key"], members["layer_norm_type"], members["pack_qkv"]) == ([1], "layer_norm", True)


def test_what_was_made_is_a_native_config_of_the_same_sizes() -> None:
    before, after = (read_config(c) for c in (remote_config(), native_members(remote_config(), Head.NONE)))
    assert after.dialect is Dialect.NATIVE
    for key in ("vocab_size", "hidden_size", "pad_token_id", "type_vocab_size", "max_position_embeddings", "pack_qkv"):
        assert getattr(after, key) == getattr(before, key)


def test_defaults_of_the_remote_dialect_are_written_out() -> None:
    gone = {"vocab_size": ABSENT, "max_position_embeddings": ABSENT, "pad_token_id": ABSENT}
    members = native_members(remote_config(**gone, rope_theta=ABSENT, rope_scaling=None), Head.NONE)
    assert (members["vocab_size"], members["max_position_embeddings"], members["pad_token_id"]) == (30528, 2048, None)
    assert members["rope_parameters"] == {"rope_theta": 10000.0, "rope_type": "default"}


@pytest.mark.parametrize("text", ["true", "false"])
def test_a_flag_that_is_a_string_becomes_what_the_loader_takes_it_for(text: str) -> None:
    assert native_members(remote_config(unpad_inputs=text), Head.NONE)["unpad_inputs"] is True


def test_storage_split_in_three_is_packed_in_the_native_dialect() -> None:
    assert native_members(remote_config(pack_qkv=False), Head.NONE)["pack_qkv"] is True


@pytest.mark.parametrize("key", ["head_dim", "partial_rotary_factor"])
def test_a_member_that_only_the_native_model_would_obey_is_left_behind(key: str) -> None:
    assert key not in native_members(remote_config(**{key: 4}), Head.NONE)


@pytest.mark.parametrize(
    ("declared", "head", "wanted"),
    [
        (
            ["NewModel", "NewForTokenClassification"],
            Head.TOKEN_CLASSIFICATION,
            ["GteModel", "GteForTokenClassification"],
        ),
        (["NewModel"], Head.TOKEN_CLASSIFICATION, ["GteForTokenClassification"]),
        (["NewForMaskedLM"], Head.NONE, ["GteModel"]),
        ([], Head.SEQUENCE_CLASSIFICATION, ["GteForSequenceClassification"]),
    ],
)
def test_architectures_name_the_head_that_is_really_there(declared: list[str], head: Head, wanted: list[str]) -> None:
    assert native_members(remote_config(architectures=declared), head)["architectures"] == wanted


def test_a_native_config_stays_as_it_is() -> None:
    assert native_members(native_config(), Head.NONE) == native_config()


def test_the_silent_theta_of_a_native_config_without_rope_is_written_out() -> None:
    members = native_members(native_config(rope_parameters=ABSENT), Head.NONE)
    assert members["rope_parameters"] == {"rope_theta": 160000.0, "rope_type": "default"}


def test_a_rope_that_only_transformers_knows_stays_in_a_native_config() -> None:
    yarn = {"factor": 2.0, "rope_theta": 5.0, "rope_type": "yarn"}
    assert native_members(native_config(rope_parameters=yarn), Head.NONE)["rope_parameters"] == yarn


def test_keys_stay_in_order_and_a_sorted_config_stays_sorted() -> None:
    remote = remote_config()
    assert list(native_members(dict(sorted(remote.items())), Head.NONE)) == sorted(native_members(remote, Head.NONE))
    unsorted = [key for key in native_members(remote, Head.NONE) if key in remote]
    assert unsorted == [key for key in remote if key in unsorted]


@pytest.mark.parametrize(
    ("changes", "head", "named"),
    [
        ({"layer_norm_type": "rms_norm"}, Head.NONE, "rms_norm"),
        ({"position_embedding_type": "absolute"}, Head.NONE, "absolute"),
        ({}, Head.QUESTION_ANSWERING, "question answering"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, Head.NONE, "dynamic"),
        ({"rope_theta": ABSENT, "rope_parameters": {"rope_type": "ntk"}}, Head.NONE, "rope_parameters"),
    ],
)
def test_what_the_native_model_cannot_express_is_refused(changes: dict[str, object], head: Head, named: str) -> None:
    with pytest.raises(RefusedError, match=named):
        native_members(remote_config(**changes), head)


def test_every_golden_config_becomes_native_but_the_two_that_cannot(golden: Path) -> None:
    refused = set()
    for folder in sorted(golden.iterdir()):
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        try:
            assert read_config(native_members(values, Head.NONE)).dialect is Dialect.NATIVE
        except RefusedError:
            refused.add(folder.name)
    assert refused == {"legacy-absolute", "legacy-rmsnorm"}


@pytest.mark.parametrize(
    ("changes", "head", "message"),
    [
        (
            {"layer_norm_type": "rms_norm"},
            Head.NONE,
            "config.json: layer_norm_type is rms_norm, the native model has LayerNorm only",
        ),
        (
            {"position_embedding_type": "absolute"},
            Head.NONE,
            "config.json: position_embedding_type is absolute, the native model has rotary positions only",
        ),
        (
            {},
            Head.QUESTION_ANSWERING,
            "config.json: the head is for question answering, the native model has no class for it",
        ),
        (
            {"rope_scaling": {"type": "yarn"}},
            Head.NONE,
            'config.json: rope is yarn (rope_scaling type: "yarn", must be "ntk"), the native model has no form for it',
        ),
    ],
)
def test_a_refusal_says_what_to_do(changes: dict[str, object], head: Head, message: str) -> None:
    with pytest.raises(RefusedError) as raised:
        native_members(remote_config(**changes), head)
    assert raised.value.message == message
    assert raised.value.hint == "keep the remote dialect and its code for this checkpoint"


def test_a_native_rope_in_a_remote_config_is_refused_unless_a_theta_stands_beside_it() -> None:
    rope = {"rope_type": "default"}
    with pytest.raises(RefusedError) as raised:
        native_members(remote_config(rope_theta=ABSENT, rope_parameters=rope), Head.NONE)
    assert raised.value.message == (
        "config.json: /rope_parameters: in a remote config, where no loader of that dialect reads it [GTE122]"
    )
    assert raised.value.hint == "put rope_theta and rope_scaling back first, with `gte-surgery convert --to remote`"
    assert native_members(remote_config(rope_parameters=rope), Head.NONE)["rope_parameters"] == NTK


def test_only_what_rides_along_in_a_remote_config_unread_is_left_behind() -> None:
    members = native_members(native_config(head_dim=8, partial_rotary_factor=1), Head.NONE)
    assert (members["head_dim"], members["partial_rotary_factor"]) == (8, 1)


@pytest.mark.parametrize("rope", [{"rope_type": "ntk", "factor": 2.0}, {"rope_type": "linear", "factor": "2"}])
def test_a_native_rope_that_no_loader_reads_is_refused(rope: dict[str, object]) -> None:
    with pytest.raises(RefusedError, match="the native model has no form for it"):
        native_members(native_config(rope_parameters={"rope_theta": 5.0, **rope}), Head.NONE)


def test_a_rope_scaling_that_transformers_reads_first_is_what_is_written_out() -> None:
    yarn = {"factor": 2.0, "rope_type": "yarn"}
    members = native_members(native_config(rope_scaling=yarn, rope_parameters={"rope_theta": 5.0}), Head.NONE)
    assert members["rope_parameters"] == {**yarn, "rope_theta": 160000.0}
    assert "rope_scaling" not in members


def test_a_longrope_keeps_the_length_of_its_config() -> None:
    mixed = {"type": "ntk", "factor": 4.0, "mixed_b": 0.7}
    parameters = native_members(remote_config(rope_scaling=mixed, max_position_embeddings=77), Head.NONE)
    assert isinstance(parameters["rope_parameters"], dict)
    assert parameters["rope_parameters"]["original_max_position_embeddings"] == 77


def test_a_class_name_of_ones_own_is_not_taken_for_the_bare_model() -> None:
    declared = native_members(
        native_config(architectures=["OurModel", "OurForTokenClassification"]), Head.TOKEN_CLASSIFICATION
    )
    assert declared["architectures"] == ["GteForTokenClassification"]
    both = native_config(architectures=["GteModel", "GteForTokenClassification"])
    assert native_members(both, Head.TOKEN_CLASSIFICATION)["architectures"] == both["architectures"]
