"""Remote configs made from native ones: what is said explicitly, what rides along, what is refused."""

from __future__ import annotations

import pytest

from gte_surgery.errors import RefusedError
from gte_surgery.gte.families import read_config
from gte_surgery.gte.family import Release
from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.new_impl.members import native_members, remote_members
from gte_surgery.gte.new_impl.releases import RELEASES, release_config
from gte_surgery.gte.rope import Rope, inv_freq
from tests import builder


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_every_release_comes_back_from_its_native_form(release: Release) -> None:
    published = release_config(release, Dialect.REMOTE)
    assert remote_members(native_members(published, release.head), release.head) == published
    native = release_config(release, Dialect.NATIVE)
    there = remote_members(native, release.head)
    assert read_config(there).rope == release.rope
    assert native_members(there, release.head) == native


def test_sizes_whose_defaults_differ_are_written_out() -> None:
    members = remote_members({"model_type": "gte", "rope_parameters": {"rope_type": "default"}}, Head.NONE)
    assert (members["vocab_size"], members["max_position_embeddings"], members["pad_token_id"]) == (250048, 8192, 1)
    assert (members["layer_norm_type"], members["position_embedding_type"], members["pack_qkv"]) == (
        "layer_norm",
        "rope",
        True,
    )


def test_a_linear_rope_that_no_ntk_was_made_from_still_has_the_same_angles() -> None:
    native = builder.native_config(rope_parameters={"rope_type": "linear", "rope_theta": 12345.5, "factor": 3.0})
    before, after = read_config(native), read_config(remote_members(native, Head.NONE))
    assert after.rope.kind == "ntk"
    assert inv_freq(after.rope, 8) == pytest.approx(inv_freq(before.rope, 8), rel=1e-12)


@pytest.mark.parametrize("rope", [{"rope_type": "dynamic", "factor": 2.0}, {"rope_type": "yarn", "factor": 4.0}])
def test_a_rope_without_a_remote_form_is_refused(rope: dict[str, object]) -> None:
    with pytest.raises(RefusedError, match="no form for it"):
        remote_members(builder.native_config(rope_parameters={"rope_theta": 1e4, **rope}), Head.NONE)


def test_unknown_members_ride_along_and_a_remote_config_stays() -> None:
    native = builder.native_config(my_own=[1, 2], tie_word_embeddings=False)
    members = remote_members(native, Head.NONE)
    assert (members["my_own"], members["tie_word_embeddings"]) == ([1, 2], False)
    assert "rope_parameters" not in members
    assert remote_members(members, Head.NONE) == members
    assert read_config(members).rope == Rope("ntk", 20000.0, 8.0)


def test_a_refused_rope_says_which_ones_there_are() -> None:
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}
    with pytest.raises(RefusedError) as raised:
        remote_members(builder.native_config(rope_parameters=yarn), Head.NONE)
    assert raised.value.message == (
        "config.json: rope is yarn (not a rope of this family), the remote dialect has no form for it"
    )
    assert raised.value.hint == "the remote code knows plain rope, and ntk scaling with or without mixed_b"


def test_keys_stay_in_order_and_a_sorted_config_stays_sorted() -> None:
    native = dict(sorted(builder.native_config().items()))
    assert list(remote_members(native, Head.NONE)) == sorted(remote_members(native, Head.NONE))
    backwards = dict(reversed(native.items()))
    kept = [key for key in remote_members(backwards, Head.NONE) if key in native]
    assert kept == [key for key in backwards if key in kept]


@pytest.mark.parametrize(("theta", "wanted"), [(10000.0, "10000"), (12345.5, "12345.5")])
def test_a_whole_theta_is_written_as_one(theta: float, wanted: str) -> None:
    rope = {"rope_type": "default", "rope_theta": theta}
    assert repr(remote_members(builder.native_config(rope_parameters=rope), Head.NONE)["rope_theta"]) == wanted


def test_both_architectures_of_a_native_config_stay() -> None:
    native = builder.native_config(architectures=["GteModel", "GteForTokenClassification"])
    found = remote_members(native, Head.TOKEN_CLASSIFICATION)["architectures"]
    assert found == ["NewModel", "NewForTokenClassification"]


def test_both_architectures_of_a_remote_config_stay() -> None:
    both = ["NewModel", "NewForTokenClassification"]
    assert remote_members(builder.remote_config(architectures=both), Head.TOKEN_CLASSIFICATION)["architectures"] == both
