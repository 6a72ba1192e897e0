"""What can be wrong with the container: the closed list of faults that opening a checkpoint may report.

Facts only; how bad each one is, and its code, is for the rules to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gte_surgery.errors import CheckpointError, JsonError
from gte_surgery.findings import Location


class HeaderFault(Enum):
    """Every way in which a file can fail to be well-formed safetensors; GTE030 to GTE059 say more of each."""

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


class FaultKind(Enum):
    """Every fault of the container that is not a fault of one safetensors header."""

    NOT_A_CHECKPOINT = "not-a-checkpoint"
    CONFIG_MISSING = "config-missing"
    CONFIG_UNREADABLE = "config-unreadable"
    INDEX_UNREADABLE = "index-unreadable"
    WEIGHTS_MISSING = "weights-missing"
    NOT_SAFETENSORS = "not-safetensors"
    UNREADABLE = "unreadable"
    DUPLICATE_TENSOR = "duplicate-tensor"
    INDEX_METADATA = "index-metadata"
    INDEX_DOTTED = "index-dotted"
    INDEX_MISSING_FILE = "index-missing-file"
    INDEX_UNSAFE_PATH = "index-unsafe-path"
    INDEX_TENSOR_ABSENT = "index-tensor-absent"
    INDEX_TENSOR_UNLISTED = "index-tensor-unlisted"
    STALE_INDEX = "stale-index"
    WRONG_TOTAL_SIZE = "wrong-total-size"
    NOT_CARRIED = "not-carried"
    LEFTOVER = "leftover"
    INTERRUPTED_SURGERY = "interrupted-surgery"
    UNFINISHED_STAGING = "unfinished-staging"
    RECEIPT_MISMATCH = "receipt-mismatch"
    RECEIPT_UNREADABLE = "receipt-unreadable"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the container: what, where, found and wanted, and what to do."""

    kind: FaultKind | HeaderFault
    location: Location
    message: str
    hint: str = ""


def unreadable(kind: FaultKind, name: str, error: CheckpointError) -> Fault:
    """The fault of a file that cannot be read, or is not strict JSON, at the place that the error says. The error names
    the file, and so does the fault's location: once is enough.
    """
    if isinstance(error, JsonError):
        return Fault(kind, Location(error.source, error.line, error.column), error.reason, error.hint)
    return Fault(kind, Location(file=name), error.message.removeprefix(f"{name}: "), error.hint)
