"""Each layout is recognised from names written out here, and every name goes to its canonical form and back."""

from __future__ import annotations

import pytest

from gte_surgery.gte.families import read_config
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Head, Layout
from gte_surgery.gte.new_impl.family import NEW_IMPL
from gte_surgery.gte.new_impl.names import (
    BARE,
    NATIVE_HEAD,
    REMOTE_HEAD,
    canonical_name,
    detect_layout,
    stored_name,
)

DAMAGED_BY_RESAVING = Layout("c", prefix="new.gte.", head_prefix="new.")
DAMAGED_HEAD_NORM = Layout("e", prefix="gte.", head_norm="layer_norm")
RENAMED = Layout("f", is_renamed=True, has_split_qkv=True, has_split_mlp=True, head_norm="layer_norm")
RENAMED_HEAD = Layout("f", "gte.", is_renamed=True, has_split_qkv=True, has_split_mlp=True, head_norm="layer_norm")
LAYOUTS = [BARE, REMOTE_HEAD, DAMAGED_BY_RESAVING, NATIVE_HEAD, DAMAGED_HEAD_NORM, RENAMED, RENAMED_HEAD]

ENCODER = [
    "embeddings.word_embeddings.weight",
    "encoder.layer.0.attention.qkv_proj.weight",
    "encoder.layer.0.mlp.up_gate_proj.weight",
]
RENAMED_ENCODER = [
    "embeddings.word_embeddings.weight",
    "layers.0.self_attn.q_proj.weight",
    "layers.0.post_attention_layernorm.weight",
    "layers.0.mlp.up_proj.weight",
]


def under(prefix: str, names: list[str]) -> list[str]:
    return [prefix + name for name in names]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (ENCODER, BARE),
        ([*under("new.", ENCODER), "lm_head.norm.weight"], REMOTE_HEAD),
        (under("new.", ENCODER), REMOTE_HEAD),
        ([*under("new.gte.", ENCODER), "new.lm_head.norm.weight"], DAMAGED_BY_RESAVING),
        ([*under("new.gte.", ENCODER), "new.classifier.weight"], DAMAGED_BY_RESAVING),
        ([*under("gte.", ENCODER), "lm_head.norm.weight"], NATIVE_HEAD),
        ([*under("gte.", ENCODER), "classifier.weight"], NATIVE_HEAD),
        ([*under("gte.", ENCODER), "lm_head.layer_norm.weight"], DAMAGED_HEAD_NORM),
        (RENAMED_ENCODER, RENAMED),
        ([*under("gte.", RENAMED_ENCODER), "lm_head.layer_norm.weight"], RENAMED_HEAD),
        ([*under("gte.", RENAMED_ENCODER), "classifier.weight"], RENAMED_HEAD),
    ],
)
def test_a_layout_is_recognised(names: list[str], wanted: Layout) -> None:
    assert detect_layout(names) == wanted


def test_split_storage_is_part_of_the_layout() -> None:
    unpacked = [name.replace("qkv_proj", "q_proj") for name in ENCODER]
    assert detect_layout(unpacked) == Layout("a", has_split_qkv=True)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["encoder.layer.0.attention.qkv_proj.weight"],
        [*ENCODER, *under("new.", ENCODER)],
        under("bert.", ENCODER),
        [*ENCODER, "encoder.layer.0.attention.q_proj.weight"],
    ],
    ids=["nothing", "no word embeddings", "two prefixes", "unknown prefix", "half split"],
)
def test_what_has_no_one_layout_gets_none(names: list[str]) -> None:
    assert detect_layout(names) is None


def test_a_stray_tensor_does_not_change_the_layout() -> None:
    names = [*ENCODER, "encoder.layer.1.attention.qkv_proj.weight", "encoder.layer.0.attention.q_proj.weight"]
    assert detect_layout(names) == BARE


def test_only_the_two_layouts_that_other_programs_misread_are_damaged() -> None:
    assert [layout.letter for layout in LAYOUTS if layout.is_damaged] == ["c", "e"]


@pytest.mark.parametrize(
    ("canonical", "layout", "stored"),
    [
        ("encoder.layer.3.attention.qkv_proj.bias", BARE, "encoder.layer.3.attention.qkv_proj.bias"),
        ("encoder.layer.3.attn_ln.bias", REMOTE_HEAD, "new.encoder.layer.3.attn_ln.bias"),
        ("lm_head.norm.weight", REMOTE_HEAD, "lm_head.norm.weight"),
        ("pooler.dense.weight", REMOTE_HEAD, "new.pooler.dense.weight"),
        ("pooler.dense.weight", DAMAGED_BY_RESAVING, "new.gte.pooler.dense.weight"),
        ("lm_head.norm.weight", DAMAGED_BY_RESAVING, "new.lm_head.norm.weight"),
        ("classifier.bias", DAMAGED_BY_RESAVING, "new.classifier.bias"),
        ("lm_head.norm.bias", DAMAGED_HEAD_NORM, "lm_head.layer_norm.bias"),
        ("encoder.layer.11.attention.k_proj.bias", RENAMED, "layers.11.self_attn.k_proj.bias"),
        ("encoder.layer.11.attention.o_proj.bias", RENAMED, "layers.11.self_attn.o_proj.bias"),
        ("encoder.layer.0.attn_ln.weight", RENAMED_HEAD, "gte.layers.0.post_attention_layernorm.weight"),
        ("encoder.layer.0.mlp_ln.weight", RENAMED_HEAD, "gte.layers.0.post_mlp_layernorm.weight"),
        ("encoder.layer.0.mlp.gate_proj.weight", RENAMED, "layers.0.mlp.gate_proj.weight"),
        ("embeddings.LayerNorm.bias", RENAMED_HEAD, "gte.embeddings.LayerNorm.bias"),
        ("lm_head.norm.bias", RENAMED_HEAD, "lm_head.layer_norm.bias"),
        ("qa_outputs.weight", REMOTE_HEAD, "qa_outputs.weight"),
    ],
)
def test_a_name_and_its_canonical_form(canonical: str, layout: Layout, stored: str) -> None:
    assert stored_name(canonical, layout) == stored
    assert canonical_name(stored, layout) == canonical


