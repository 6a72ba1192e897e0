"""A fault of a file as a finding: what was found and wanted, how often, and where first."""

from __future__ import annotations

from gte_surgery.contract.batch.offences import hinted, others, words
from gte_surgery.contract.codes import CODES
from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.summary import FileFault
from gte_surgery.contract.spec import IdContract
from gte_surgery.findings import Finding, Location


def worded(fault: FileFault, contract: IdContract, max_id: int) -> Finding:
    """The finding that a fault of a file is; `max_id` is the greatest id of the whole corpus."""
    location = Location(file=fault.file)
    shown = [int(each.value) for each in fault.offenders if fault.fault is Fault.TYPE_BEYOND and each.value]
    hint = _HINTS.get(fault.fault) or hinted(fault.fault.value, contract, max(shown, default=max_id))
    return CODES[fault.fault.value].found(location, _message(fault, contract), hint)


def _message(fault: FileFault, contract: IdContract) -> str:
    first = fault.offenders[0]
    if first.row < 0:
        return first.value
    found, wanted = (words(contract) | _own_words(contract))[fault.fault.value]
    is_of_rows = fault.fault in _OF_ROWS or first.column < 0
    place = f"in row {first.row:,}" if is_of_rows else f"at row {first.row:,}, column {first.column:,}"
    places = [(at.row, None if is_of_rows else at.column) for at in fault.offenders]
    return f"{found.format(first.value)} {place}, {wanted}{others(fault.sums.places, fault.sums.rows, places)}"


_NAMED = "the ids are found under `input_ids`, unless --ids NAME says otherwise"
_HINTS = {Fault.NO_COLUMN: _NAMED, Fault.BAD_ROW: _NAMED}

_OF_ROWS = {
    Fault.TOO_LONG,
    Fault.WRONG_CLS,
    Fault.IDS_NARROW,
    Fault.MASK_ADDITIVE,
    Fault.MASK_INVERTED,
    Fault.EMPTY_ROW,
    Fault.WRONG_SIDE,
}
"""Faults of a row as a whole, which no column tells more of."""


def _own_words(contract: IdContract) -> dict[str, tuple[str, str]]:
    """What `contract.batch.offences` does not word, for a batch has it as a whole: what was found, what was wanted."""
    shape = "another number of values than ids", "must be one for each id"
    return {
        Fault.BAD_ROW.value: ("{}", "must be a row of numbers"),
        Fault.BAD_OFFSETS.value: ("{}", "must rise from 0 to the number of ids"),
        Fault.NOT_INTEGERS.value: ("{}", "must be integers"),
        Fault.IDS_NARROW.value: ("{}", f"must hold every id below {contract.vocab_size}"),
        Fault.TOO_LONG.value: ("{} positions", f"must be at most max_length {contract.max_length}"),
        Fault.MASK_TYPE.value: ("{}", "must be integers or booleans"),
        Fault.MASK_SHAPE.value: ("mask of " + shape[0], shape[1]),
        Fault.MASK_ADDITIVE.value: ("an additive mask", "must be 1 for tokens and 0 for pads"),
        Fault.MASK_INVERTED.value: ("1 at pads and 0 at tokens", "must be the other way round"),
        Fault.TYPES_SHAPE.value: ("token types of " + shape[0], shape[1]),
        Fault.LABELS_SHAPE.value: ("labels of " + shape[0], shape[1]),
        Fault.POSITIONS_SHAPE.value: ("positions of " + shape[0], shape[1]),
        Fault.PAD_KEPT.value: (f"1 for the pad id {contract.pad_token_id}", "must be 0"),
    }
