"""How rules word what they found: what all messages share, and JSON values as config.json shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TypeVar

from gte_surgery.gte.wording import SHOWN, counted, listed, shape

__all__ = ["SHOWN", "counted", "first", "listed", "shape", "shown"]

Item = TypeVar("Item")


def shown(value: object) -> str:
    """A JSON value as config.json writes it, cut short when it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


def first(items: Sequence[Item]) -> Iterator[tuple[Item, str]]:
    """The first five items, each with how its message ends: with nothing, or on the fifth with a count of the rest."""
    rest = len(items) - SHOWN
    for at, item in enumerate(items[:SHOWN], start=1):
        yield item, f" (and {rest} more such)" if at == SHOWN and rest > 0 else ""
