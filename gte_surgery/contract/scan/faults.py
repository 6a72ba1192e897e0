"""Every way in which a corpus can break the contract, by the code that documents it in `contract.codes`."""

from __future__ import annotations

from enum import Enum

from gte_surgery.contract.codes import CODES
from gte_surgery.findings import Severity


class Fault(Enum):
    """One kind of offence; the value is its code."""

    @property
    def severity(self) -> Severity:
        return CODES[self.value].severity

    UNREADABLE = "GTE480"
    NO_COLUMN = "GTE481"
    BAD_ROW = "GTE482"
    BAD_OFFSETS = "GTE483"
    NO_ROWS = "GTE484"
    NO_CORPUS = "GTE485"
    NOT_ROWS = "GTE410"
    NOT_INTEGERS = "GTE411"
    ID_NEGATIVE = "GTE413"
    ID_BEYOND = "GTE414"
    TOO_LONG = "GTE415"
    WRONG_CLS = "GTE416"
    IDS_NARROW = "GTE417"
    MASK_SHAPE = "GTE421"
    MASK_TYPE = "GTE423"
    MASK_ADDITIVE = "GTE424"
    MASK_VALUE = "GTE425"
    MASK_INVERTED = "GTE426"
    PAD_KEPT = "GTE427"
    TOKEN_DROPPED = "GTE428"
    EMPTY_ROW = "GTE429"
    HOLE = "GTE430"
    WRONG_SIDE = "GTE431"
    TYPES_SHAPE = "GTE440"
    TYPE_NEGATIVE = "GTE441"
    TYPE_BEYOND = "GTE442"
    TYPES_UNUSED = "GTE443"
    LABELS_SHAPE = "GTE450"
    LABEL_NEGATIVE = "GTE451"
    LABEL_BEYOND = "GTE452"
    LABEL_ON_PAD = "GTE453"
    POSITIONS_SHAPE = "GTE460"
    POSITION_NEGATIVE = "GTE461"
    POSITION_BEYOND = "GTE462"
    POSITIONS_UNCOUNTED = "GTE463"


SHAPE_FAULTS = {
    "mask": Fault.MASK_SHAPE,
    "types": Fault.TYPES_SHAPE,
    "labels": Fault.LABELS_SHAPE,
    "positions": Fault.POSITIONS_SHAPE,
}
"""By the column that has another shape than the ids."""


class CorpusError(Exception):
    """A file, or the rest of it, cannot be judged. It ends up as a finding, and the scan goes on with the next file."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(fault, reason)
        self.fault = fault
        self.reason = reason
