"""JSON read strictly, with the place of every value, and edited without touching what was not asked for.

Strict means: UTF-8 without a byte order mark, no duplicate key, no NaN or Infinity, no number beyond a 64-bit float,
no half surrogate pair, at most 127 levels deep. Finding places in the text is left to `json_scan`.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NoReturn

from gte_surgery.checkpoint.json import scan as json_scan
from gte_surgery.checkpoint.json.scan import Member, Offence
from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import JsonError
from gte_surgery.findings import Location

_SPACE = " \t\n\r"
_KINDS = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
_PLACED = 1 << 22  # offences are placed within so many characters; beyond them they are only named


def kind_of(value: object) -> str:
    """What a value is in JSON's own words: "a JSON array"; all that is not the others is "a JSON number"."""
    return f"a JSON {_KINDS.get(type(value), 'number')}"


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON file: `source` is the name that messages show, `text` the file's text, `value` what it says.

    Places are looked up lazily, by JSON pointer [RFC 6901]; "" is the whole value.
    """

    source: str
    text: str
    value: object
    _members: dict[str, dict[str, Member]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _newlines: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def members(self) -> dict[str, object]:
        """Those of the object that the file holds; none where it holds something else."""
        return self.value if isinstance(self.value, dict) else {}

    def span(self, pointer: str) -> tuple[int, int] | None:
        """Character offsets [begin, end) of the value in `text`, or None when there is no such value."""
        begin = json_scan.skip_space(self.text, 0)
        end = len(self.text.rstrip(_SPACE))
        parent = ""
        for escaped in pointer.split("/")[1:]:
            member = self._members_at(parent, begin).get(escaped.replace("~1", "/").replace("~0", "~"))
            if member is None:
                return None
            begin, end = member.begin, member.end
            parent = f"{parent}/{escaped}"
        return (begin, end) if parent == pointer else None

    def position(self, pointer: str) -> tuple[int, int] | None:
        """Line and column, counted from 1, where the value begins, or None when there is no such value."""
        span = self.span(pointer)
        if span is None:
            return None
        if not self._newlines:
            self._newlines.append(-1)
            self._newlines.extend(match.start() for match in re.finditer("\n", self.text))
        line = bisect_left(self._newlines, span[0])
        return line, span[0] - self._newlines[line - 1]

    def location(self, pointer: str) -> Location:
        """Where a finding about `pointer` points: the value itself, or its nearest ancestor that exists."""
        nearest = pointer if pointer.startswith("/") else ""
        while (position := self.position(nearest)) is None:
            nearest = nearest.rpartition("/")[0]
        return Location(file=self.source, line=position[0], column=position[1], pointer=shown(pointer))

    def _members_at(self, pointer: str, begin: int) -> dict[str, Member]:
        if pointer not in self._members:
            self._members[pointer] = json_scan.members(self.text, begin)
        return self._members[pointer]


class _ForbiddenError(Exception):
    """A decoder's hook met something forbidden; where, is for `json_scan.first_offence` to find out."""

    def __init__(self, offence: Offence) -> None:
        super().__init__(offence.reason)
        self.offence = offence


def parse_document(raw: bytes, source: str) -> Document:
    """Parse a whole JSON file; `source` is its name in messages.

    Raises JsonError, with line and column, for anything that strict JSON forbids.
    """
    if raw.startswith(b"\xef\xbb\xbf"):
        raise JsonError(source, 1, 1, "starts with a byte order mark", "save the file as UTF-8 without a BOM")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        raise _json_error(source, before, len(before), f"byte 0x{raw[error.start]:02x} is not UTF-8") from None
    value, offence = decode(text)
    if offence is None:
        return Document(source, text, value)
    key = f' "{shown(offence.duplicate)}"' if offence.duplicate is not None else ""
    raise _json_error(source, text, offence.offset, offence.reason + key)


def decode(text: str) -> tuple[object, Offence | None]:
    """The value that JSON text holds, and the first offence against strictness; the value is None where there is one.

    `-0` is read as a float, as serde_json does, so that it is no integer. An offence beyond the first 4 Mi characters
    may be named without its place.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" at").removesuffix(" starting")
        return None, Offence(error.pos, f"not JSON: {reason[:1].lower()}{reason[1:]}")
    except _ForbiddenError as error:
        return None, json_scan.first_offence(text[:_PLACED]) or error.offence
    except RecursionError:
        return None, json_scan.first_offence(text) or Offence(0, "nested too deep")
    offence = json_scan.lone_surrogate(text)
    if offence is None and _is_deep(text, value):
        offence = json_scan.first_offence(text)
    return (None, offence) if offence else (value, None)


def decode_first(text: str, begin: int) -> tuple[object, int] | None:
    """The value that begins at an offset of JSON text, and the offset of its end; None if it is not strict JSON, is
    deep, or may be cut short by the end of the text.
    """
    try:
        value, end = _DECODER.raw_decode(text, begin)
    except (json.JSONDecodeError, _ForbiddenError, RecursionError):
        return None
    is_deep = text.count("{", begin, end) + text.count("[", begin, end) >= json_scan.MAX_DEPTH
    if end == len(text) or (is_deep and _depth(value) >= json_scan.MAX_DEPTH):
        return None
    return None if json_scan.lone_surrogate(text[begin:end]) else (value, end)


def escape(token: str) -> str:
    """A member's key as one token of a JSON pointer [RFC 6901, section 3]."""
    return token.replace("~", "~0").replace("/", "~1")


