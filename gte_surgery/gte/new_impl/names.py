"""Tensor names: the six layouts in which one network is found on disk, and the way from each to one canonical form.

Canonical names are those of the bare model of the reference implementation (layout a), without any prefix, heads
included: `encoder.layer.3.attention.qkv_proj.weight`, `lm_head.norm.weight`, `classifier.weight`. Storage that is
split keeps its split in the canonical name: `attention.q_proj`, `mlp.up_proj`. Task heads are told from them, and what
their classes are called. Shapes are for `parts`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from gte_surgery.gte.family import Names, head_shown
from gte_surgery.gte.fields import Values
from gte_surgery.gte.kinds import SUFFIXES, Dialect, Head, Layout

NAMES = Names()
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
MATRIX = re.compile(r"encoder\.layer\.(\d+)\.(?:attention|mlp)\.(\w+)_proj\.weight")
"""The matrices of a layer: its number, and what kind they are."""
_KNOWN = re.compile(
    r"embeddings\.((word|token_type|position)_embeddings\.weight|LayerNorm\.(weight|bias))"
    r"|encoder\.layer\.\d+\.(attention\.(qkv|q|k|v|o)_proj|attn_ln|mlp\.(up_gate|up|gate|down)_proj|mlp_ln)\.(weight|bias)"
    r"|(pooler\.dense|lm_head\.(dense|norm|decoder)|classifier|qa_outputs)\.(weight|bias)"
)


BARE = Layout("a")
"""Layout a: the bare reference model."""
REMOTE_HEAD = Layout("b", prefix="new.")
"""Layout b: the reference model under a head."""
NATIVE_HEAD = Layout("d", prefix="gte.")
"""Layout d: the native model under a head, in original names."""
_RENAMED = Layout("f", is_renamed=True, has_split_qkv=True, has_split_mlp=True, head_norm="layer_norm")


def layouts(head: Head) -> dict[str, Layout]:
    """The layouts, by letter, in which a model with the head may be written; the first is the published one."""
    if head is Head.NONE:
        return {"a": BARE, "f": _RENAMED}
    return {"b": REMOTE_HEAD, "d": NATIVE_HEAD, "f": _RENAMED._replace(prefix="gte.")}


def native_layout(head: Head) -> Layout:
    """The names of the native model's own parameters: layout f, prefixed under a head."""
    return layouts(head)["f"]


def is_known(canonical: str) -> bool:
    """Whether some GTE of this family has a tensor of that name."""
    return _KNOWN.fullmatch(canonical) is not None


def region(canonical: str, head: Head) -> str:
    """The part of the network that a tensor belongs to: embeddings, layers, head or other."""
    match canonical.partition(".")[0]:
        case "embeddings":
            return "embeddings"
        case "encoder":
            return "layers"
        case "lm_head" | "classifier" | "qa_outputs":
            return "head"
        case "pooler" if head is Head.SEQUENCE_CLASSIFICATION:
            return "head"
        case _:
            return "other"


def fed_by_norms(layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(norm, the projections that take what comes out of it) for every norm."""
    into_attention = tuple(f"attention.{part}_proj" for part in ("qkv", "q", "k", "v"))
    into_mlp = tuple(f"mlp.{part}_proj" for part in ("up_gate", "up", "gate"))
    yield "embeddings.LayerNorm", tuple(f"encoder.layer.0.{each}" for each in into_attention)
    for layer in range(layers):
        base, following = f"encoder.layer.{layer}", f"encoder.layer.{layer + 1}"
        yield f"{base}.attn_ln", tuple(f"{base}.{each}" for each in into_mlp)
        yield f"{base}.mlp_ln", tuple(f"{following}.{each}" for each in into_attention)
    yield f"encoder.layer.{layers - 1}.mlp_ln", ("lm_head.dense", "pooler.dense", "classifier")


def detect_layout(names: Iterable[str]) -> Layout | None:
    """The layout of stored tensor names, or None: no word embeddings under a known prefix, or two layouts mixed evenly.

    A few stray names do not change the answer: what most layers do counts.
    """
    stored = frozenset(names)
    prefixes = [prefix for prefix in PREFIXES if prefix + NAMES.words in stored]
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
        bare, own = stored.removeprefix(layout.head_prefix), f"lm_head.{layout.head_norm}."
        is_of_another = bare.startswith("lm_head.norm.") and layout.head_norm != "norm"
        return None if is_of_another else bare.replace(own, "lm_head.norm.")
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


def _is_head(name: str, head_prefix: str) -> bool:
    return name.startswith(head_prefix) and name[len(head_prefix) :].partition(".")[0] in _HEAD_PARTS


def head_of(canonical_names: Iterable[str], values: Values | None = None) -> Head:
    """The head that canonical tensor names show."""
    return head_shown(canonical_names, "lm_head")


def architecture(head: Head, dialect: Dialect) -> str:
    """The class name for `architectures`: "NewForMaskedLM" in the remote dialect, "GteForMaskedLM" in the others.

    The native model has no question answering class; its name is the one that a class would have.
    """
    return ("New" if dialect is Dialect.REMOTE else "Gte") + SUFFIXES[head]
