"""How much of a checkpoint is read into memory at most. Any file may be hostile; no GTE comes near these bounds.

A JSON value takes a hundred bytes of memory and as few as two of the file, so values are bounded as well as bytes, and
counted before anything is parsed.
"""

from __future__ import annotations

MAX_JSON_BYTES = 1 << 23
MAX_JSON_VALUES = 100_000
"""For config.json, an index and the small files beside them; an index has one for each tensor."""
MAX_READ_HEADER_BYTES = 1 << 24
MAX_HEADER_VALUES = 400_000
"""For the safetensors headers of a checkpoint, all shards together: 50,000 tensors, more than 4,096 layers have."""


def count_values(raw: bytes) -> int:
    """An upper bound on the number of values in JSON text, which commas part and brackets open; and of escapes, each of
    which costs a scanner as much."""
    return sum(raw.count(mark) for mark in (b",", b"[", b"{", b"\\")) + 1
