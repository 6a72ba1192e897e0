"""What all output is made of: harmless names, colours, numbers for people and for JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import zip_longest

_STYLES = {"error": "31;1", "warning": "33;1", "note": "36;1", "good": "32;1", "strong": "1", "faint": "2"}


_OURS = re.compile(f"(\x1b\\[(?:0|{'|'.join(_STYLES.values())})m|[\n\t])")
"""What our own output has that is not printable: colours, line breaks, tabs."""


def printable(text: str) -> str:
    r"""The text with all that could move a cursor, reorder or hide a line as escapes: ESC becomes "\x1b".

    That is what Unicode calls not printable: control and format characters, surrogates, separators but the space.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def harmless(text: str, color: bool = False) -> str:
    """What a terminal may get of output that is put together: our colours where there are any, lines, and no more.

    Names are made `printable` where they enter a text; this is the last gate, for one that was forgotten.
    """
    parts = _OURS.split(text)
    ours = [part if color or part in "\n\t" else printable(part) for part in parts[1::2]]
    return "".join(part for pair in zip_longest(map(printable, parts[::2]), ours, fillvalue="") for part in pair)


def paint(text: str, style: str, color: bool) -> str:
    """The text in one of our styles (a severity's label, good, strong, faint) as an ANSI sequence, or as it is."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if color else text


def count(number: int, noun: str) -> str:
    """1 error, 2 errors, 0 errors."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(nbytes: int) -> str:
    """Bytes for people, in decimal units as disks and hubs count: 305_000_000 → "305.0 MB"."""
    value, unit = float(nbytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.95 or unit == "TB":
            break
        value /= 1000
    return f"{nbytes} B" if unit == "B" else f"{value:.1f} {unit}"


def span(first: int, last: int) -> str:
    """7, or 7 to 1,024."""
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def columns(rows: Sequence[tuple[str, ...]], indent: str = "") -> str:
    """Rows in aligned columns, two spaces apart; the last column is ragged."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    )


def section(title: str, lines: Sequence[str], indent: str = "") -> str:
    """The title with the lines below it, two spaces further in; nothing where there is no line."""
    return "\n".join((f"{indent}{title}", *(f"{indent}  {line}" for line in lines))) if lines else ""


def finite(value: object) -> object:
    """The value for JSON, which has no NaN and no infinity: such numbers are null, at any depth."""
    match value:
        case dict():
            return {key: finite(member) for key, member in value.items()}
        case list() | tuple():
            return [finite(member) for member in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
