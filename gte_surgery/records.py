"""Frozen dataclasses, made in a quarter of the time, which is what most of a command's start was spent on.

The standard library compiles six methods for each class; here `__init__` alone is compiled, the others are shared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool = False) -> Callable[[type], type]:
        """As dataclasses' own, for what is frozen and has no order."""
        return lambda cls: _made(cls, frozen, slots)


def _made(cls: type, frozen: bool, slots: bool) -> type:
    if not frozen:
        raise TypeError(f"{cls.__name__}: not frozen, must be one of dataclasses' own")
    own = frozenset(cls.__dict__)
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    every = fields(made)
    methods = {"__init__": _init_of(made, every, slots), **_compared(every), **_SHARED}
    for name, method in methods.items():
        if name not in own:
            setattr(made, name, method)
    return made  # type: ignore[no-any-return]


def _init_of(cls: type, every: tuple[Field[Any], ...], slots: bool) -> Callable[..., None]:
    """An `__init__` that fills slots by their descriptors, which is faster than by their names."""
    known: dict[str, object] = {"_put": object.__setattr__, "_new": MISSING}
    parameters: dict[bool, list[str]] = {False: [], True: []}
    body = []
    for each in every:
        name, default = each.name, ""
        put = f"_put(self, {name!r}, "
        if slots:
            known[f"_put_{name}"], put = getattr(cls, name).__set__, f"_put_{name}(self, "
        value = name
        if each.default_factory is not MISSING:
            known[f"_make_{name}"], default = each.default_factory, "=_new"
            value = f"_make_{name}() if {name} is _new else {name}" if each.init else f"_make_{name}()"
        elif each.default is not MISSING:
            known[f"_default_{name}"], default = each.default, f"=_default_{name}"
            value = name if each.init else f"_default_{name}"
        if each.init:
            parameters[bool(each.kw_only)].append(name + default)
        if each.init or default:
            body.append(f"{put}{value})")
    body += ["self.__post_init__()"] if hasattr(cls, "__post_init__") else []
    named = ["*", *parameters[True]] if parameters[True] else []
    text = f"def __init__({', '.join(['self', *parameters[False], *named])}):\n {'; '.join(body) or 'pass'}"
    exec(text, known)  # noqa: S102 - the names of our own fields, as dataclasses itself does
    init: Any = known["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init  # type: ignore[no-any-return]


def _compared(every: tuple[Field[Any], ...]) -> dict[str, Callable[..., Any]]:
    names = [each.name for each in every if each.compare]
    values = attrgetter(*names) if names else lambda self: ()

    def equals(self: object, other: object) -> bool:
        return bool(values(self) == values(other)) if other.__class__ is self.__class__ else NotImplemented

    return {"__eq__": equals, "__hash__": lambda self: hash(values(self))}


def _told(self: Any) -> str:
    told = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{self.__class__.__qualname__}({told})"


def _refuse_to_set(self: object, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[object]:
    return [getattr(self, each.name) for each in fields(self)]


def _restore(self: Any, state: list[object]) -> None:
    for each, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)


_SHARED: dict[str, Callable[..., Any]] = {
    "__repr__": _told,
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
    "__getstate__": _state,
    "__setstate__": _restore,
}
