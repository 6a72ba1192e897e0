"""Our frozen dataclasses are dataclasses' own as far as anyone can tell, only sooner made."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from functools import cached_property
from inspect import signature
from typing import Any

import pytest

from gte_surgery import records

Make = Callable[..., Callable[[type], type]]


def shapes(make: Make, slots: bool) -> dict[str, Any]:
    """The same classes as `make` makes them, each with the arguments of one value."""

    @make(frozen=True, slots=slots)
    class Plain:
        """One without defaults."""

        first: int
        second: list[int]

    @make(frozen=True, slots=slots)
    class Base:
        """One with every kind of default."""

        name: str
        parts: dict[str, int] = field(default_factory=dict)
        count: int = 3
        hidden: str = field(default="", repr=False, compare=False, kw_only=True)
        kept: int = field(default=5, init=False)
        fresh: list[int] = field(default_factory=list, init=False)
        given: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "given", self.count * 2)

        def __repr__(self) -> str:
            return "a word of its own"

    @make(frozen=True, slots=slots)
    class Derived(Base):
        """One that inherits."""

        more: tuple[int, ...] = ()

    @make(frozen=True, slots=slots)
    class Empty:
        """One without fields."""

    return {"Plain": (Plain, 1, [2]), "Base": (Base, "x"), "Derived": (Derived, "x", {"a": 1}), "Empty": (Empty,)}


@pytest.mark.parametrize("slots", [True, False])
@pytest.mark.parametrize("name", ["Plain", "Base", "Derived", "Empty"])
def test_a_record_is_what_dataclasses_make(name: str, slots: bool) -> None:
    def told(make: Make) -> tuple[object, ...]:
        kind, *given = shapes(make, slots)[name]
        value, other = kind(*given), kind(*copy.deepcopy(given))
        taken = [(each.name, each.kind, each.default is each.empty) for each in signature(kind).parameters.values()]
        hashed = hash(value) == hash(other) if name == "Empty" else None
        apart = [each.name for each in fields(value) if each.init and each.name != "hidden"]
        changed = [replace(value, **{each: "other"}) != value for each in apart]
        same = [replace(value, hidden="other") == value] if name in ("Base", "Derived") else []
        names = [each.name for each in fields(value)]
        facts = value == other, value != object(), hashed, kind.__match_args__, hasattr(value, "__dict__")
        return *facts, repr(value), asdict(value), taken, names, changed, same, copy.copy(value) == value

    assert told(records.dataclass) == told(dataclasses.dataclass)


def test_a_record_stays_as_it_is() -> None:
    kind, *given = shapes(records.dataclass, True)["Base"]
    value = kind(*given)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'count'"):
        value.count = 4
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'count'"):
        del value.count
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        kind()
    with pytest.raises(TypeError, match="unhashable type"):
        hash(value)
    with pytest.raises(TypeError, match="must be one of dataclasses' own"):
        records.dataclass(frozen=False)(type("Changing", (), {"__doc__": "Not frozen."}))


@records.dataclass(frozen=True, slots=True)
class Sent:
    """What another process may get."""

    number: int
    word: str = "x"


@records.dataclass(frozen=True)
class Lazy:
    """What computes a member once."""

    number: int

    @cached_property
    def double(self) -> int:
        return 2 * self.number


def test_records_are_sent_between_processes_and_are_keys() -> None:
    assert pickle.loads(pickle.dumps(Sent(1))) == Sent(1)
    assert {Sent(1): "a"}[Sent(1)] == "a"
    assert Sent(1) not in {Sent(2), Sent(1, "y")}
    assert repr(Sent(1)) == "Sent(number=1, word='x')"
    lazy = Lazy(2)
    assert (lazy.double, lazy.double, lazy) == (4, 4, Lazy(2))
    assert pickle.loads(pickle.dumps(lazy)).double == 4
