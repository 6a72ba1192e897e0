"""The closed list of ways in which a file can fail to be well-formed safetensors, each with the rule that it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class HeaderFault(Enum):
    """Every way in which a file can fail to be well-formed safetensors; `sentence` says the rule that it breaks."""

    TOO_SHORT = "too-short"
    HEADER_TOO_LARGE = "header-too-large"
    HEADER_BEYOND_FILE = "header-beyond-file"
    NOT_UTF8 = "not-utf8"
    LEADING_SPACE = "leading-space"
    INVALID_JSON = "invalid-json"
    DUPLICATE_NAME = "duplicate-name"
    NOT_AN_OBJECT = "not-an-object"
    BAD_METADATA = "bad-metadata"
    BAD_ENTRY = "bad-entry"
    UNKNOWN_DTYPE = "unknown-dtype"
    BAD_SHAPE = "bad-shape"
    SHAPE_OVERFLOW = "shape-overflow"
    BAD_OFFSETS = "bad-offsets"
    SIZE_MISMATCH = "size-mismatch"
    SUB_BYTE_MISALIGNED = "sub-byte-misaligned"
    HOLE = "hole"
    OVERLAP = "overlap"
    BEYOND_FILE = "beyond-file"
    TRAILING_BYTES = "trailing-bytes"
    NUL_PADDED = "nul-padded"
    ARRAY_ENTRY = "array-entry"
    NULL_METADATA = "null-metadata"
    OBJECT_DTYPE = "object-dtype"

    @property
    def sentence(self) -> str:
        """The rule of the format that this fault breaks, one sentence."""
        return _SENTENCES[self]


_SENTENCES: Mapping[HeaderFault, str] = {
    HeaderFault.TOO_SHORT: "A safetensors file starts with eight bytes that hold its header's length.",
    HeaderFault.HEADER_TOO_LARGE: "A header is at most 100,000,000 bytes long.",
    HeaderFault.HEADER_BEYOND_FILE: "The header lies wholly inside the file.",
    HeaderFault.NOT_UTF8: "The header is UTF-8 text.",
    HeaderFault.LEADING_SPACE: "The header's first character is `{`.",
    HeaderFault.INVALID_JSON: "The header is strict JSON.",
    HeaderFault.DUPLICATE_NAME: "No name occurs twice in a header.",
    HeaderFault.NOT_AN_OBJECT: "The header is a JSON object.",
    HeaderFault.BAD_METADATA: "`__metadata__`, where present, is an object whose values are strings.",
    HeaderFault.BAD_ENTRY: "A tensor's entry is an object with a dtype, a shape and two data offsets.",
    HeaderFault.UNKNOWN_DTYPE: "A dtype is one of those that the format names.",
    HeaderFault.BAD_SHAPE: "A shape is a list of non-negative integers below 2**64.",
    HeaderFault.SHAPE_OVERFLOW: "A tensor's number of elements and of bits fits in 64 bits.",
    HeaderFault.BAD_OFFSETS: "Data offsets are two non-negative integers, begin and end, in that order.",
    HeaderFault.SIZE_MISMATCH: "A tensor's data is exactly as long as its dtype and shape say.",
    HeaderFault.SUB_BYTE_MISALIGNED: "A tensor of a dtype narrower than a byte still fills whole bytes.",
    HeaderFault.HOLE: "Tensors follow one another without a hole.",
    HeaderFault.OVERLAP: "No two tensors share a byte.",
    HeaderFault.BEYOND_FILE: "Every tensor's data lies inside the file.",
    HeaderFault.NUL_PADDED: "A header is padded with spaces.",
    HeaderFault.TRAILING_BYTES: "The file ends with the last tensor's last byte.",
    HeaderFault.ARRAY_ENTRY: "A tensor's entry is an object, not an array of its members.",
    HeaderFault.NULL_METADATA: "`__metadata__` is absent where there is none, not null.",
    HeaderFault.OBJECT_DTYPE: "A dtype is a string, not an object with one member.",
}
