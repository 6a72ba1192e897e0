"""Two configs side by side: which members differ in what they mean to a loader, and which only in how they say it.

Both are read with the defaults of their dialects, so that a config and its conversion to another dialect are equal.
Whether either is any good is for `gte_surgery.checks`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from gte_surgery.gte.families import family_of, read_config
from gte_surgery.gte.fields import GteConfig, Values
from gte_surgery.gte.rope import describe, inv_freq

_APART = ("dialect", "pack_qkv", "architectures", "dtype", "rope", "local_rope", "draw_cut")
_FIELDS = tuple(name for name in GteConfig._fields if name not in _APART)
"""Those that are compared by their values."""
_ROPE = ("rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor")
_DTYPE = ("dtype", "torch_dtype")
_SPELLING = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "head_dim",
    "model_type",
    "pack_qkv",
    "transformers_version",
    *_ROPE,
    *_DTYPE,
)
"""Members that say who loads the checkpoint and how it is stored, or that are compared by what they amount to."""
_SAME_FREQUENCY = 1e-9
"""Relative: far below what float32, in which loaders compute, can tell apart."""


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """One member of two configs, as JSON values; None for absent and for null alike."""

    key: str
    left: object
    right: object


def differences_in_meaning(left: Values, right: Values, dtypes: tuple[str | None, str | None]) -> list[KeyDifference]:
    """The members whose effective values differ; `rope` and `dtype` stand for whatever members say them.

    `dtypes` are those of the stored weights, such as "float32", which loaders take where a config names none. Members
    that no loader of a GTE knows count by their value, and null like absent. Raises CheckpointError as `read_config`
    does.
    """
    configs = read_config(left), read_config(right)
    one, other = (
        _effective(values, config, dtype) for values, config, dtype in zip((left, right), configs, dtypes, strict=True)
    )
    keys = dict.fromkeys((*one, *other))
    found = [KeyDifference(key, one.get(key), other.get(key)) for key in keys]
    differing = [item for item in found if not _is_equal(item.left, item.right)]
    if not _turns_alike(left, right, *configs):
        differing.append(KeyDifference("rope", *(describe(config.rope) for config in configs)))
    return differing


def differences_in_spelling(left: Values, right: Values, meant: list[KeyDifference]) -> list[KeyDifference]:
    """The members that are written differently, without those that are to blame for a difference in meaning."""
    blamed = {item.key for item in meant}
    blamed.update(_ROPE if "rope" in blamed else ())
    blamed.update(_DTYPE if "dtype" in blamed else ())
    keys = [key for key in dict.fromkeys((*left, *right)) if key not in blamed]
    written = [(key, left.get(key, ...), right.get(key, ...)) for key in keys]
    differing = [key for key, one, other in written if type(one) is not type(other) or one != other]
    return [KeyDifference(key, left.get(key), right.get(key)) for key in differing]


def _effective(values: Values, config: GteConfig, stored_dtype: str | None) -> dict[str, object]:
    """What the members amount to, the rope apart: fields with their defaults, then members that ride along."""
    facts = family_of(values).facts
    fields: dict[str, object] = {name: getattr(config, name) for name in _FIELDS}
    dtype = (config.dtype or stored_dtype or "").removeprefix("torch.") or None
    told = {*_SPELLING, *fields, *facts.spelled.values(), *facts.spellings}
    carried = {key: value for key, value in values.items() if key not in told and value is not None}
    riding = {key: bool(value) if key in facts.flags else value for key, value in carried.items()}
    flags = {key: False for key in facts.flags if key not in told}
    return {**fields, "dtype": dtype, **facts.defaults, **flags, **_labels(config.num_labels), **riding}


def _labels(count: int) -> dict[str, object]:
    """The names that transformers gives to labels without a name."""
    names = {str(number): f"LABEL_{number}" for number in range(count)}
    return {"id2label": names, "label2id": {name: int(number) for number, name in names.items()}}


def _is_equal(one: object, other: object) -> bool:
    """Whether two JSON values are equal, where 1 and 1.0 are and 1 and true are not."""
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def _turns_alike(left: Values, right: Values, one: GteConfig, other: GteConfig) -> bool:
    """Whether two ropes have the same frequencies; schemes unknown to us, whether they are written alike."""
    if one.position_embedding_type != "rope" or other.position_embedding_type != "rope":
        return one.position_embedding_type == other.position_embedding_type
    if one.local_rope != other.local_rope:
        return False
    if "unsupported" in (one.rope.kind, other.rope.kind):
        return one.rope == other.rope and all(left.get(key) == right.get(key) for key in _ROPE)
    mine, its = inv_freq(one.rope, one.head_size), inv_freq(other.rope, other.head_size)
    return len(mine) == len(its) and all(map(partial(math.isclose, rel_tol=_SAME_FREQUENCY), mine, its))
