"""Arrow's list columns as flat numpy arrays, without a copy where Arrow holds them flat already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.faults import CorpusError, Fault
from gte_surgery.contract.scan.judging.blocks import Array, Ragged, RawBlock
from gte_surgery.contract.scan.portions import numbered


@contextmanager
def reading() -> Iterator[None]:
    """What Arrow raises for a file that is not what it seems, told in one line."""
    try:
        yield
    except pa.ArrowMemoryError:
        raise MemoryError from None
    except pa.ArrowException as error:
        raise CorpusError(Fault.UNREADABLE, str(error).partition("\n")[0]) from None


def wanted(schema: pa.Schema, columns: Columns) -> list[str]:
    """Names of the columns to read. Raises CorpusError where one is missing or holds no lists of numbers."""
    there = list(schema.names)
    for role, name in columns.required.items():
        if name not in there:
            raise CorpusError(Fault.NO_COLUMN, f"no column {name!r} for {role}, there are {', '.join(there) or 'none'}")
    names = {**columns.roles, **columns.required}.values()
    found = [name for name in dict.fromkeys(names) if name in there]
    for name in found:
        _require_lists(name, schema.field(name).type)
    return found


def raw_block(batch: pa.RecordBatch, first_row: int, columns: Columns) -> RawBlock:
    """The rows of a record batch that has the wanted columns and maybe others."""
    return RawBlock(
        rows=numbered(first_row, batch.num_rows),
        ids=ragged(batch.column(columns.ids)),
        others={
            role: ragged(batch.column(name))
            for role, name in columns.roles.items()
            if role != "ids" and name in batch.schema.names
        },
        offsets=ragged(batch.column(columns.offsets)) if columns.offsets else None,
    )


def ragged(lists: pa.Array) -> Ragged:
    """One column of lists; null lists are absent ones of length 0, null elements become 0 and are named."""
    lists = _storage(lists)
    present = None if lists.null_count == 0 else _numpy(lists.is_valid())
    values = _storage(lists.flatten())
    if pa.types.is_fixed_size_list(lists.type):
        lengths = np.full(len(lists), lists.type.list_size)
    else:
        lengths = np.diff(_numpy(lists.offsets)).astype(np.int64, copy=False)
    if present is not None:
        lengths = np.where(present, lengths, 0)
    nulls = np.flatnonzero(_numpy(values.is_null())) if values.null_count else None
    return Ragged(_flat(values), lengths, present, nulls)


def number_type(kind: pa.DataType) -> pa.DataType | None:
    """The type of the elements of a type of lists; None for a type of anything else."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return kind.value_type
    return None


def _require_lists(name: str, kind: pa.DataType) -> None:
    element = number_type(kind)
    if element is None:
        raise CorpusError(Fault.NOT_ROWS, f"column {name!r} is {kind}, must be lists of integers")
    is_number = pa.types.is_integer(element) or pa.types.is_floating(element) or pa.types.is_boolean(element)
    if not is_number and not pa.types.is_null(element):
        raise CorpusError(Fault.NOT_INTEGERS, f"column {name!r} is {kind}, must be lists of integers")


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _flat(values: pa.Array) -> Array:
    if pa.types.is_null(values.type):
        return np.zeros(len(values), np.int64)
    if values.null_count:
        values = values.fill_null(False if pa.types.is_boolean(values.type) else 0)
    return _numpy(values)


def _numpy(values: pa.Array) -> Array:
    array: Array = values.to_numpy(zero_copy_only=False)
    return array
