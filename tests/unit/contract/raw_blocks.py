"""What readers yield, as plain values that can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gte_surgery.contract.scan.judging.blocks import Ragged, RawBlock


def lists(column: Ragged) -> list[list[Any] | None]:
    """The lists of a column; None for one that is absent, and for an element that is null."""
    values: list[Any] = column.values.tolist()
    for place in () if column.nulls is None else column.nulls:
        values[place] = None
    ends = np.cumsum(column.lengths)
    assert len(values) == int(column.lengths.sum())
    found: list[list[Any] | None] = [
        values[end - length : end] for end, length in zip(ends, column.lengths, strict=True)
    ]
    if column.present is not None:
        found = [row if is_there else None for row, is_there in zip(found, column.present, strict=True)]
    return found


def columns(block: RawBlock) -> dict[str, list[Any]]:
    """The rows' numbers and the lists of every column, by their roles."""
    offsets = {} if block.offsets is None else {"offsets": lists(block.offsets)}
    others = {role: lists(column) for role, column in block.others.items()}
    return others | {"rows": block.rows.tolist(), "ids": lists(block.ids)} | offsets


def all_columns(blocks: Iterable[RawBlock]) -> list[dict[str, list[Any]]]:
    """`columns` of each block."""
    return [columns(block) for block in blocks]
