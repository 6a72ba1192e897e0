"""The eight releases: totals of the published files, configs that read back, and which one a checkpoint resembles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gte_surgery.errors import UsageError
from gte_surgery.gte import families
from gte_surgery.gte.families import read_config
from gte_surgery.gte.family import Release
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.new_impl.family import NEW_IMPL
from gte_surgery.gte.new_impl.names import BARE, REMOTE_HEAD
from gte_surgery.gte.new_impl.releases import RELEASES, release_config
from gte_surgery.gte.rope import Rope, RopeKind, angle_gap
from gte_surgery.gte.schemas import violations


def release_named(name: str) -> Release:
    return families.find_release(name)[1]


PUBLISHED = {
    "gte-multilingual-base": (138, 305_369_089),
    "gte-base-en-v1.5": (135, 136_776_192),
    "gte-large-en-v1.5": (268, 434_139_136),
    "gte-multilingual-mlm-base": (141, 306_210_496),
    "gte-en-mlm-base": (140, 137_398_848),
    "gte-en-mlm-large": (273, 435_221_312),
    "gte-multilingual-reranker-base": (140, 305_959_681),
    "snowflake-arctic-embed-m-v2.0": (136, 305_368_320),
}
every_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
every_dialect = pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.value)


def config_of(release: Release, dialect: Dialect = Dialect.REMOTE, head: Head | None = None) -> GteConfig:
    return read_config(release_config(release, dialect, head))


def test_the_releases_are_the_published_eight() -> None:
    assert {release.name: (release.tensors, release.parameters) for release in RELEASES} == PUBLISHED


def test_stella_en_400m_is_of_this_family_under_another_name_and_code_of_its_own() -> None:
    """What wears this architecture is known by its config, whatever it is called and whoever keeps its code."""
    values = release_config(next(each for each in RELEASES if each.name == "gte-large-en-v1.5"), Dialect.REMOTE, None)
    stella = {**values, "_name_or_path": "stella_en_400M_v5", "auto_map": {"AutoModel": "modeling.NewModel"}}
    assert families.family_of(stella) is NEW_IMPL
    assert read_config(stella).dialect is Dialect.REMOTE


@every_dialect
@every_release
def test_the_inventory_has_as_many_tensors_and_parameters_as_the_published_file(
    release: Release, dialect: Dialect
) -> None:
    specs = NEW_IMPL.inventory(config_of(release, dialect), release.layout, release.head)
    assert (len(specs), sum(spec.size for spec in specs)) == PUBLISHED[release.name]


@every_dialect
@every_release
def test_a_release_config_fits_its_schema_and_reads_back(release: Release, dialect: Dialect) -> None:
    written = release_config(release, dialect)
    assert violations(written, "config.native" if dialect is Dialect.NATIVE else "config.remote") == []
    config = read_config(json.loads(json.dumps(written)))
    assert config.dialect is dialect
    assert (config.vocab_size, config.pad_token_id) == (release.vocab_size, release.pad_token_id)
    assert angle_gap(config.rope, release.rope, 64, 8191) < 1e-9
    assert list(written) == sorted(written)


@every_dialect
@every_release
def test_a_release_resembles_itself(release: Release, dialect: Dialect) -> None:
    assert NEW_IMPL.resembling(config_of(release, dialect), release.head) is release


def test_a_remote_config_has_the_keys_of_the_golden_one(golden: Path) -> None:
    wanted = json.loads((golden / "legacy-multilingual" / "config.json").read_text())
    written = release_config(release_named("gte-multilingual-base"), Dialect.REMOTE)
    assert set(wanted) - set(written) == {"transformers_version"}
    assert set(written) <= set(wanted)
    assert written["auto_map"] == wanted["auto_map"]
    assert written["architectures"] == ["NewModel", "NewForTokenClassification"]


def test_a_renamed_config_has_the_keys_of_the_golden_one(golden: Path) -> None:
    wanted = json.loads((golden / "snowflake-m-v2" / "config.json").read_text())
    written = release_config(release_named("snowflake-arctic-embed-m-v2.0"), Dialect.RENAMED)
    assert set(written) == set(wanted) - {"transformers_version"}
    assert (written["auto_map"], written["architectures"]) == (wanted["auto_map"], ["GteModel"])


def test_a_native_config_brings_its_rope_and_no_code() -> None:
    written = release_config(release_named("gte-base-en-v1.5"), Dialect.NATIVE)
    assert written["rope_parameters"] == {
        "rope_type": "linear",
        "rope_theta": 1000000.0,
        "factor": 1.0218971486541166,
    }
    assert {"auto_map", "rope_theta", "rope_scaling"} & set(written) == set()


def test_changes_and_another_head_are_taken_over() -> None:
    release = release_named("gte-base-en-v1.5")
    written = release_config(release, Dialect.NATIVE, Head.MASKED_LM, vocab_size=1024, num_hidden_layers=2)
    assert (written["vocab_size"], written["num_hidden_layers"]) == (1024, 2)
    assert written["architectures"] == ["GteForMaskedLM"]
    reranker = release_config(release, Dialect.REMOTE, Head.SEQUENCE_CLASSIFICATION)
    assert (reranker["id2label"], reranker["label2id"]) == ({"0": "LABEL_0"}, {"LABEL_0": 0})


def test_the_native_rope_follows_a_changed_head_size() -> None:
    release = release_named("gte-multilingual-base")
    written = release_config(release, Dialect.NATIVE, hidden_size=384)
    assert written["rope_parameters"] == {"rope_type": "linear", "rope_theta": 160000.0, "factor": 8 ** (2 / 32)}


def test_an_unknown_release_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="gte-huge") as raised:
        release_named("gte-huge")
    assert "gte-multilingual-reranker-base" in raised.value.hint


MULTILINGUAL = release_named("gte-multilingual-base")
SNOWFLAKE = release_named("snowflake-arctic-embed-m-v2.0")


@every_release
def test_a_release_whose_rope_was_lost_still_resembles_itself(release: Release) -> None:
    lost = config_of(release)._replace(rope=Rope("default", 160000.0))
    assert NEW_IMPL.resembling(lost, release.head) is release


@every_release
def test_a_release_whose_factor_was_rounded_still_resembles_itself(release: Release) -> None:
    rope = config_of(release, Dialect.NATIVE).rope
    rounded = config_of(release)._replace(rope=rope._replace(factor=round(rope.factor, 4)))
    assert NEW_IMPL.resembling(rounded, release.head) is release


def test_a_shrunken_vocabulary_does_not_make_a_multilingual_model_english() -> None:
    shrunken = config_of(MULTILINGUAL)._replace(vocab_size=32000, pad_token_id=0)
    assert NEW_IMPL.resembling(shrunken, MULTILINGUAL.head) is MULTILINGUAL


def test_a_bare_copy_resembles_the_release_whose_rope_it_has() -> None:
    assert NEW_IMPL.resembling(config_of(MULTILINGUAL), Head.NONE) is MULTILINGUAL
    assert NEW_IMPL.resembling(config_of(SNOWFLAKE), Head.NONE) is SNOWFLAKE


def test_other_sizes_resemble_nothing() -> None:
    assert NEW_IMPL.resembling(config_of(MULTILINGUAL)._replace(num_hidden_layers=6), Head.NONE) is None


def test_a_release_is_laid_out_by_its_head() -> None:
    assert {release.layout for release in RELEASES if release.head is Head.NONE} == {BARE}
    assert {release.layout for release in RELEASES if release.head is not Head.NONE} == {REMOTE_HEAD}


def test_a_remote_config_says_what_the_published_ones_say_but_leaves_unpadding_off(golden: Path) -> None:
    wanted = json.loads((golden / "legacy-multilingual" / "config.json").read_text())
    written = release_config(release_named("gte-multilingual-base"), Dialect.REMOTE)
    sizes = {"hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size"}
    same = set(written) - sizes - {"max_position_embeddings", "initializer_range", "dtype"}
    wanted["architectures"] = ["NewModel", "NewForTokenClassification"]
    assert {key: written[key] for key in same} == {key: wanted[key] for key in same}
    assert (written["unpad_inputs"], written["use_memory_efficient_attention"]) == (False, False)


def test_every_release_has_the_numbers_that_they_share() -> None:
    for release in RELEASES:
        written = release_config(release, Dialect.NATIVE)
        shared = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.1, "classifier_dropout": None}
        shared |= {"hidden_act": "gelu", "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pack_qkv": True}
        shared |= {"max_position_embeddings": 8192, "layer_norm_type": "layer_norm", "position_embedding_type": "rope"}
        assert {key: written[key] for key in shared} == shared


def test_the_head_and_the_types_tell_releases_of_one_rope_apart() -> None:
    reranker, base = release_named("gte-multilingual-reranker-base"), release_named("gte-multilingual-base")
    assert NEW_IMPL.resembling(config_of(base), Head.SEQUENCE_CLASSIFICATION) is reranker
    assert NEW_IMPL.resembling(config_of(reranker), Head.TOKEN_CLASSIFICATION) is base


@pytest.mark.parametrize("kind", ["none", "unsupported"])
def test_a_rope_that_is_not_one_resembles_none(kind: RopeKind) -> None:
    odd = config_of(MULTILINGUAL)._replace(rope=Rope(kind, 160000.0))
    assert NEW_IMPL.resembling(odd, MULTILINGUAL.head) is MULTILINGUAL
    assert NEW_IMPL.resembling(odd, Head.MASKED_LM) is release_named("gte-multilingual-mlm-base")


def test_the_nearer_vocabulary_breaks_a_tie() -> None:
    small, large = (
        config_of(MULTILINGUAL)._replace(vocab_size=vocab, rope=Rope("none", 1.0), type_vocab_size=9)
        for vocab in (30_000, 250_000)
    )
    assert release_named("gte-base-en-v1.5") is NEW_IMPL.resembling(small, Head.NONE)
    assert NEW_IMPL.resembling(large, Head.NONE) is SNOWFLAKE


def test_a_rope_that_is_a_radian_off_is_another_rope() -> None:
    rope = config_of(MULTILINGUAL, Dialect.NATIVE).rope
    assert 0.5 < angle_gap(rope, rope._replace(factor=1.0670), 64, 8191) < 1.5
    assert NEW_IMPL.resembling(config_of(MULTILINGUAL)._replace(rope=rope), Head.NONE) is MULTILINGUAL
    assert (
        NEW_IMPL.resembling(config_of(MULTILINGUAL)._replace(rope=rope._replace(factor=1.0670)), Head.NONE) is SNOWFLAKE
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gte-multilingual", "gte-multilingual-base"),
        ("Alibaba-NLP/GTE-Large-EN-v1.5", "gte-large-en-v1.5"),
        ("Snowflake/snowflake-arctic-embed-m-v2", "snowflake-arctic-embed-m-v2.0"),
        ("an-organisation-of-a-very-long-name/gte-multi", "gte-multilingual-base"),
        ("gte-bse-en-v1.5", "gte-base-en-v1.5"),
        ("bert-base-uncased", ""),
        ("", ""),
        ("nobody/", ""),
    ],
)
def test_a_name_that_is_close_to_a_release_is_told_which_one_is_meant(name: str, meant: str) -> None:
    with pytest.raises(UsageError) as raised:
        release_named(name)
    error = raised.value
    assert (error.message, error.typed, error.meant) == (f"release: {name!r}, is not known", name, meant)
    assert error.hint == f"known: {', '.join(families.releases())}"
