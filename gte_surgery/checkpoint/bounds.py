"""How much of a checkpoint is read into memory at most. Any file may be hostile; no GTE comes near these bounds.

A JSON value takes a hundred bytes of memory and as few as two of the file, so values are bounded as well as bytes, and
counted before anything is parsed. Headers are bounded by the memory that their tensors take once they are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getsizeof

MAX_JSON_BYTES = 1 << 23
MAX_JSON_VALUES = 100_000
"""For config.json and the small files beside it."""
MAX_INDEX_BYTES = 1 << 24
MAX_INDEX_VALUES = 125_000
"""For an index, which has one value for each tensor."""
MAX_HEADER_BYTES = 100_000_000
"""That the format itself allows."""
MAX_HEADER_MEMORY = 160_000_000
"""For the tensors of a checkpoint, all shards together: some 240,000 with names of usual length."""
_TENSOR_MEMORY = 400
_JSON_VALUE_MEMORY = 400
_JSON_BYTE_MEMORY = 10


def count_values(raw: bytes) -> int:
    """An upper bound on the number of values in JSON text, which commas part and brackets open; and of escapes, each of
    which costs a scanner as much."""
    return sum(raw.count(mark) for mark in (b",", b"[", b"{", b"\\")) + 1


def memory_of(name: str) -> int:
    """Bytes that a tensor takes, with all that judging and planning make of it; measured, and rounded up."""
    return _TENSOR_MEMORY + 2 * getsizeof(name)


def memory_of_shape(shape: Sequence[int]) -> int:
    """Bytes that the numbers of a tensor's shape take."""
    return 32 * len(shape)


def room_beside(raw: bytes, room: int) -> int:
    """What is left for tensors while the text of their header is held too: the text goes before they are judged, and
    until then they take half."""
    return room - len(raw) // 2


def is_readable_whole(raw: bytes, room: int) -> bool:
    """Whether JSON text can be read as one value within `room` bytes of memory."""
    return len(raw) * _JSON_BYTE_MEMORY <= room and count_values(raw) * _JSON_VALUE_MEMORY <= room
