"""What a mutated function is called through. A copy of this file lies in the mutated package as `_switch.py`, in the
place of mutmut's own trampoline, which looks at the environment at each call and needs mutmut in every process.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

MutantDict = dict[str, Callable[..., Any]]

chosen = os.environ.get("GTE_SURGERY_MUTANT", "")
"""The mutant that is in force, as `gte_surgery.gte.new_impl.rope.x_describe__mutmut_3`; none when empty."""

called: set[str] | None = set()
"""The functions called so far, as `gte_surgery.gte.new_impl.rope.x_describe`; None once nobody listens."""


def choose(mutant: str) -> None:
    """Puts a mutant in force, and no longer listens."""
    global chosen, called
    chosen, called = mutant, None


def _mutmut_mutated(mutants: MutantDict, is_classmethod: bool = False) -> Callable[..., Any]:
    """Decorates a function: a call goes to the mutant in force if it is one of `mutants`, else to the original."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        module = function.__module__

        def choice() -> Callable[..., Any]:
            original = mutants["_mutmut_orig"]
            if called is not None:
                called.add(f"{module}.{original.__name__.removesuffix('__mutmut_orig')}")
            home, _, name = chosen.rpartition(".")
            return mutants.get(name, original) if home == module else original

        def bound(arguments: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            found = choice()
            return (getattr(arguments[0], found.__name__), arguments[1:]) if is_classmethod else (found, arguments)

        if inspect.isgeneratorfunction(function):

            @wraps(function)
            def switch(*args: Any, **options: Any) -> Any:
                call, arguments = bound(args)
                return (yield from call(*arguments, **options))

        else:

            @wraps(function)
            def switch(*args: Any, **options: Any) -> Any:
                call, arguments = bound(args)
                return call(*arguments, **options)

        return switch

    return decorate
