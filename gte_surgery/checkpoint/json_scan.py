"""A lenient scanner over JSON text: where values begin and end, and what is wrong that `json` does not place.

It never recurses and never copies, so hostile nesting costs time linear in the text. It leaves parsing to
`strict_json` and expects text that `json` accepts at least as far as the first offence.
"""

from __future__ import annotations

import json
import math
import re
from typing import NamedTuple

MAX_DEPTH = 127  # what serde_json, and with it the safetensors package, accepts

_TOKEN = re.compile(r'[ \t\n\r]*(?:([{}\[\],:])|("[^"\\]*(?:\\.[^"\\]*)*")|([^\s{}\[\],:"]+))', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Member(NamedTuple):
    """One member of an object or element of an array, as half-open character offsets into the text.

    `key_begin` is the opening quote of the key; for an array element it equals `begin`.
    """

    key_begin: int
    key_end: int
    begin: int
    end: int


class Offence(NamedTuple):
    """The first thing in a text that strict JSON forbids, and its character offset."""

    offset: int
    reason: str


def skip_space(text: str, offset: int) -> int:
    """Offset of the first character at or after `offset` that is not JSON whitespace."""
    match = _SPACE.match(text, offset)
    return match.end() if match else offset


def value_end(text: str, begin: int) -> int:
    """End offset of the value that starts at `begin`."""
    depth = 0
    offset = begin
    while match := _TOKEN.match(text, offset):
        offset = match.end()
        if mark := match[1]:
            if mark in "{[":
                depth += 1
            elif mark in "}]":
                depth -= 1
        if depth == 0:
            return offset
    return len(text)


def members(text: str, begin: int) -> dict[str, Member]:
    """The members of the object or the elements of the array that starts at `begin`, by key or decimal index.

    A scalar has none. Order is that of the text.
    """
    found: dict[str, Member] = {}
    opening = text[begin]
    if opening not in "{[":
        return found
    offset = skip_space(text, begin + 1)
    while text[offset] not in "}]":
        if opening == "{":
            key_begin, key_end = offset, value_end(text, offset)
            key = json.loads(text[key_begin:key_end])
            offset = skip_space(text, skip_space(text, key_end) + 1)
        else:
            key_begin = key_end = offset
            key = str(len(found))
        end = value_end(text, offset)
        found[key] = Member(key_begin, key_end, offset, end)
        offset = skip_space(text, end)
        if text[offset] == ",":
            offset = skip_space(text, offset + 1)
    return found


def first_offence(text: str) -> Offence | None:
    """The first duplicate key, unusable number, lone surrogate or over-deep value, in text order."""
    open_keys: list[set[str] | None] = []  # None for an array
    is_key = False
    offset = 0
    while match := _TOKEN.match(text, offset):
        offset = match.end()
        mark, string, word = match.groups()
        if mark:
            if mark in "{[":
                open_keys.append(set() if mark == "{" else None)
                if len(open_keys) > MAX_DEPTH:
                    return Offence(match.start(1), f"nested deeper than {MAX_DEPTH} levels")
            elif mark in "}]" and open_keys:
                open_keys.pop()
            is_key = bool(open_keys) and open_keys[-1] is not None and mark in "{,"
            continue
        keys = open_keys[-1] if is_key and open_keys else None
        reason = _string_offence(string, keys) if string else _word_offence(word)
        if reason:
            return Offence(match.start(2 if string else 3), reason)
    return None


def has_surrogate_escape(text: str) -> bool:
    """Whether `text` holds an escape that may be half of a surrogate pair: worth a closer look."""
    return _ESCAPED_SURROGATE.search(text) is not None


def is_too_large(number: str) -> bool:
    """Whether a JSON number lies beyond what a 64-bit float can hold."""
    return math.isinf(float(number))


def _string_offence(literal: str, keys: set[str] | None) -> str:
    try:
        value = json.loads(literal)
    except ValueError:
        return ""  # a syntax error, which `json` itself has placed
    if has_surrogate_escape(literal) and any("\ud800" <= character <= "\udfff" for character in value):
        return "a string holds half of a surrogate pair, which is no character"
    if keys is not None:
        if value in keys:
            return f"duplicate key {json.dumps(value)}"
        keys.add(value)
    return ""


def _word_offence(word: str) -> str:
    if word in ("NaN", "Infinity", "-Infinity"):
        return f"{word} is not JSON"
    if word[0] not in "-0123456789":
        return ""
    try:
        return f"number too large ({len(word)} characters)" if is_too_large(word) else ""
    except ValueError:
        return ""
