"""Which tensors a config asks for: name, shape in symbols and in numbers, and how a fresh one is initialised.

Pure arithmetic on a `GteConfig`. What is on disk, and whether it matches, is for `gte_surgery.checks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from gte_surgery.gte.config import GteConfig
from gte_surgery.gte.new_impl import names
from gte_surgery.gte.new_impl.heads import Head
from gte_surgery.gte.new_impl.names import Layout, stored_name

Symbol = Literal["V", "H", "I", "T", "P", "K"]


class Init(Enum):
    """How the model's own rules fill a fresh tensor [reference `_init_weights`]."""

    NORMAL = "normal"
    """N(0, initializer_range): weights of linear layers and embeddings. The pad row is then zeroed."""
    ZEROS = "zeros"
    ONES = "ones"


@dataclass(frozen=True, slots=True)
class Dim:
    """One dimension as a multiple of a size: V vocabulary, H hidden, I intermediate, T types, P positions, K labels."""

    symbol: Symbol
    multiple: int = 1

    def __str__(self) -> str:
        return self.symbol if self.multiple == 1 else f"{self.multiple}{self.symbol}"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor that a config asks for; `name` as stored, `canonical` as `names` has it."""

    name: str
    canonical: str
    dims: tuple[Dim, ...]
    shape: tuple[int, ...]
    init: Init

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


_V, _H, _I, _T, _P, _K = Dim("V"), Dim("H"), Dim("I"), Dim("T"), Dim("P"), Dim("K")
_Part = tuple[str, tuple[Dim, ...], Init]


def inventory(config: GteConfig, layout: Layout, head: Head) -> tuple[TensorSpec, ...]:
    """The tensors that a model of `config` with `head` reads, spelled as `layout` does, in the order of their names.

    That order is the one in which the safetensors package stores tensors of one dtype. Whether q, k and v are packed
    is the config's word (`pack_qkv`), except in the renamed layout, which always splits them; so storage that
    contradicts the config shows as missing and unexpected tensors, as it would to the loader.
    """
    is_split = layout.is_renamed or not config.pack_qkv
    parts = [
        *_embeddings(config),
        *_layers(config, is_split, layout.is_renamed),
        *_head(config, head),
    ]
    specs = (_spec(part, config, layout) for part in parts)
    return tuple(sorted(specs, key=lambda spec: spec.name))


def optional_inventory(config: GteConfig, layout: Layout, head: Head) -> tuple[TensorSpec, ...]:
    """Tensors that may be stored and need not be: the masked-LM decoder weight where it is tied to the embeddings."""
    if head is not Head.MASKED_LM or not config.tie_word_embeddings:
        return ()
    return (_spec(_DECODER_WEIGHT, config, layout),)


def is_vocabulary_sized(canonical: str) -> bool:
    """Whether the tensor's first dimension is the vocabulary."""
    return canonical in (names.WORD_EMBEDDINGS, names.DECODER_BIAS, names.DECODER_WEIGHT)


def parameter_count(specs: Iterable[TensorSpec]) -> int:
    """The number of parameters in all."""
    return sum(spec.size for spec in specs)


_DECODER_WEIGHT: _Part = (names.DECODER_WEIGHT, (_V, _H), Init.NORMAL)


def _linear(name: str, out: Dim, width: Dim, has_bias: bool = True) -> Iterator[_Part]:
    yield f"{name}.weight", (out, width), Init.NORMAL
    if has_bias:
        yield f"{name}.bias", (out,), Init.ZEROS


def _norm(name: str, has_bias: bool = True) -> Iterator[_Part]:
    yield f"{name}.weight", (_H,), Init.ONES
    if has_bias:
        yield f"{name}.bias", (_H,), Init.ZEROS


def _embeddings(config: GteConfig) -> Iterator[_Part]:
    yield names.WORD_EMBEDDINGS, (_V, _H), Init.NORMAL
    yield from _norm("embeddings.LayerNorm")
    if config.type_vocab_size > 0:
        yield names.TOKEN_TYPE_EMBEDDINGS, (_T, _H), Init.NORMAL
    if config.position_embedding_type == "absolute":
        yield names.POSITION_EMBEDDINGS, (_P, _H), Init.NORMAL


def _layers(config: GteConfig, has_split_qkv: bool, has_split_mlp: bool) -> Iterator[_Part]:
    for layer in range(config.num_hidden_layers):
        base = f"encoder.layer.{layer}"
        yield from _attention(f"{base}.attention", has_split_qkv)
        yield from _mlp(f"{base}.mlp", has_split_mlp)
        for norm in ("attn_ln", "mlp_ln"):
            yield from _norm(f"{base}.{norm}", has_bias=config.layer_norm_type == "layer_norm")


def _attention(base: str, has_split_qkv: bool) -> Iterator[_Part]:
    if has_split_qkv:
        for projection in ("q_proj", "k_proj", "v_proj"):
            yield from _linear(f"{base}.{projection}", _H, _H)
    else:
        yield from _linear(f"{base}.qkv_proj", Dim("H", 3), _H)
    yield from _linear(f"{base}.o_proj", _H, _H)


def _mlp(base: str, has_split_mlp: bool) -> Iterator[_Part]:
    if has_split_mlp:
        yield from _linear(f"{base}.up_proj", _I, _H, has_bias=False)
        yield from _linear(f"{base}.gate_proj", _I, _H, has_bias=False)
    else:
        yield from _linear(f"{base}.up_gate_proj", Dim("I", 2), _H, has_bias=False)
    yield from _linear(f"{base}.down_proj", _H, _I)


def _head(config: GteConfig, head: Head) -> Iterator[_Part]:
    match head:
        case Head.NONE:
            return
        case Head.MASKED_LM:
            yield from _linear("lm_head.dense", _H, _H)
            yield from _norm("lm_head.norm")
            yield names.DECODER_BIAS, (_V,), Init.ZEROS
            if not config.tie_word_embeddings:
                yield _DECODER_WEIGHT
        case Head.SEQUENCE_CLASSIFICATION:
            yield from _linear("pooler.dense", _H, _H)
            yield from _linear("classifier", _K, _H)
        case Head.TOKEN_CLASSIFICATION:
            yield from _linear("classifier", _K, _H)
        case Head.QUESTION_ANSWERING:
            yield from _linear("qa_outputs", _K, _H)


def _spec(part: _Part, config: GteConfig, layout: Layout) -> TensorSpec:
    canonical, dims, init = part
    shape = tuple(dim.multiple * _size(dim.symbol, config) for dim in dims)
    return TensorSpec(stored_name(canonical, layout), canonical, dims, shape, init)


def _size(symbol: Symbol, config: GteConfig) -> int:
    match symbol:
        case "V":
            return config.vocab_size
        case "H":
            return config.hidden_size
        case "I":
            return config.intermediate_size
        case "T":
            return config.type_vocab_size
        case "P":
            return config.max_position_embeddings
        case "K":
            return config.num_labels
