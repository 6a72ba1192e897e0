"""The sizes and ids that both sides of the feeding have to agree on: all that judging needs to know of a contract.

Where they come from, and how they are written down, is left to `gte_surgery.contract.spec`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from operator import index
from typing import Literal

from gte_surgery.errors import UsageError

IGNORED = -100
"""The label that the loss skips [torch.nn.CrossEntropyLoss, ignore_index]."""


_INTEGERS = (
    "vocab_size", "pad_token_id", "type_vocab_size", "max_length", "cls_token_id", "mask_token_id", "ignore_label",
    "hidden_size",
)  # fmt: skip


def whole(name: str, value: object) -> int:
    """An integer of any make, numpy's included, as Python's. Raises UsageError for a bool, a float, anything else."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        with suppress(TypeError):
            return index(value)  # type: ignore[arg-type]
    raise UsageError(f"{name}: {value!r}, must be an integer")


@dataclass(frozen=True, slots=True)
class Terms:
    """What batches must respect; see `IdContract`. Raises UsageError where the values contradict each other.

    `checkpoint` is what messages call the checkpoint that the terms were read from, "" where they come from elsewhere.
    """

    vocab_size: int
    pad_token_id: int
    type_vocab_size: int
    max_length: int
    cls_token_id: int | None = None
    mask_token_id: int | None = None
    padding_side: Literal["right", "left"] = "right"
    ignore_label: int = IGNORED
    hidden_size: int | None = None
    special_ids: tuple[int, ...] = ()
    checkpoint: str = field(default="", repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in _INTEGERS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, value))
        object.__setattr__(self, "special_ids", tuple(whole("special_ids", each) for each in self.special_ids))
        for name, least in (("vocab_size", 2), ("type_vocab_size", 0), ("max_length", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}: {getattr(self, name)}, must be at least {least}")
        if self.padding_side not in ("right", "left"):
            raise UsageError(f'padding_side: {self.padding_side!r}, must be "right" or "left"')
        for name, value in self._ids():
            if value not in self.allowed_ids:
                raise UsageError(f"{name}: {value}, must be from 0 to vocab_size − 1 = {self.vocab_size - 1}")
        for name in ("cls_token_id", "mask_token_id"):
            if getattr(self, name) == self.pad_token_id:
                raise UsageError(f"{name}: {self.pad_token_id}, must not be the pad id")
        if self.ignore_label in self.allowed_ids:
            raise UsageError(f"ignore_label: {self.ignore_label}, must not be an id of the vocabulary")

    @property
    def allowed_ids(self) -> range:
        return range(self.vocab_size)

    @property
    def kept_ids(self) -> frozenset[int]:
        """Ids that masked-LM training neither hides nor predicts: pad, CLS, mask and the special ones."""
        named = (self.pad_token_id, self.cls_token_id, self.mask_token_id)
        return frozenset(self.special_ids).union(number for number in named if number is not None)

    def _ids(self) -> list[tuple[str, int]]:
        named = [("pad_token_id", self.pad_token_id)]
        named += [
            (name, value) for name in ("cls_token_id", "mask_token_id") if (value := getattr(self, name)) is not None
        ]
        return named + [("special_ids", number) for number in self.special_ids]
