"""The programs that load GTE checkpoints, each with demands of its own. What follows from those is for GTE6xx."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from gte_surgery.gte.fields import GteConfig, Values
from gte_surgery.gte.kinds import SUFFIXES, Dialect, Head
from gte_surgery.gte.rope import Rope


class Demands(NamedTuple):
    """What a program asks of the checkpoints of a family; what is empty is not asked.

    `classes` by dialect: those it serves, the encoder first, then the one with a sequence classifier. `stated`: members
    that it reads without a default. `only`: the one value it takes of a member that must be stated, `unset`: flags that
    must be off. `prefixes` by dialect: those it takes off the tensor names; `letters`: the layouts whose names it looks
    for, such as `looked_for`. `is_packed`: projections must be stored as one. `lacks` heads, has
    `activations`. `rope`: how it reads one.
    """

    classes: Mapping[Dialect, tuple[str, ...]] = MappingProxyType({})
    stated: tuple[str, ...] = ()
    only: Mapping[str, object] = MappingProxyType({})
    unset: tuple[str, ...] = ()
    prefixes: Mapping[Dialect, tuple[str, ...]] = MappingProxyType({})
    letters: tuple[str, ...] = ()
    looked_for: str = ""
    is_packed: bool = False
    lacks: tuple[Head, ...] = ()
    activations: tuple[str, ...] = ()
    rope: Callable[[Mapping[str, object]], Rope] | None = None
    reads: Callable[[Values], Values] | None = None
    """The members of config.json as it takes them, spelled as the family does; what it needs in place of those that it
    passes over, `effective` makes of a config."""
    effective: Callable[[GteConfig], Mapping[str, object]] = lambda config: {}


def served_by_vllm(stem: str) -> Demands:
    """The classes of a family that vLLM has by transformers' own names."""
    served = (Head.NONE, Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION)
    return Demands(classes={Dialect.NATIVE: tuple(stem + SUFFIXES[head] for head in served)})
