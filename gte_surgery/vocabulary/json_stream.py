"""JSON of any length read from its file in pieces: small values whole, long lists entry by entry, in constant memory.

What is not JSON, is deep or has an endless string is a `StreamError`; duplicate keys of the objects walked through are
found too. What the values mean is left to who asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from gte_surgery.checkpoint.bounds import MAX_JSON_VALUES, count_values
from gte_surgery.checkpoint.json.strict import decode
from gte_surgery.checkpoint.source import Opened

PIECE = 1 << 20
"""Bytes read at a time."""
SMALL = 1 << 22
"""A value that is read whole, and any one string, has fewer bytes."""

_BATCH = 4096
SPACES = rb"[ \t\n\r]*"
STRING = rb'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"'
_TOKEN = re.compile(rb"[ \t\n\r]*(?:(" + STRING + rb")|([\[{])|([\]}])|([:,])|([^ \t\n\r\"\[\]{}:,]+))", re.DOTALL)
_OPENING = re.compile(rb"[ \t\n\r]*([\[{])")
_CLOSING = re.compile(rb"[ \t\n\r]*[\]}]")
_BRACKETS = (_OPENING, _CLOSING)
"""Told by the first character that is no white space: where that is another one, more of the text changes nothing."""
_SPACE = b" \t\n\r"
_KEY = re.compile(rb"[ \t\n\r]*(" + STRING + rb")[ \t\n\r]*:", re.DOTALL)
_NEXT = re.compile(rb"[ \t\n\r]*([,\]}])")


def entry_of(*parts: bytes) -> re.Pattern[bytes]:
    """The pattern of an entry for `JsonStream.entries`: parts that may have white space before them."""
    return re.compile(b"".join(SPACES + part for part in parts), re.DOTALL)


class StreamError(Exception):
    """Why the text cannot be read; the first argument says it in words."""


class JsonStream:
    """A cursor over the JSON text of an open file, or of bytes, from byte `offset` on."""

    def __init__(self, file: Opened | bytes, offset: int = 0, piece: int | None = None) -> None:
        self._piece = piece or PIECE
        self._file = file
        self._buffer = b""
        self._at = 0
        self._end = offset
        """Where in the file the buffer ends."""

    @property
    def offset(self) -> int:
        """Where in the file the cursor stands, in bytes."""
        return self._end - len(self._buffer) + self._at

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """What stands at the cursor, which goes behind it; None when it is something else."""
        while True:
            found = pattern.match(self._buffer, self._at)
            if found is not None and found.end() < len(self._buffer):
                self._at = found.end()
                return found
            if found is None and pattern in _BRACKETS and self._buffer[self._at :].lstrip(_SPACE):
                return None
            if len(self._buffer) - self._at >= SMALL:
                raise StreamError(f"one value of more than {SMALL} bytes")
            piece = self._next_piece()
            if not piece:
                self._at = found.end() if found is not None else self._at
                return found
            self._buffer, self._at = self._buffer[self._at :] + piece, 0
            self._end += len(piece)

    def members(self) -> Iterator[str]:
        """The keys of the object at the cursor; each value must be read before the next key is asked for."""
        opening = self.match(_OPENING)
        if opening is None or opening[1] != b"{":
            raise StreamError("not a JSON object where one must be")
        seen: set[str] = set()
        if self.match(_CLOSING):
            return
        while True:
            found = self.match(_KEY)
            if found is None:
                raise StreamError(f"not JSON at byte {self.offset}")
            key = string_of(found[1])
            if key in seen or len(seen) > 1000:
                raise StreamError(f"duplicate key {json.dumps(key)}" if key in seen else "more than 1000 members")
            seen.add(key)
            yield key
            found = self.match(_NEXT)
            if found is None:
                raise StreamError(f"not JSON at byte {self.offset}")
            if found[1] != b",":
                return

    def entries(self, pattern: re.Pattern[bytes]) -> Iterator[list[tuple[bytes, ...]]]:
        """The groups of the entries of the container that was opened, some thousands at a time. The last group is what
        follows an entry: a comma, or the bracket that ends them. Raises StreamError where no entry stands, or one that
        is not UTF-8.
        """
        if self.match(_CLOSING):
            return
        while found := self.match(pattern):
            entry, begin = found.groups(), self._at - len(found[0])
            batch, at, match, buffer = [entry], self._at, pattern.match, self._buffer
            while entry[-1] == b"," and len(batch) < _BATCH and (found := match(buffer, at)):
                entry, at = found.groups(), found.end()
                batch.append(entry)
            self._at = at
            _require_text(buffer[begin:at])
            yield batch
            if entry[-1] != b",":
                return
        raise StreamError(f"an entry that is none, at byte {self.offset}")

    def opens(self) -> str:
        """Goes behind a bracket: "[" or "{"; "" where a scalar stands, and stays before it."""
        found = self.match(_OPENING)
        return found[1].decode() if found else ""

    def require_end(self) -> None:
        """Raises StreamError where anything but white space follows."""
        while not self._buffer[self._at :].lstrip(_SPACE):
            self._buffer, self._at = self._next_piece(), 0
            if not self._buffer:
                return
            self._end += len(self._buffer)
        raise StreamError(f"more text behind its end, at byte {self.offset}")

    def value(self) -> object:
        """The value at the cursor, read whole and strictly."""
        raw = b"".join(self._tokens())
        if count_values(raw) > MAX_JSON_VALUES:
            raise StreamError(f"a value of more than {MAX_JSON_VALUES} parts")
        try:
            value, offence = decode(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise StreamError(f"byte 0x{raw[error.start]:02x} is not UTF-8") from None
        if offence is not None:
            raise StreamError(offence.reason)
        return value

    def _next_piece(self) -> bytes:
        if isinstance(self._file, bytes):
            return self._file[self._end : self._end + self._piece]
        return self._file.read(self._end, self._piece)

    def _tokens(self) -> Iterator[bytes]:
        depth = length = 0
        while True:
            found = self.match(_TOKEN)
            if found is None:
                raise StreamError(f"not JSON at byte {self.offset}")
            depth += (found[2] is not None) - (found[3] is not None)
            length += len(found[0])
            if length > SMALL:
                raise StreamError(f"one value of more than {SMALL} bytes")
            yield found[0]
            if depth < 0 or (depth == 0 and found[4] is not None):
                raise StreamError(f"not JSON at byte {self.offset}")
            if depth == 0:
                return


def string_of(literal: bytes) -> str:
    """The text of a JSON string literal; raises StreamError for one that is not UTF-8, or half a surrogate pair."""
    text = _require_text(literal)
    try:
        value = json.loads(text) if "\\" in text else text[1:-1]
        value.encode("utf-8")
    except ValueError:
        raise StreamError("a string that is not UTF-8") from None
    return str(value)


def _require_text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise StreamError("a string that is not UTF-8") from None
