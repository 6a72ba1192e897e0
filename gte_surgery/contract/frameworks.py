"""Tensors of whichever framework made them: torch, numpy, or nested lists.

Judging imports no framework: a tensor's is looked up among the modules that the process has loaded already, as einops
does, for a tensor cannot be there before its framework. Only `load`, for a caller who asks for tensors, imports one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import chain
from math import inf
from typing import Any, Literal, get_args

from gte_surgery.errors import UsageError
from gte_surgery.gte.wording import either, shown

Framework = Literal["torch", "numpy", "lists"]
"""Who made a tensor."""

FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)

Kind = Literal["booleans", "integers", "floats", "other"]
"""What the elements of a tensor are; "other" for complex, quantised and 8-bit floating-point numbers."""


class UnreadableError(Exception):
    """A value holds no numbers to judge; `is_ragged` where it would, were its rows of one length."""

    def __init__(self, reason: str, is_ragged: bool = False) -> None:
        super().__init__(reason)
        self.is_ragged = is_ragged


@dataclass(frozen=True, slots=True)
class Member:
    """One tensor of a batch. `value` is a torch tensor, a numpy array or plain nested lists; `dtype` is named as torch
    and numpy both name it, "int" for lists of integers; `device` compares equal on the same device, None for the host.
    """

    name: str
    value: Any
    framework: Framework
    shape: tuple[int, ...]
    kind: Kind
    dtype: str
    device: object = None

    def rows(self) -> Iterator[Any]:
        """The entries of the first dimension as Python values, one after another; copies from a device at once."""
        value = self.value.detach().cpu() if self.framework == "torch" else self.value
        if self.framework == "lists":
            yield from value
        else:
            yield from (row.tolist() for row in value)


def load(name: Framework) -> Any:
    """The module torch or numpy, imported now unless it was. Raises UsageError where it is not installed.

    The one door through which this room comes to a framework; torch is at home in `model` and `smoke`.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(f"{name}: not installed, it is asked for as output", f"`pip install {name}`") from error


def tensor(framework: Framework, nested: Any, dtype: str = "int64", device: object = None) -> Any:
    """Nested lists, or a numpy array, as a tensor of a framework; as lists they have no dtype. Raises UsageError for a
    framework that is none of these, or is not installed."""
    match framework:
        case "lists":
            return plain(nested)
        case "numpy":
            return load("numpy").array(nested, dtype=dtype)
        case "torch":
            torch = load("torch")
            return torch.tensor(nested, dtype=getattr(torch, dtype), device=device)
        case _:
            raise UsageError(f"framework: {framework!r}, must be {either(list(map(shown, FRAMEWORKS)))}")


def plain(value: Any) -> Any:
    """Nested lists and tuples, and arrays, tensors and their scalars in them, as lists of Python numbers."""
    if isinstance(value, (list, tuple)):
        if set(map(type, value)) <= {int}:
            return list(value)
        return [plain(each) for each in value]
    as_list = getattr(value, "tolist", None)
    return as_list() if callable(as_list) else value


def member(name: str, value: object) -> Member:
    """What `value` is, without reading its elements (lists are read: they have no type). Raises UnreadableError."""
    tensors = _type_of("torch", "Tensor")
    if tensors is not None and isinstance(value, tensors):
        return _torch_member(name, value)
    arrays = _type_of("numpy", "ndarray")
    if arrays is not None and isinstance(value, arrays):
        return _numpy_member(name, value)
    if isinstance(value, (list, tuple)):
        return _list_member(name, plain(value))
    raise UnreadableError(f"{type(value).__name__}, must be a tensor, an array or nested lists of numbers")


def _type_of(module: str, name: str) -> Any:
    """The type `module.name` if the module is loaded, else None."""
    return getattr(sys.modules.get(module), name, None)


@lru_cache(maxsize=64)
def _dtype(dtype: Any) -> tuple[str, Kind]:
    """Name and kind of a dtype of torch or numpy, or of a type of Python's by its name."""
    name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    if name == "bool":
        return name, "booleans"
    if re.fullmatch(r"u?int\d*", name):
        return name, "integers"
    return name, "floats" if re.fullmatch(r"bfloat16|float(16|32|64|128)?", name) else "other"


def greatest(dtype: str) -> float:
    """The largest number of a dtype of integers, by its name: 32767 of int16; without end of Python's "int"."""
    named = re.fullmatch(r"(u?)int(\d+)", dtype)
    return 2 ** (int(named[2]) - (not named[1])) - 1 if named else inf


def _torch_member(name: str, value: Any) -> Member:
    if value.is_meta or value.is_nested or value.layout is not sys.modules["torch"].strided:
        what = "on the meta device" if value.is_meta else "nested or sparse"
        raise UnreadableError(f"a tensor {what}, must be a dense one that holds numbers")
    dtype, kind = _dtype(value.dtype)
    return Member(name, value, "torch", tuple(value.shape), kind, dtype, value.device)


def _numpy_member(name: str, value: Any) -> Member:
    dtype, kind = _dtype(value.dtype)
    if dtype == "object":
        return member(name, value.tolist())
    if kind == "other" and not dtype.startswith("complex"):
        raise UnreadableError(f"an array of {dtype}, must hold numbers")
    return Member(name, sys.modules["numpy"].asarray(value), "numpy", tuple(value.shape), kind, dtype)


def _list_member(name: str, value: list[Any]) -> Member:
    shape, scalars = _measured(value)
    kinds = set(map(type, scalars))
    if strange := kinds - {int, bool, float}:
        raise UnreadableError(f"lists of {', '.join(sorted(each.__name__ for each in strange))}, must hold numbers")
    dtype = "bool" if kinds == {bool} else "float" if float in kinds else "int"
    return Member(name, value, "lists", shape, _dtype(dtype)[1], dtype)


def _measured(value: list[Any]) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and scalars of nested lists. Raises UnreadableError where lengths or depths differ."""
    shape, level = [len(value)], value
    while level and any(isinstance(each, list) for each in level):
        lengths = {len(each) if isinstance(each, list) else -1 for each in level}
        if len(lengths) > 1:
            raise UnreadableError(_ragged(lengths), is_ragged=True)
        shape.append(lengths.pop())
        level = list(chain.from_iterable(level))
    return tuple(shape), level


def _ragged(lengths: set[int]) -> str:
    if -1 in lengths:
        return "lists beside numbers at one depth, must be nested evenly"
    return f"rows of {min(lengths)} to {max(lengths)} entries, must be of one length"
