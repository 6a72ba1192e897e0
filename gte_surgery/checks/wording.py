"""How rules word what they found: lists cut to five, JSON values as the file shows them, shapes and counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

SHOWN = 5
"""So many items of a long list are shown; the rest are counted."""


def listed(items: Sequence[str]) -> str:
    """`a, b, c`; of more than five items the first five "and 7 more"."""
    rest = len(items) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def shown(value: object) -> str:
    """A JSON value as config.json writes it, cut short when it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


def shape(sizes: Sequence[int]) -> str:
    """`[2304, 768]`."""
    return "[" + ", ".join(str(size) for size in sizes) + "]"


def counted(count: int, noun: str) -> str:
    """`1 tensor`, `1,024 tensors`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def first(items: Sequence[Item]) -> Iterator[tuple[Item, str]]:
    """The first five items, each with how its message ends: with nothing, or on the fifth with a count of the rest."""
    rest = len(items) - SHOWN
    for at, item in enumerate(items[:SHOWN], start=1):
        yield item, f" (and {rest} more such)" if at == SHOWN and rest > 0 else ""
