"""Options at the door: whole numbers are Python's and numpy's, and neither truth values nor fractions in their stead; a
word that must be one of some is one of them; a text that stands for a list of texts is one of one.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
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
    """Of a frozen dataclass, makes every field that is declared `int` or `int | None` such an integer; None may
    be in the latter.
    """
    for each in fields(options):
        value = getattr(options, each.name)
        if each.type == "int" or (each.type == "int | None" and value is not None):
            object.__setattr__(options, each.name, whole(each.name, value))


def at_least(name: str, value: int, least: int, most: int | None = None) -> None:
    """Raises UsageError with the option's `name` for a number outside these bounds."""
    if value < least:
        raise UsageError(f"{name}: {value}, must be at least {least}")
    if most is not None and value > most:
        raise UsageError(f"{name}: {value}, must be at most {most}")


def words(given: str | Iterable[str]) -> tuple[str, ...]:
    """What is given, one text or several, as several."""
    return (given,) if isinstance(given, str) else tuple(given)


def require_choices(options: Any, named: Mapping[str, tuple[str, ...]]) -> None:
    """Of a dataclass, raises UsageError for a field that is declared a Literal, written out or by one of the names
    `named`, and holds none of its words; None stays where it may be.
    """
    for each in fields(options):
        declared, value = each.type.removesuffix(" | None"), getattr(options, each.name)
        is_written = declared.startswith("Literal[")
        wanted = tuple(re.findall(r"['\"]([^'\"]*)['\"]", declared)) if is_written else named.get(declared, ())
        if wanted and value not in wanted and not (value is None and declared != each.type):
            raise UsageError(
                f"{each.name.replace('_', '-')}: {value!r}, must be {', '.join(wanted[:-1])} or {wanted[-1]}"
            )