def replace_members(document: Document, members: Mapping[str, object], removed: Collection[str] = ()) -> str:
    """The document's text with top-level members set and others removed; all else stays to the byte.

    A present key keeps its place. An absent one is added in the file's own style: into its sorted place when the
    keys are sorted, else at the end. A key both set and removed is set. Raises JsonError if the document is not an
    object, ValueError for a value that JSON cannot hold.
    """
    if not isinstance(document.value, dict):
        raise JsonError(document.source, 1, 1, f"{kind_of(document.value)}, wanted an object")
    return _Edit(document.text, document.value).apply(members, [key for key in removed if key not in members])


class _Edit:
    """The text of an object cut into its opening gap, members, separators and closing gap."""

    def __init__(self, text: str, value: Mapping[str, object]) -> None:
        self.text = text
        self.value = value
        self.begin = json_scan.skip_space(text, 0)
        self.end = len(text.rstrip(_SPACE))
        self.places = json_scan.members(text, self.begin)
        found = list(self.places.values())
        first, last = (found[0].key_begin, found[-1].end) if found else (self.end - 1, self.end - 1)
        self.opening, self.closing = text[self.begin + 1 : first], text[last : self.end - 1]
        self.colon = text[found[0].key_end : found[0].begin] if found else ": "
        if not found:
            self.opening, self.closing = "\n  ", "\n"
        self.separators = [text[left.end : right.key_begin] for left, right in pairwise(found)]

    @property
    def separator(self) -> str:
        """What stands between two members, comma included."""
        if self.separators:
            return self.separators[-1]
        if "\n" in self.opening:
            return "," + self.opening
        return ", " if self.colon.endswith(" ") else ","

    def apply(self, members: Mapping[str, object], removed: Collection[str]) -> str:
        kept = [key for key in self.places if key not in removed]
        order = _placed(kept, [key for key in members if key not in self.places])
        if not order and not self.places:
            return self.text
        before = dict(zip(list(self.places)[1:], self.separators, strict=True))
        parts = [self.text[: self.begin], "{"]
        for number, key in enumerate(order):
            parts.append(before.get(key, self.separator) if number else self.opening)
            parts.append(self._member(key, members))
        parts += [self.closing if order else "", "}", self.text[self.end :]]
        return "".join(parts)

    def _member(self, key: str, members: Mapping[str, object]) -> str:
        place = self.places.get(key)
        if place is None:
            return self._dump(key) + self.colon + self._dump(members[key])
        if key not in members or json.dumps(self.value[key]) == json.dumps(members[key]):
            return self.text[place.key_begin : place.end]
        return self.text[place.key_begin : place.begin] + self._dump(members[key])

    def _dump(self, value: object) -> str:
        """`value` in the file's style; a line break inside it continues at the members' indentation."""
        if json_scan.lone_surrogate(json.dumps(value, allow_nan=False)):
            raise ValueError("half of a surrogate pair is no character")
        is_ascii = self.text.isascii()
        if "\n" not in self.opening:
            style = (", " if self.separator.endswith(" ") else ",", ": " if self.colon.endswith(" ") else ":")
            return json.dumps(value, ensure_ascii=is_ascii, separators=style)
        indent, outer = self.opening.rpartition("\n")[2], self.closing.rpartition("\n")[2]
        newline = "\r\n" if "\r\n" in self.opening else "\n"
        literal = json.dumps(value, ensure_ascii=is_ascii, indent=indent.removeprefix(outer) or "  ")
        return literal.replace("\n", newline + indent)


def _placed(kept: list[str], added: list[str]) -> list[str]:
    if kept == sorted(kept):
        return sorted([*kept, *added])
    return [*kept, *added]


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _ForbiddenError(Offence(0, "duplicate key", key))
        seen.add(key)
    return value


def _finite_float(literal: str) -> float:
    if json_scan.is_too_large(literal):
        raise _ForbiddenError(Offence(0, "a number beyond a 64-bit float"))
    return float(literal)


def _bounded_int(literal: str) -> int | float:
    if len(literal) > 300 and json_scan.is_too_large(literal):
        raise _ForbiddenError(Offence(0, "a number beyond a 64-bit float"))
    return -0.0 if literal == "-0" else int(literal)


def _no_constant(literal: str) -> NoReturn:
    raise _ForbiddenError(Offence(0, f"{literal} is not JSON"))


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_object,
    parse_float=_finite_float,
    parse_int=_bounded_int,
    parse_constant=_no_constant,
)


def _is_deep(text: str, value: object) -> bool:
    return text.count("{") + text.count("[") > json_scan.MAX_DEPTH and _depth(value) > json_scan.MAX_DEPTH


def _depth(value: object) -> int:
    """How deep arrays and objects are nested in a JSON value."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
    return depth


def _json_error(source: str, text: str, offset: int, reason: str) -> JsonError:
    line_start = text.rfind("\n", 0, offset) + 1
    return JsonError(source, text.count("\n", 0, offset) + 1, offset - line_start + 1, reason)
