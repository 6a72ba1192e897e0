"""A lenient scanner over JSON text: where values begin and end, and what is wrong that `json` does not place.

It never recurses and never copies, so hostile nesting costs time linear in the text. Parsing is left to `strict_json`;
the text must be JSON at least as far as the first offence.
"""

from __future__ import annotations

import json
import math
import re
from typing import NamedTuple

MAX_DEPTH = 127  # what serde_json, and with it the safetensors package, accepts

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:([{}\[\],:])|("[^"\\]*(?:\\.[^"\\]*)*")"""
    r"|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|-?Infinity|NaN|true|false|null))",
    re.DOTALL,
)
_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


class Member(NamedTuple):
    """One member of an object or element of an array, as half-open character offsets into the text.

    [key_begin, key_end) is the quoted key; for an array element it is empty.
    """

    key_begin: int
    key_end: int
    begin: int
    end: int


class Offence(NamedTuple):
    """What strict JSON forbids, at a character offset; of a duplicate key also the key and its level."""

    offset: int
    reason: str
    duplicate: str | None = None
    depth: int = 0


def skip_space(text: str, offset: int) -> int:
    """Offset of the first character at or after `offset` that is not JSON white space."""
    match = _SPACE.match(text, offset)
    return match.end() if match else offset


def value_end(text: str, begin: int) -> int:
    """End offset of the value that starts at `begin`."""
    depth = 0
    offset = begin
    while match := _TOKEN.match(text, offset):
        offset = match.end()
        mark = match[1]
        if mark and mark in "{[":
            depth += 1
        elif mark and mark in "}]":
            depth -= 1
        if depth == 0:
            return offset
    return len(text)


def members(text: str, begin: int) -> dict[str, Member]:
    """The members of the object, or the elements of the array, that starts at `begin`: by key or decimal index.

    A scalar has none. Order is that of the text.
    """
    found: dict[str, Member] = {}
    opening = text[begin]
    if opening not in "{[":
        return found
    offset = skip_space(text, begin + 1)
    while text[offset] not in "}]":
        key_begin = key_end = offset
        key = str(len(found))
        if opening == "{":
            key_end = value_end(text, offset)
            key = json.loads(text[key_begin:key_end])
            offset = skip_space(text, skip_space(text, key_end) + 1)
        end = value_end(text, offset)
        found[key] = Member(key_begin, key_end, offset, end)
        offset = skip_space(text, end)
        if text[offset] == ",":
            offset = skip_space(text, offset + 1)
    return found


def first_offence(text: str) -> Offence | None:
    """The first duplicate key, unusable number, lone surrogate or over-deep value, in text order."""
    keys_of_open: list[set[str] | None] = []  # one for each open container, None for an array
    is_key = False
    offset = 0
    while match := _TOKEN.match(text, offset):
        offset = match.end()
        mark, string, word = match.groups()
        if mark:
            if mark in "{[":
                keys_of_open.append(set() if mark == "{" else None)
            elif mark in "}]" and keys_of_open:
                keys_of_open.pop()
            if len(keys_of_open) > MAX_DEPTH:
                return Offence(match.start(1), f"nested deeper than {MAX_DEPTH} levels")
            is_key = mark in "{," and bool(keys_of_open) and keys_of_open[-1] is not None
        elif string:
            keys = keys_of_open[-1] if is_key else None
            if offence := _string_offence(match.start(2), string, keys, len(keys_of_open)):
                return offence
        elif reason := _word_offence(word):
            return Offence(match.start(3), reason)
    return None


def lone_surrogate(text: str) -> Offence | None:
    """The first escape in JSON text that is half of a surrogate pair: no character, and no UTF-8."""
    if _SURROGATE_ESCAPE.search(text) is None:
        return None
    for match in _ESCAPE.finditer(text):
        if match[1]:
            return Offence(match.start(), f"\\{match[1]} is half of a surrogate pair, which is no character")
    return None


def is_too_large(number: str) -> bool:
    """Whether a JSON number lies beyond what a 64-bit float can hold."""
    return math.isinf(float(number))


def _string_offence(offset: int, literal: str, keys: set[str] | None, depth: int) -> Offence | None:
    if lone := lone_surrogate(literal):
        return Offence(offset + lone.offset, lone.reason)
    if keys is None:
        return None
    key = json.loads(literal)
    if key in keys:
        return Offence(offset, "duplicate key", key, depth)
    keys.add(key)
    return None


def _word_offence(word: str) -> str:
    if word in ("NaN", "Infinity", "-Infinity"):
        return f"{word} is not JSON"
    if word[0] in "-0123456789" and is_too_large(word):
        return f"a number of {len(word)} characters, beyond a 64-bit float"
    return ""
