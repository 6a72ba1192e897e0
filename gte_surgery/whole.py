"""Whole numbers at the door: Python's and numpy's, and neither truth values nor fractions in their stead."""

from __future__ import annotations

import operator
from dataclasses import fields
from typing import Any

from gte_surgery.errors import UsageError


def whole(name: str, value: object) -> int:
    """The integer that `value` is; raises UsageError with the option's `name` for a bool, a float, a text."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"{name.replace('_', '-')}: {value!r}, must be a whole number") from None


def make_whole(options: Any) -> None:
    """Of a frozen dataclass, makes every field that is declared `int` or `int | None` such an integer; None stays."""
    for each in fields(options):
        value = getattr(options, each.name)
        if each.type in ("int", "int | None") and value is not None:
            object.__setattr__(options, each.name, whole(each.name, value))