@pytest.mark.parametrize(
    ("stored", "layout"),
    [
        ("embeddings.LayerNorm.bias", REMOTE_HEAD),
        ("new.classifier.weight", REMOTE_HEAD),
        ("classifier.weight", DAMAGED_BY_RESAVING),
        ("encoder.layer.0.attn_ln.weight", RENAMED),
        ("lm_head.norm.weight", RENAMED_HEAD),
        ("optimizer.state", NATIVE_HEAD),
    ],
)
def test_a_name_of_another_layout_has_no_canonical_form(stored: str, layout: Layout) -> None:
    assert canonical_name(stored, layout) is None


def test_an_unknown_name_inside_the_layout_keeps_its_words() -> None:
    assert canonical_name("new.rotary_emb.inv_freq", REMOTE_HEAD) == "rotary_emb.inv_freq"
    assert canonical_name("layers.0.adapter", RENAMED) == "layers.0.adapter"
    assert canonical_name("layers.0.lora.weight", RENAMED) == "encoder.layer.0.lora.weight"


@pytest.fixture(params=[True, False], ids=["packed", "unpacked"])
def config(request: pytest.FixtureRequest) -> GteConfig:
    return read_config({"model_type": "new", "num_hidden_layers": 12, "pack_qkv": request.param})


@pytest.mark.parametrize("head", Head)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.letter}-{layout.prefix}")
def test_every_name_of_a_model_comes_back(config: GteConfig, layout: Layout, head: Head) -> None:
    specs = NEW_IMPL.inventory(config, layout, head)
    assert [canonical_name(spec.name, layout) for spec in specs] == [spec.canonical for spec in specs]
    assert len({spec.name for spec in specs}) == len(specs)
    if layout.prefix or head is Head.NONE:
        found = detect_layout(spec.name for spec in specs)
        assert found is not None
        assert (found.prefix, found.is_renamed) == (layout.prefix, layout.is_renamed)
        assert found.has_split_qkv is (layout.is_renamed or not config.pack_qkv)


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        (
            "attention.qkv_proj.weight",
            ("attention.q_proj.weight", "attention.k_proj.weight", "attention.v_proj.weight"),
        ),
        ("attention.qkv_proj.bias", ("attention.q_proj.bias", "attention.k_proj.bias", "attention.v_proj.bias")),
        ("mlp.up_gate_proj.weight", ("mlp.up_proj.weight", "mlp.gate_proj.weight")),
    ],
)
def test_a_packed_tensor_and_its_parts_find_each_other(whole: str, parts: tuple[str, ...]) -> None:
    at = "encoder.layer.3."
    assert NEW_IMPL.naming.parts_of(at + whole) == tuple(at + part for part in parts)
    assert [NEW_IMPL.naming.place_in_packed(at + part) for part in parts] == [
        (at + whole, number) for number in range(len(parts))
    ]


@pytest.mark.parametrize("name", ["encoder.layer.3.attention.o_proj.weight", "encoder.layer.3.mlp.down_proj.bias"])
def test_a_tensor_that_is_never_packed_is_its_own_part(name: str) -> None:
    assert NEW_IMPL.naming.parts_of(name) == (name,)
    assert NEW_IMPL.naming.place_in_packed(name) == (name, 0)


def test_split_feed_forwards_are_part_of_the_layout_and_halves_have_none() -> None:
    split = [*ENCODER[:2], "encoder.layer.0.mlp.up_proj.weight"]
    assert detect_layout(split) == Layout("a", has_split_mlp=True)
    assert detect_layout([*ENCODER, "encoder.layer.0.mlp.up_proj.weight"]) is None
    assert detect_layout([*ENCODER, "encoder.layer.1.mlp.up_gate_proj.weight", split[2]]) == BARE


def test_word_embeddings_alone_are_a_bare_model() -> None:
    assert detect_layout(ENCODER[:1]) == BARE


def test_a_head_needs_its_prefix() -> None:
    assert canonical_name("xyz.classifier.weight", DAMAGED_BY_RESAVING) is None
    assert canonical_name("old.lm_head.norm.weight", DAMAGED_BY_RESAVING) is None
