"""Arguments and options that more than one command takes; each help text stands here once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Size(click.ParamType):
    """A number of bytes with an optional unit: 5GB is 5·10⁹, 5GiB is 5·2³⁰."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", value, re.ASCII)
        if match is None or match[2].upper() not in _UNITS:
            self.fail(f"{value!r} is not a size; write for example 5GB, 500MiB or 1000000", param, ctx)
        return int(float(match[1]) * _UNITS[match[2].upper()])


def example(*lines: str) -> str:
    """The epilog of a command's help: one or more command lines, not rewrapped."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


checkpoint_argument = click.argument("checkpoint", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
