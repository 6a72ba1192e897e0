"""One tensor of a network: its name, its shape in symbols and in numbers, and how a fresh one is initialised."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum
from typing import Literal, NamedTuple

Symbol = Literal["V", "H", "I", "T", "P", "K", "1"]
Need = Literal["must", "usual", "spare"]
"""must: the network is not whole without it. usual: the published models store it, none of ours reads it. spare: a
copy of another tensor, or a part that nobody reads."""


FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""The dtypes that a network computes in, as headers call them, by what config.json calls them."""


class Init(Enum):
    """How the model's own rules fill a fresh tensor [transformers and reference implementation, `_init_weights`]."""

    NORMAL = "normal"
    """N(0, std): weights of linear layers and embeddings. The pad row is then zeroed."""
    ZEROS = "zeros"
    ONES = "ones"


class Dim(NamedTuple):
    """One dimension as a multiple of a size: V vocabulary, H hidden, I intermediate, T types, P positions, K labels,
    1 none of them."""

    symbol: Symbol
    multiple: int = 1

    def __str__(self) -> str:
        if self.symbol == "1":
            return str(self.multiple)
        return self.symbol if self.multiple == 1 else f"{self.multiple}{self.symbol}"


class Part(NamedTuple):
    """One tensor as a family lists it: canonical name, dimensions, initialisation.

    `std` of a normal draw is initializer_range where it is None; `cut` standard deviations from 0 the draw is cut off.
    """

    canonical: str
    dims: tuple[Dim, ...]
    init: Init
    need: Need = "must"
    std: float | None = None
    cut: float | None = None


class TensorSpec(NamedTuple):
    """One tensor that a config asks for; `name` as stored, `canonical` as the family has it."""

    name: str
    canonical: str
    dims: tuple[Dim, ...]
    shape: tuple[int, ...]
    init: Init
    std: float = 0.0
    cut: float | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


V, H, I, T, P, K = Dim("V"), Dim("H"), Dim("I"), Dim("T"), Dim("P"), Dim("K")  # noqa: E741


def linear(
    name: str,
    out: Dim,
    width: Dim,
    has_bias: bool = True,
    need: Need = "must",
    std: float | None = None,
    cut: float | None = None,
) -> Iterator[Part]:
    """A linear layer: weight [out, width], bias [out]."""
    yield Part(f"{name}.weight", (out, width), Init.NORMAL, need, std, cut)
    if has_bias:
        yield Part(f"{name}.bias", (out,), Init.ZEROS, need)


def norm(name: str, has_bias: bool = True, need: Need = "must") -> Iterator[Part]:
    """A norm over the hidden size: weight [H], bias [H]."""
    yield Part(f"{name}.weight", (H,), Init.ONES, need)
    if has_bias:
        yield Part(f"{name}.bias", (H,), Init.ZEROS, need)
