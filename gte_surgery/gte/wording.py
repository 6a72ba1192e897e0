"""How messages word what was found: JSON values, lists cut to five, shapes and counts."""

from __future__ import annotations

import json
from collections.abc import Sequence

LONGEST = 60

SHOWN = 5
"""So many items of a long list are shown; the rest are counted."""


def shown(value: object) -> str:
    """The value as JSON, cut after 60 characters: `"false"`, `[1, 2]`, `null`."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def listed(items: Sequence[str], count: int | None = None) -> str:
    """`a, b, c`; of more than five items the first five "and 7 more". `count` is their number where more are meant."""
    rest = (len(items) if count is None else count) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def either(choices: Sequence[str]) -> str:
    """`a, b or c`."""
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def shape(sizes: Sequence[int]) -> str:
    """`[2304, 768]`."""
    return "[" + ", ".join(str(size) for size in sizes) + "]"


def counted(count: int, noun: str) -> str:
    """`1 tensor`, `1,024 tensors`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
