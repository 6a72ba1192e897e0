"""Which tensors a config of this family asks for: names, shapes in symbols, initialisation."""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Head, Layout
from gte_surgery.gte.new_impl.names import NAMES, PACKED
from gte_surgery.gte.tensors import Dim, H, I, Init, K, P, Part, T, V, linear, norm


def parts(config: GteConfig, layout: Layout, head: Head) -> Iterator[Part]:
    """The tensors of a model with `head`, and those that may be stored beside them.

    Whether q, k and v are packed is the config's word (`pack_qkv`), except in the renamed layout, which always splits
    them; so storage that contradicts the config shows as missing and unexpected tensors, as it would to the loader.
    """
    yield from _embeddings(config)
    yield from _layers(config, layout.is_renamed or not config.pack_qkv, layout.is_renamed)
    yield from _head(config, head)


def _embeddings(config: GteConfig) -> Iterator[Part]:
    yield Part(NAMES.words, (V, H), Init.NORMAL)
    yield from norm("embeddings.LayerNorm")
    if config.type_vocab_size > 0:
        yield Part(NAMES.types, (T, H), Init.NORMAL)
    if config.position_embedding_type == "absolute":
        yield Part(NAMES.positions, (P, H), Init.NORMAL)


def _layers(config: GteConfig, has_split_qkv: bool, has_split_mlp: bool) -> Iterator[Part]:
    for layer in range(config.num_hidden_layers):
        base = f"encoder.layer.{layer}"
        yield from _packed(base, "attention.qkv_proj", H, has_split_qkv)
        yield from linear(f"{base}.attention.o_proj", H, H)
        yield from _packed(base, "mlp.up_gate_proj", I, has_split_mlp, has_bias=False)
        yield from linear(f"{base}.mlp.down_proj", H, I)
        for each in ("attn_ln", "mlp_ln"):
            yield from norm(f"{base}.{each}", has_bias=config.layer_norm_type == "layer_norm")


def _packed(base: str, whole: str, out: Dim, is_split: bool, has_bias: bool = True) -> Iterator[Part]:
    """A linear layer that is stored as one or in parts, each of `out` rows."""
    parts = PACKED[whole]
    if not is_split:
        parts, out = (whole,), Dim(out.symbol, len(parts))
    for part in parts:
        yield from linear(f"{base}.{part}", out, H, has_bias)


def _head(config: GteConfig, head: Head) -> Iterator[Part]:
    match head:
        case Head.MASKED_LM:
            yield from linear("lm_head.dense", H, H)
            yield from norm("lm_head.norm")
            yield Part("lm_head.decoder.bias", (V,), Init.ZEROS)
            yield Part(NAMES.decoder, (V, H), Init.NORMAL, "spare" if config.tie_word_embeddings else "must")
        case Head.NONE:
            yield from linear("pooler.dense", H, H, need="spare")
        case Head.SEQUENCE_CLASSIFICATION:
            yield from linear("pooler.dense", H, H)
            yield from linear("classifier", K, H)
        case Head.TOKEN_CLASSIFICATION:
            yield from linear("classifier", K, H)
        case Head.QUESTION_ANSWERING:
            yield from linear("qa_outputs", K, H)
