"""The JSON text of a header, read member by member, so that no more than one of them is ever held as JSON values.

A safetensors header is one flat object of small entries, and may have a hundred thousand of them. An entry as every
writer makes it is read by one regular expression, any other member as strict JSON; what is wrong is left to `header`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

from gte_surgery.checkpoint.json.strict import decode_first

MAX_MEMBER_BYTES = 1 << 20
MAX_ODD_BYTES = 1 << 24
"""Of all members together that are not plain entries: reading them is slow."""
_FIRST_LOOK = 1 << 12
_CACHED_SHAPES = 1 << 12


def _pattern(template: str) -> re.Pattern[bytes]:
    """`template` with W for white space, INT for a whole number of at most 20 digits, and each space ignored."""
    whole = "(?:0|[1-9][0-9]{0,19})"
    text = template.replace(" ", "").replace("INT", whole).replace("W", r"[ \t\n\r]*")
    return re.compile(text.encode())


_ENTRY = _pattern(
    r'W"( [^"\\\x00-\x1f]* )"W:W\{ (?: (?:(?<=\{)|(?<!\{),)W(?:'
    r' "dtype"W:W"([0-9A-Z_]{1,20})" | "shape"W:W\[( W(?:INT W(?:,W INT W){0,63})? )\]'
    r' | "data_offsets"W:W\[W( INT )W,W( INT )W\] )W ){3} \}W([,}])'
)
_OPENING = _pattern(r"\{W(\}?)")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_MARK = re.compile(r"[ \t\n\r]*([,}])")
_SPACE = _pattern("W")


class PlainEntry(NamedTuple):
    """A tensor's entry as it is written: three fields in any order, and nothing else. Numbers may exceed 64 bits."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class NotPlainError(Exception):
    """The text is no object of small members, or no strict JSON: it is to be read as a whole to find out."""


def read_members(raw: bytes, begin: int) -> Iterator[tuple[str, PlainEntry | object]]:
    """Name and value of each member of the object that starts at byte `begin` and fills the rest of `raw`.

    Names may repeat. Raises NotPlainError where the text is not JSON, for a member of more than 1 MiB, and for more
    than 16 MiB of members that are not plain entries.
    """
    shapes: dict[bytes, tuple[int, ...]] = {}
    opening = _OPENING.match(raw, begin)
    if opening is None:
        raise NotPlainError
    offset, mark, odd_bytes = opening.end(), opening[1] or b",", 0
    while mark == b",":
        if entry := _ENTRY.match(raw, offset):
            name, dtype, shape, first, last, mark = entry.groups()
            offset = entry.end()
            if dtype is not None and shape is not None and first is not None:
                yield _text(name), PlainEntry(dtype.decode(), _shape(shape, shapes), int(first), int(last))
                continue
            offset = entry.start()
        key, value, after, mark = _member(raw, offset)
        odd_bytes += after - offset
        if odd_bytes > MAX_ODD_BYTES:
            raise NotPlainError
        offset = after
        yield key, value
    space = _SPACE.match(raw, offset)
    if space is None or space.end() != len(raw):
        raise NotPlainError


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise NotPlainError from None


def _shape(text: bytes, known: dict[bytes, tuple[int, ...]]) -> tuple[int, ...]:
    """The numbers between the brackets; the same tuple for the same text, of which most headers have few."""
    if (shape := known.get(text)) is None:
        shape = tuple(map(int, text.split(b","))) if text.strip() else ()
        if len(known) < _CACHED_SHAPES:
            known[text] = shape
    return shape


def _member(raw: bytes, offset: int) -> tuple[str, object, int, bytes]:
    """Key and value of the member at `offset`, the offset behind it, and what stands there: a comma or a brace."""
    space = _SPACE.match(raw, offset)
    offset = space.end() if space else offset
    length = _FIRST_LOOK
    while length <= MAX_MEMBER_BYTES:
        if found := _member_in(_decoded(raw[offset : offset + length])):
            key, value, text, mark = found
            return key, value, offset + len(text.encode()), mark
        if offset + length > len(raw):
            break
        length *= 16
    raise NotPlainError


def _decoded(raw: bytes) -> str:
    """UTF-8 text that may be cut inside a character."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(raw)
    except UnicodeDecodeError:
        raise NotPlainError from None


def _member_in(text: str) -> tuple[str, object, str, bytes] | None:
    """Key, value, all text up to what follows, and what follows; None if text does not begin with a whole member."""
    key = decode_first(text, 0)
    if key is None or not isinstance(key[0], str) or not (colon := _COLON.match(text, key[1])):
        return None
    value = decode_first(text, colon.end())
    if value is None or not (mark := _MARK.match(text, value[1])):
        return None
    return key[0], value[0], text[: mark.end()], mark[1].encode()
