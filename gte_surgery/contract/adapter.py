"""Joins an encoder, such as the VocabManager of a project, to the contract of a model: encode, align, pack, check.

The encoder turns texts into ids and stays as it is; what it returns goes to the model only if it keeps the contract.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, Protocol

from gte_surgery.contract.batch.check import check_batch
from gte_surgery.contract.batch.structure import IDS, MASK, POSITIONS, TYPES
from gte_surgery.contract.codes import CODES
from gte_surgery.contract.collate import Batch, checked, filled
from gte_surgery.contract.frameworks import Framework, plain
from gte_surgery.contract.spec import IdContract
from gte_surgery.contract.terms import whole
from gte_surgery.errors import BatchError, RefusedError, UsageError
from gte_surgery.findings import Location, Report
from gte_surgery.gte.wording import counted

Rows = dict[str, list[Any]]
"""Members of a batch as lists of rows."""

_ROWS = (IDS, MASK, TYPES, POSITIONS)
"""The members that an encoder may return; others, such as offsets into the text, are left behind."""


class SequenceEncoder(Protocol):
    """What an encoder must offer. It may also have `pad_token_id` or `pad_id`, the id that it pads with."""

    def encode_batch(self, sequences: Sequence[Any], *, add_special_tokens: bool, max_length: int) -> Mapping[str, Any]:
        """One row for each sequence, in order, none longer than `max_length`: input_ids as lists (of equal lengths or
        not) or tensors, and if it likes attention_mask and token_type_ids."""


class TruncationWarning(UserWarning):
    """Sequences were cut to fit the model, as `overflow="cut"` asked for."""


@dataclass(frozen=True, slots=True)
class GteAdapter:
    """Calls an encoder and returns batches that the model takes: int64 tensors on `device`, with the model's pad id.

    Nothing is cut silently: the encoder is asked for one token more than the model takes, and a row that uses it was
    too long. Then `overflow="error"` raises RefusedError, "cut" encodes once more at the model's length and says so
    with a TruncationWarning. `pad_id` is what the encoder pads with, if it does not say so itself.

    >>> from gte_surgery import GteAdapter, IdContract
    >>> class Bytes:
    ...     pad_token_id = 0
    ...     def encode_batch(self, sequences, *, add_special_tokens, max_length):
    ...         return {"input_ids": [[1 + byte for byte in text.encode()[:max_length]] for text in sequences]}
    >>> contract = IdContract(vocab_size=320, pad_token_id=300, type_vocab_size=1, max_length=8)
    >>> GteAdapter(Bytes(), contract, framework="lists")(["GTE", "!"])
    {'input_ids': [[72, 85, 70], [34, 300, 300]], 'attention_mask': [[1, 1, 1], [1, 0, 0]]}
    """

    encoder: SequenceEncoder
    contract: IdContract
    device: object = None
    framework: Framework = "torch"
    overflow: Literal["error", "cut"] = "error"
    pad_id: int | None = None

    def __post_init__(self) -> None:
        if self.overflow not in ("error", "cut"):
            raise UsageError(f'overflow: {self.overflow!r}, must be "error" or "cut"')
        if self.pad_id is not None:
            whole("pad_id", self.pad_id)

    def __call__(
        self, sequences: Sequence[Any], *, max_length: int | None = None, add_special_tokens: bool = True
    ) -> Batch:
        """Encode `sequences` into one batch, rows of at most `max_length` tokens (None: as many as the model takes).

        Raises BatchError where the batch breaks the contract, RefusedError where a row is too long, UsageError for a
        length below 1.
        """
        most = self.contract.max_length
        limit = most if max_length is None else min(whole("max_length", max_length), most)
        if limit < 1:
            raise UsageError(f"max_length: {max_length}, must be at least 1")
        batch = self._encoded(sequences, add_special_tokens, limit + 1)
        if long := _longer(batch, limit):
            self._tell(long, len(sequences), limit)
            batch = self._encoded(sequences, add_special_tokens, limit)
            if long := _longer(batch, limit):
                raise RefusedError(f"row {long[0]} has more than the {limit} tokens that the encoder was asked for")
        return checked(_trimmed(batch, limit, self.contract.padding_side), self.contract, self.framework, self.device)

    def _tell(self, long: list[int], count: int, limit: int) -> None:
        rows = ", ".join(map(str, long[:5])) + (", …" if len(long) > 5 else "")
        message = f"{len(long)} of {count} sequences have more than {limit} tokens: {rows}"
        if self.overflow == "error":
            raise RefusedError(message, 'overflow="cut" cuts them and warns')
        warnings.warn(f"{message}; they were cut", TruncationWarning, stacklevel=3)

    def _encoded(self, sequences: Sequence[Any], add_special_tokens: bool, max_length: int) -> Rows:
        """What the encoder returns as nested lists, rows of one length, padded with the model's pad id."""
        returned = self.encoder.encode_batch(sequences, add_special_tokens=add_special_tokens, max_length=max_length)
        rows = _rows_of(returned, self.contract)
        if len(rows[IDS]) != len(sequences):
            told = f"{counted(len(rows[IDS]), 'row')} for {counted(len(sequences), 'sequence')}, must be as many"
            raise _miscounted(f"/{IDS}", told)
        if self.contract.type_vocab_size == 0 and not any(map(any, rows.get(TYPES, ()))):
            rows.pop(TYPES, None)
        aligned = _aligned(rows, self._their_pad(), self.contract)
        return filled(aligned, max(map(len, aligned[IDS]), default=0), self.contract)

    def _their_pad(self) -> int | None:
        """The id that the encoder pads with; None where nobody says."""
        for said in (self.pad_id, getattr(self.encoder, "pad_token_id", None), getattr(self.encoder, "pad_id", None)):
            with suppress(UsageError):
                return whole("pad_id", said)
        return None


