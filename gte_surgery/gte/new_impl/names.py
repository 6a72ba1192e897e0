"""Tensor names: the six layouts in which one network is found on disk, and the way from each to one canonical form.

Canonical names are those of the bare model of the reference implementation (layout a), without any prefix, heads
included: `encoder.layer.3.attention.qkv_proj.weight`, `lm_head.norm.weight`, `classifier.weight`. Storage that is
split keeps its split in the canonical name: `attention.q_proj`, `mlp.up_proj`. Shapes are for `inventory`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
TOKEN_TYPE_EMBEDDINGS = "embeddings.token_type_embeddings.weight"
POSITION_EMBEDDINGS = "embeddings.position_embeddings.weight"
DECODER_WEIGHT = "lm_head.decoder.weight"
DECODER_BIAS = "lm_head.decoder.bias"

PREFIXES = ("", "new.", "gte.", "new.gte.")
PACKED = {
    "attention.qkv_proj": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "mlp.up_gate_proj": ("mlp.up_proj", "mlp.gate_proj"),
}
"""Modules that may be stored as one or in parts of equal shape, whose rows follow each other in this order."""
_HEAD_PARTS = ("lm_head", "classifier", "qa_outputs")
_RENAMED_LAYER_PARTS = {
    "attention.q_proj": "self_attn.q_proj",
    "attention.k_proj": "self_attn.k_proj",
    "attention.v_proj": "self_attn.v_proj",
    "attention.o_proj": "self_attn.o_proj",
    "attn_ln": "post_attention_layernorm",
    "mlp_ln": "post_mlp_layernorm",
}
_CANONICAL_LAYER_PARTS = {renamed: canonical for canonical, renamed in _RENAMED_LAYER_PARTS.items()}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", re.ASCII)
_RENAMED_LAYER = re.compile(r"layers\.(\d+)\.(.+)\.(weight|bias)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tensors of a checkpoint are named and split.

    `letter` a … f (cli/REFERENCE.md); `prefix` stands before everything but the heads, `head_prefix` before the heads;
    `is_renamed` means transformers' own module names (`layers.3.self_attn…`), which always come split; `head_norm`
    is what the masked-LM head calls its norm.
    """

    letter: str
    prefix: str = ""
    head_prefix: str = ""
    is_renamed: bool = False
    has_split_qkv: bool = False
    has_split_mlp: bool = False
    head_norm: Literal["norm", "layer_norm"] = "norm"

    @property
    def is_damaged(self) -> bool:
        """Names that only transformers 5 reads back (c, e); other programs miss them, some silently."""
        return self.letter in ("c", "e")


BARE = Layout("a")
"""Layout a: the bare reference model."""
REMOTE_HEAD = Layout("b", prefix="new.")
"""Layout b: the reference model under a head."""
NATIVE_HEAD = Layout("d", prefix="gte.")
"""Layout d: the native model under a head, in original names."""


def detect_layout(names: Iterable[str]) -> Layout | None:
    """The layout of stored tensor names, or None: no word embeddings under a known prefix, or two layouts mixed evenly.

    A few stray names do not change the answer: what most layers do counts.
    """
    stored = frozenset(names)
    prefixes = [prefix for prefix in PREFIXES if prefix + WORD_EMBEDDINGS in stored]
    if len(prefixes) != 1:
        return None
    prefix = prefixes[0]
    is_renamed = _leans(stored, f"{prefix}layers.", f"{prefix}encoder.layer.")
    split_qkv = _leans(stored, ".q_proj.", ".qkv_proj.")
    split_mlp = _leans(stored, ".up_proj.", ".up_gate_proj.")
    if is_renamed is None or split_qkv is None or split_mlp is None:
        return None
    head_prefix = "new." if prefix == "new.gte." else ""
    norm = _head_norm(stored, head_prefix, is_renamed)
    return Layout(_letter(prefix, is_renamed, norm), prefix, head_prefix, is_renamed, split_qkv, split_mlp, norm)


def _leans(stored: Collection[str], one: str, other: str) -> bool | None:
    """Whether more names contain `one` than `other`; False when neither occurs, None on a tie."""
    ones = sum(one in name for name in stored)
    others = sum(other in name for name in stored)
    return None if ones == others > 0 else ones > others


def _head_norm(stored: Collection[str], head_prefix: str, is_renamed: bool) -> Literal["norm", "layer_norm"]:
    if f"{head_prefix}lm_head.layer_norm.weight" in stored:
        return "layer_norm"
    if f"{head_prefix}lm_head.norm.weight" in stored:
        return "norm"
    return "layer_norm" if is_renamed else "norm"


def _letter(prefix: str, is_renamed: bool, head_norm: str) -> str:
    if prefix == "new.gte.":
        return "c"
    if is_renamed:
        return "f"
    if prefix == "gte.":
        return "e" if head_norm == "layer_norm" else "d"
    return "b" if prefix else "a"


def canonical_name(stored: str, layout: Layout) -> str | None:
    """The canonical form of a stored name, or None if the name does not belong to the layout.

    A name that belongs but that no GTE has comes back without its prefix and otherwise as it is.
    """
    if _is_head(stored, layout.head_prefix):
        return _canonical_head(stored.removeprefix(layout.head_prefix), layout)
    if not stored.startswith(layout.prefix):
        return None
    name = stored[len(layout.prefix) :]
    if _is_head(name, ""):
        return None
    if not layout.is_renamed:
        return name
    if name.startswith("encoder.layer."):
        return None
    found = _RENAMED_LAYER.fullmatch(name)
    if found is None:
        return name
    layer, part, kind = found.groups()
    return f"encoder.layer.{layer}.{_CANONICAL_LAYER_PARTS.get(part, part)}.{kind}"


def stored_name(canonical: str, layout: Layout) -> str:
    """The name under which the layout stores a canonical tensor."""
    if _is_head(canonical, ""):
        return layout.head_prefix + canonical.replace("lm_head.norm.", f"lm_head.{layout.head_norm}.")
    found = _LAYER.fullmatch(canonical) if layout.is_renamed else None
    if found is None:
        return layout.prefix + canonical
    layer, part, kind = found.groups()
    return f"{layout.prefix}layers.{layer}.{_RENAMED_LAYER_PARTS.get(part, part)}.{kind}"


def parts_of(canonical: str) -> tuple[str, ...]:
    """The names of a packed tensor's parts: q, k and v of a qkv. A tensor that is not packed is its own part."""
    for whole, parts in PACKED.items():
        if f".{whole}." in canonical:
            return tuple(canonical.replace(whole, part) for part in parts)
    return (canonical,)


def place_in_packed(canonical: str) -> tuple[str, int]:
    """The packed tensor of a part and the part's number in it: k_proj → qkv_proj, 1. Other tensors: themselves, 0."""
    for whole, parts in PACKED.items():
        for number, part in enumerate(parts):
            if f".{part}." in canonical:
                return canonical.replace(part, whole), number
    return canonical, 0


def _is_head(name: str, head_prefix: str) -> bool:
    if not name.startswith(_HEAD_PARTS, len(head_prefix)) or not name.startswith(head_prefix):
        return False
    return name[len(head_prefix) :].partition(".")[0] in _HEAD_PARTS


def _canonical_head(name: str, layout: Layout) -> str | None:
    if layout.head_norm == "norm":
        return name
    if name.startswith("lm_head.norm."):
        return None
    return name.replace("lm_head.layer_norm.", "lm_head.norm.")
