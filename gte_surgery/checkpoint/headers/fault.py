"""The closed list of ways in which a file can fail to be well-formed safetensors; GTE030 to GTE059 say more of each."""

from __future__ import annotations

from enum import Enum


class HeaderFault(Enum):
    """Every way in which a file can fail to be well-formed safetensors."""

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