def _rows_of(returned: object, contract: IdContract) -> Rows:
    """The members as lists of rows of integers, each as long as its ids. Raises BatchError where they are not that."""
    members = returned if isinstance(returned, Mapping) else {}
    rows = {name: plain(value) for name in _ROWS if (value := members.get(name)) is not None}
    lengths = [_lengths(name, value) for name, value in rows.items()]
    if IDS not in rows or None in lengths or any(each != lengths[0] for each in lengths):
        report = check_batch(returned, contract)
        if report.findings:
            raise BatchError(report)
        raise _miscounted("", "must be a row of input_ids for each sequence, and of every other member one as long")
    return rows


def _lengths(name: str, rows: Any) -> list[int] | None:
    """Lengths of the rows; None for what is no list of lists of integers. A mask may hold booleans alone."""
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return None
    kinds = set(map(type, chain.from_iterable(rows)))
    is_whole = kinds <= {int, bool} and (name == MASK or kinds != {bool})
    return [len(row) for row in rows] if is_whole else None


def _miscounted(pointer: str, message: str) -> BatchError:
    return BatchError(Report("batch", (CODES["GTE491"].found(Location(pointer=pointer), message),), (), ()))


def _aligned(rows: Rows, their_pad: int | None, contract: IdContract) -> Rows:
    """The rows with the model's pad id wherever the encoder padded, and with a mask.

    Without a mask the encoder's pad ids are the padding. Without their pad id it is what the mask leaves out, if that
    is one id and no other. A masked token that is no pad stays, for the check to find.
    """
    mask = rows.get(MASK) or [[int(number != their_pad) for number in row] for row in rows[IDS]]
    pairs = [list(zip(row, kept, strict=True)) for row, kept in zip(rows[IDS], mask, strict=True)]
    left_out = {number for row in pairs for number, is_kept in row if not is_kept}
    pad = next(iter(left_out)) if their_pad is None and len(left_out) == 1 else their_pad
    ids = [
        [contract.pad_token_id if number == pad and not is_kept else number for number, is_kept in row] for row in pairs
    ]
    return {**rows, IDS: ids, MASK: mask}


def _longer(rows: Rows, limit: int) -> list[int]:
    """Numbers of the rows with more than `limit` tokens."""
    return [number for number, mask in enumerate(rows[MASK]) if sum(map(bool, mask)) > limit]


def _trimmed(rows: Rows, limit: int, padding_side: str) -> Rows:
    """Rows of at most `limit` columns, where those beyond are padding alone: encoders that pad to a fixed length."""
    kept = slice(limit) if padding_side == "right" else slice(-limit, None)
    return {name: [row[kept] for row in value] for name, value in rows.items()}
