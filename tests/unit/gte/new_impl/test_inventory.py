"""The tensors of small configs, written out in full."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from gte_surgery.gte.families import read_config
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Head, Layout
from gte_surgery.gte.new_impl.family import NEW_IMPL
from gte_surgery.gte.new_impl.names import BARE, REMOTE_HEAD
from gte_surgery.gte.tensors import Init, TensorSpec

SIZES = {
    "vocab_size": 64,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "id2label": {"0": "A", "1": "B", "2": "C"},
}
RENAMED = Layout("f", is_renamed=True, has_split_qkv=True, has_split_mlp=True, head_norm="layer_norm")

LAYER = {
    "encoder.layer.0.attention.o_proj.bias": (8,),
    "encoder.layer.0.attention.o_proj.weight": (8, 8),
    "encoder.layer.0.attention.qkv_proj.bias": (24,),
    "encoder.layer.0.attention.qkv_proj.weight": (24, 8),
    "encoder.layer.0.attn_ln.bias": (8,),
    "encoder.layer.0.attn_ln.weight": (8,),
    "encoder.layer.0.mlp.down_proj.bias": (8,),
    "encoder.layer.0.mlp.down_proj.weight": (8, 12),
    "encoder.layer.0.mlp.up_gate_proj.weight": (24, 8),
    "encoder.layer.0.mlp_ln.bias": (8,),
    "encoder.layer.0.mlp_ln.weight": (8,),
}
MODEL = {
    "embeddings.LayerNorm.bias": (8,),
    "embeddings.LayerNorm.weight": (8,),
    "embeddings.token_type_embeddings.weight": (2, 8),
    "embeddings.word_embeddings.weight": (64, 8),
    **LAYER,
}


def parameter_count(specs: Iterable[TensorSpec]) -> int:
    return sum(spec.size for spec in specs)


def config(**changes: object) -> GteConfig:
    return read_config({"model_type": "new", **SIZES, **changes})


def shapes(config: GteConfig, head: Head = Head.NONE, layout: Layout = BARE) -> dict[str, tuple[int, ...]]:
    return {spec.name: spec.shape for spec in NEW_IMPL.inventory(config, layout, head)}


def test_a_bare_model() -> None:
    assert shapes(config()) == MODEL
    assert list(shapes(config())) == sorted(MODEL)


def test_parameters_are_counted() -> None:
    by_hand = 64 * 8 + 2 * 8 + 2 * 8 + (24 * 8 + 24) + (8 * 8 + 8) + 4 * 8 + 24 * 8 + (8 * 12 + 8)
    assert parameter_count(NEW_IMPL.inventory(config(), BARE, Head.NONE)) == by_hand


def test_no_type_vocabulary_means_no_table() -> None:
    assert set(MODEL) - set(shapes(config(type_vocab_size=0))) == {"embeddings.token_type_embeddings.weight"}


def test_absolute_positions_bring_a_table() -> None:
    with_table = shapes(config(position_embedding_type="absolute"))
    assert with_table == MODEL | {"embeddings.position_embeddings.weight": (16, 8)}


def test_rms_norm_drops_the_bias_of_layer_norms_but_not_of_the_embeddings_nor_of_the_head() -> None:
    missing = set(shapes(config(), Head.MASKED_LM)) - set(shapes(config(layer_norm_type="rms_norm"), Head.MASKED_LM))
    assert missing == {"encoder.layer.0.attn_ln.bias", "encoder.layer.0.mlp_ln.bias"}


def test_unpacked_storage() -> None:
    unpacked = shapes(config(pack_qkv=False))
    assert set(MODEL) - set(unpacked) == {f"encoder.layer.0.attention.qkv_proj.{kind}" for kind in ("weight", "bias")}
    assert {name: unpacked[name] for name in set(unpacked) - set(MODEL)} == {
        f"encoder.layer.0.attention.{part}_proj.{kind}": shape
        for part in "qkv"
        for kind, shape in (("weight", (8, 8)), ("bias", (8,)))
    }


def test_the_renamed_layout_splits_everything_even_where_the_config_packs() -> None:
    renamed = shapes(config(), layout=RENAMED)
    assert renamed["layers.0.mlp.gate_proj.weight"] == renamed["layers.0.mlp.up_proj.weight"] == (12, 8)
    assert renamed["layers.0.self_attn.v_proj.bias"] == (8,)
    assert parameter_count(NEW_IMPL.inventory(config(), RENAMED, Head.NONE)) == parameter_count(
        NEW_IMPL.inventory(config(), BARE, Head.NONE)
    )


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (
            Head.MASKED_LM,
            {
                "lm_head.decoder.bias": (64,),
                "lm_head.dense.bias": (8,),
                "lm_head.dense.weight": (8, 8),
                "lm_head.norm.bias": (8,),
                "lm_head.norm.weight": (8,),
            },
        ),
        (Head.TOKEN_CLASSIFICATION, {"classifier.bias": (3,), "classifier.weight": (3, 8)}),
        (
            Head.SEQUENCE_CLASSIFICATION,
            {
                "classifier.bias": (3,),
                "classifier.weight": (3, 8),
                "new.pooler.dense.bias": (8,),
                "new.pooler.dense.weight": (8, 8),
            },
        ),
        (Head.QUESTION_ANSWERING, {"qa_outputs.bias": (3,), "qa_outputs.weight": (3, 8)}),
    ],
)
def test_heads(head: Head, wanted: dict[str, tuple[int, ...]]) -> None:
    assert shapes(config(), head, REMOTE_HEAD) == {f"new.{name}": shape for name, shape in MODEL.items()} | wanted


def test_a_tied_decoder_weight_may_be_stored_and_an_untied_one_must() -> None:
    tied, untied = config(), config(tie_word_embeddings=False)
    assert "lm_head.decoder.weight" not in shapes(tied, Head.MASKED_LM)
    assert [(spec.name, spec.shape) for spec in NEW_IMPL.optional(tied, BARE, Head.MASKED_LM)] == [
        ("lm_head.decoder.weight", (64, 8))
    ]
    assert shapes(untied, Head.MASKED_LM)["lm_head.decoder.weight"] == (64, 8)
    assert NEW_IMPL.optional(untied, BARE, Head.MASKED_LM) == ()
    pooler = {"pooler.dense.bias": (8,), "pooler.dense.weight": (8, 8)}
    assert {spec.name: spec.shape for spec in NEW_IMPL.optional(tied, BARE, Head.NONE)} == pooler


def test_symbols_say_what_each_dimension_is() -> None:
    dims = {
        spec.name: "×".join(map(str, spec.dims))
        for spec in NEW_IMPL.inventory(config(), BARE, Head.TOKEN_CLASSIFICATION)
    }
    assert dims["embeddings.word_embeddings.weight"] == "V×H"
    assert dims["embeddings.token_type_embeddings.weight"] == "T×H"
    assert dims["encoder.layer.0.attention.qkv_proj.weight"] == "3H×H"
    assert dims["encoder.layer.0.mlp.up_gate_proj.weight"] == "2I×H"
    assert dims["encoder.layer.0.mlp.down_proj.weight"] == "H×I"
    assert dims["classifier.bias"] == "K"


def test_fresh_weights_are_normal_biases_zero_and_norms_one() -> None:
    absolute = config(position_embedding_type="absolute")
    inits = {spec.name: spec.init for spec in NEW_IMPL.inventory(absolute, BARE, Head.MASKED_LM)}
    assert {name for name, init in inits.items() if init is Init.ONES} == {
        "embeddings.LayerNorm.weight",
        "encoder.layer.0.attn_ln.weight",
        "encoder.layer.0.mlp_ln.weight",
        "lm_head.norm.weight",
    }
    assert {name for name, init in inits.items() if init is Init.ZEROS} == {n for n in inits if n.endswith(".bias")}
    assert inits["embeddings.position_embeddings.weight"] is Init.NORMAL


def test_what_follows_the_vocabulary() -> None:
    specs = (*NEW_IMPL.inventory(config(), BARE, Head.MASKED_LM), *NEW_IMPL.optional(config(), BARE, Head.MASKED_LM))
    assert {spec.canonical for spec in specs if NEW_IMPL.is_sized_by_vocabulary(spec.canonical)} == {
        spec.canonical for spec in specs if spec.shape[0] == 64
    }
