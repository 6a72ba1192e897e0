"""Rotary positions: their frequencies, and the same rope in the other dialect.

The formulas are those of the reference implementation (Alibaba-NLP/new-impl, modeling.py, `RotaryEmbedding` and
`NTKScalingRotaryEmbedding`) and of transformers (modeling_rope_utils.py). Which rope a config means is for
`rope_reading`, whether it is the right one for `gte_surgery.checks`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from gte_surgery.errors import UsageError

RopeKind = Literal["default", "ntk", "mixed-ntk", "linear", "longrope", "none", "unsupported"]

REMOTE_THETA = 10000.0
"""theta of a remote config without `rope_theta`."""
NATIVE_THETA = 160000.0
"""theta of a native config without any rope key: applied silently."""
LARGEST_NUMBER = 1e30
"""Bases and factors lie between this and its inverse: float32, in which the loaders compute, holds no more."""


class Rope(NamedTuple):
    """A rotary position scheme as the loader applies it.

    default: `theta` alone. ntk, mixed-ntk (remote dialect): `factor`, `mixed_b`. linear (native): `factor` divides
    every frequency. longrope (native): `factors` divide the frequencies one by one. none: absolute positions instead.
    unsupported: `rope_type` names a scheme that no GTE was trained with, and `refusal` says why the loader fails on
    it, or is "" where it loads all the same.
    """

    kind: RopeKind
    theta: float
    factor: float = 1.0
    mixed_b: float | None = None
    factors: tuple[float, ...] = ()
    rope_type: str = ""
    refusal: str = ""

    @property
    def has_frequencies(self) -> bool:
        """Whether it turns tokens, and by angles that are known."""
        return self.kind not in ("none", "unsupported")


def kind_of(parameters: Mapping[str, object]) -> object:
    """The type that a rope scaling names, by its new key or its old one."""
    return parameters.get("rope_type", parameters.get("type", "default"))


def inv_freq(rope: Rope, head_size: int) -> list[float]:
    """Angular frequency of each rotary pair, radians per position, length head_size / 2, in double precision.

    With d = head_size, f = factor, i = 0 … d/2 − 1:
    default theta^(−2i/d); linear the same / factor; longrope the same / factors[i];
    ntk (theta·f)^(−2i/d) / f^(2/d); mixed-ntk theta^(−2i/d) / exp(a·(i+1)^b), a = ln f / (d/2)^b
    [new-impl modeling.py, NTKScalingRotaryEmbedding]. Raises UsageError for kinds "none" and "unsupported".
    """
    native = _native(rope, head_size, "has no frequencies that this tool knows")
    pairs = head_size // 2
    factors = native.factors if native.kind == "longrope" else (native.factor,) * pairs
    return [native.theta ** (-2 * i / head_size) / factor for i, factor in zip(range(pairs), factors, strict=True)]


def _native(rope: Rope, head_size: int, refusal: str) -> Rope:
    """The rope of a kind that the native dialect has, with the same frequencies: default, linear or longrope."""
    match rope.kind:
        case "default":
            return Rope("default", rope.theta)
        case "ntk":
            return Rope("linear", rope.theta * rope.factor, rope.factor ** (2 / head_size))
        case "mixed-ntk":
            return Rope("longrope", rope.theta, factors=tuple(mixed_factors(rope, head_size)))
        case "none" | "unsupported":
            raise UsageError(f"rope: {describe(rope)}, {refusal}")
        case _:
            return rope


def mixed_factors(rope: Rope, head_size: int) -> list[float]:
    """λ of a mixed-ntk rope, length head_size / 2: λ[i] = exp(a·(i+1)^b), a = ln f / (d/2)^b."""
    pairs = head_size // 2
    if pairs == 0:
        return []
    exponent = rope.mixed_b or 0.0
    slope = math.log(rope.factor) / pairs**exponent
    return [math.exp(slope * (i + 1) ** exponent) for i in range(pairs)]


def to_native(rope: Rope, head_size: int, max_positions: int) -> dict[str, object]:
    """`rope_parameters` of a native config that gives the same frequencies, all digits kept.

    Raises UsageError for kinds "none" and "unsupported", which the native model cannot express.
    """
    native = _native(rope, head_size, "cannot be expressed in the native dialect")
    stated: dict[str, object] = {"rope_theta": native.theta, "rope_type": native.kind}
    if native.kind == "linear":
        stated |= {"factor": native.factor}
    if native.kind == "longrope":
        stated |= {
            "attention_factor": 1.0,
            "factor": 1.0,
            "long_factor": list(native.factors),
            "original_max_position_embeddings": max_positions,
            "short_factor": list(native.factors),
        }
    return dict(sorted(stated.items()))


MOST_POSITIONS = 1 << 22
"""The remote code makes its tables for max_position_embeddings × factor positions; beyond so many none is written."""


def to_remote(rope: Rope, head_size: int, max_positions: int = 8192) -> tuple[float, dict[str, object] | None] | None:
    """(`rope_theta`, `rope_scaling`) of a remote config with the same frequencies, or None where there is none.

    Undoes `to_native`: the shortest decimal factor that gives the stored number back is taken. A factor for which the
    remote code would make tables of more than `MOST_POSITIONS` is none that it can compute with.
    """
    found = _remote_form(rope, head_size)
    factor = (found[1] or {}).get("factor", 1.0) if found else 1.0
    is_too_large = isinstance(factor, float) and factor * max_positions > MOST_POSITIONS
    return None if is_too_large else found


def _remote_form(rope: Rope, head_size: int) -> tuple[float, dict[str, object] | None] | None:
    match rope.kind:
        case "default":
            return rope.theta, None
        case "ntk":
            return rope.theta, {"factor": rope.factor, "type": "ntk"}
        case "mixed-ntk":
            return rope.theta, {"factor": rope.factor, "mixed_b": rope.mixed_b, "type": "ntk"}
        case "linear":
            return _ntk_of_linear(rope, head_size)
        case "longrope":
            return _ntk_of_longrope(rope, head_size)
        case "none" | "unsupported":
            return None


def _ntk_of_linear(rope: Rope, head_size: int) -> tuple[float, dict[str, object] | None] | None:
    if rope.factor <= 1 or head_size < 2:
        return (rope.theta, None) if rope.factor == 1 else None
    factor = _shortest(rope.factor ** (head_size / 2), lambda value: value ** (2 / head_size) == rope.factor)
    return _shortest(rope.theta / factor, lambda value: value * factor == rope.theta), {"factor": factor, "type": "ntk"}


def _ntk_of_longrope(rope: Rope, head_size: int) -> tuple[float, dict[str, object] | None] | None:
    if all(factor == 1 for factor in rope.factors):
        return rope.theta, None
    first, last = rope.factors[0], rope.factors[-1]
    if len(rope.factors) < 2 or first <= 1 or last <= 1:
        return None

    def fits(factor: float, mixed_b: float) -> bool:
        again = mixed_factors(Rope("mixed-ntk", rope.theta, factor, mixed_b), head_size)
        return all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(again, rope.factors, strict=True))

    exponent = math.log(math.log(last) / math.log(first)) / math.log(len(rope.factors))
    if not fits(last, exponent):
        return None
    factor = _shortest(last, lambda value: fits(value, exponent))
    mixed_b = _shortest(exponent, lambda value: fits(factor, value))
    return rope.theta, {"factor": factor, "mixed_b": mixed_b, "type": "ntk"}


def _shortest(value: float, holds: Callable[[float], bool]) -> float:
    """The decimal of fewest digits near `value` for which `holds`; `value` itself if there is none."""
    candidates = (float(f"{value:.{digits}g}") for digits in range(1, 18))
    return next((candidate for candidate in candidates if holds(candidate)), value)


def angle_gap(one: Rope, other: Rope, head_size: int, position: int) -> float:
    """The largest difference in angle, radians, that two ropes give a token at `position`; UsageError as `inv_freq`."""
    pairs = zip(inv_freq(one, head_size), inv_freq(other, head_size), strict=True)
    return max((abs(a - b) * position for a, b in pairs), default=0.0)


def turns_alike(one: Rope, other: Rope, head_size: int, positions: int = 8192, radians: float = 0.01) -> bool:
    """Whether two ropes turn the last token by angles that differ by less; never where those of one are not known."""
    if not one.has_frequencies or not other.has_frequencies:
        return False
    return angle_gap(one, other, head_size, positions - 1) < radians


def positive(value: object) -> float | None:
    """A base or a factor; None for anything that cannot be one."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 1 / LARGEST_NUMBER <= value <= LARGEST_NUMBER else None


def describe(rope: Rope) -> str:
    """The rope in a few words: "theta 20000, ntk factor 8"."""
    theta = f"theta {_short(rope.theta)}"
    match rope.kind:
        case "default":
            return theta
        case "ntk" | "linear":
            return f"{theta}, {rope.kind} factor {_short(rope.factor)}"
        case "mixed-ntk":
            return f"{theta}, ntk factor {_short(rope.factor)}, mixed_b {_short(rope.mixed_b or 0.0)}"
        case "longrope":
            return f"{theta}, longrope factors {_short(rope.factors[0])} … {_short(rope.factors[-1])}"
        case "none":
            return "none, absolute positions"
        case "unsupported":
            return f"{rope.rope_type or 'unreadable'} ({rope.refusal or 'not a rope of this family'})"


def _short(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
