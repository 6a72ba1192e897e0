"""JSON lines read one by one, for chunks that the fast reader refuses: exact about which line is wrong, and slow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.judging.blocks import ADDED, Ragged, RawBlock, Unread

_INT64 = range(-(2**63), 2**63)


def read_lines(chunk: bytes, first_row: int, columns: Columns) -> RawBlock:
    """The rows of whole lines; blank lines are none, and lines that hold none are told in `unread`."""
    rows: list[int] = []
    found: list[dict[str, list[Any] | None]] = []
    unread: list[Unread] = []
    for row, line in enumerate(chunk.split(b"\n"), first_row):
        if not line.strip():
            continue
        try:
            found.append(_lists(_parsed(line), columns))
            rows.append(row)
        except CorpusError as error:
            unread.append(Unread(row, error.fault, error.reason))
    lists = {role: _ragged([row[role] for row in found]) for role in _names(columns)}
    ids, offsets = lists.pop("ids"), lists.pop("offsets", None)
    return RawBlock(np.array(rows, np.int64), ids, lists, offsets, tuple(unread))


def _names(columns: Columns) -> dict[str, str]:
    return columns.roles if columns.offsets is None else {**columns.roles, "offsets": columns.offsets}


def _parsed(line: bytes) -> dict[str, Any]:
    """The object of a line. Raises CorpusError for none, which is then told of the line."""
    try:
        value = json.loads(line.decode("utf-8-sig", "replace"))
    except json.JSONDecodeError as error:
        raise CorpusError(Fault.BAD_ROW, f"no JSON ({error.msg} at character {error.pos})") from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(Fault.BAD_ROW, f"no JSON ({error})") from None
    if not isinstance(value, dict):
        raise CorpusError(Fault.BAD_ROW, "no JSON object")
    return value


def _lists(row: dict[str, Any], columns: Columns) -> dict[str, list[Any] | None]:
    """The columns of one row, each a list of integers, booleans (in a mask) and nulls, or None."""
    return {role: _list(role, name, row.get(name)) for role, name in _names(columns).items()}


def _list(role: str, name: str, value: Any) -> list[Any] | None:
    fault = {"mask": Fault.MASK_TYPE, "offsets": Fault.BAD_OFFSETS}.get(role, Fault.NOT_INTEGERS)
    if value is None:
        return None
    if not isinstance(value, list):
        raise CorpusError(fault, f"{name} is no list")
    if role == "mask" and _is_additive(value):
        raise CorpusError(Fault.MASK_ADDITIVE, name)
    for element in value:
        if element is not None and not _is_integer(element) and not (role == "mask" and isinstance(element, bool)):
            raise CorpusError(fault, f"{name} holds {json.dumps(element)[:40]}")
    return value


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _INT64


def _is_additive(mask: list[Any]) -> bool:
    """Whether a mask with a fraction somewhere is made of 0 and hugely negative values."""
    numbers = [value for value in mask if isinstance(value, (int, float))]
    has_fraction = any(isinstance(value, float) for value in numbers)
    is_low = [value <= ADDED for value in numbers]
    return has_fraction and any(is_low) and all(low or value == 0 for low, value in zip(is_low, numbers, strict=True))


def _ragged(lists: list[list[Any] | None]) -> Ragged:
    """Lists of integers and nulls as one column."""
    values = [element for row in lists for element in row or ()]
    nulls = np.flatnonzero([element is None for element in values])
    return Ragged(
        values=np.array([element or 0 for element in values], np.int64),
        lengths=np.array([len(row or ()) for row in lists], np.int64),
        present=np.array([row is not None for row in lists], bool),
        nulls=nulls if len(nulls) else None,
    )
