"""The public names of the package, and how each is called."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import gte_surgery
from gte_surgery.cli import exits

Names = dict[str, dict[str, list[str]]]

CALLED = ("Columns", "Expectations", "GteAdapter", "IdContract", "MaskedLmCollator", "SmokeOptions")
"""Classes whose values are made by who calls us; those of the others are only looked at."""


def public_api() -> Names:
    """Of each public name: what its call takes ("vocab keyword-only, needed"), and the public members of a class."""
    things = {name: getattr(gte_surgery, name) for name in gte_surgery.__all__}
    return {name: {"takes": list(_takes(thing)), "has": _has(thing)} for name, thing in things.items()}


def exit_codes() -> dict[str, int]:
    return {name: code for name, code in vars(exits).items() if isinstance(code, int)}


def _takes(thing: Any) -> Iterator[str]:
    if isinstance(thing, type) and thing.__name__ not in CALLED:
        return
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            bundle = parameter.annotation.removeprefix("Unpack[").removesuffix("]")
            names = inspect.unwrap(thing).__globals__[bundle].__annotations__
            yield from (f"{name} keyword-only, optional" for name in names)
        else:
            is_needed = parameter.default is parameter.empty
            yield f"{parameter.name} {parameter.kind.description}, {'needed' if is_needed else 'optional'}"


def _has(thing: Any) -> list[str]:
    kinds = inspect.getmro(thing) if isinstance(thing, type) else ()
    ours = [kind for kind in kinds if kind.__module__.startswith("gte_surgery")]
    names = {name for kind in ours for name in (*vars(kind), *inspect.get_annotations(kind))}
    return sorted(name for name in names if not name.startswith("_"))
