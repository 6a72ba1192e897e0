"""One block against the contract: a few passes over flat arrays, and no look at a single row unless something is off.

A clean piece costs one maximum, one table look-up and one comparison of its ids, and three passes over its mask. What
was seen goes into a `Tally`. The findings are those that `contract.batch.rows` has for the same rows in a batch.
"""

from __future__ import annotations

import numpy as np

from gte_surgery.contract.frameworks import greatest
from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging.alignment import aligned
from gte_surgery.contract.scan.judging.blocks import Array, Block, RawBlock, is_within, offsets_of
from gte_surgery.contract.scan.judging.mask import read_mask
from gte_surgery.contract.scan.judging.shape import judge_shape
from gte_surgery.contract.scan.judging.tally import Tally
from gte_surgery.contract.terms import Terms


def judge(raw: RawBlock, contract: Terms, tally: Tally) -> None:
    """Judge consecutive rows of one file and add all that was seen to the tally."""
    tally.rows += len(raw.rows) + len(raw.unread)
    for name in ("ids", "labels"):
        _judge_dtype(name, raw, contract, tally)
    for block in aligned(raw, tally.report_rows):
        for piece in block.pieces():
            _judge_piece(piece, contract, tally)


def _judge_dtype(name: str, raw: RawBlock, contract: Terms, tally: Tally) -> None:
    """Whether every id of the vocabulary fits into a column."""
    column = raw.ids if name == "ids" else raw.others.get(name)
    if column is not None and greatest(column.values.dtype.name) < contract.vocab_size - 1:
        tally.report_rows(Fault.IDS_NARROW, raw.rows, f"{name} are {column.values.dtype}")


def _judge_piece(piece: Block, contract: Terms, tally: Tally) -> None:
    """Every column of whole rows."""
    tally.sequences += len(piece.rows)
    tally.tokens += piece.ids.size
    tally.report_sequences(Fault.TOO_LONG, piece, piece.widths > contract.max_length, piece.widths)
    _judge_ids(piece, contract, tally)
    _judge_beside(piece, contract, tally)
    if piece.mask is None:
        tally.unmasked += len(piece.rows)
        is_real, is_right = piece.ids != contract.pad_token_id, None
    else:
        piece, is_real, is_right = read_mask(piece, piece.mask, contract, tally)
    if piece.labels is not None:
        is_label = (piece.labels >= 0) & (piece.labels < contract.vocab_size)
        is_pad = ~is_real & (piece.ids == contract.pad_token_id)
        tally.report(Fault.LABEL_ON_PAD, piece, is_label & is_pad, piece.labels)
    if is_right is not None and not is_right.all():
        piece, is_real = piece.kept(is_right), is_real[np.repeat(is_right, piece.widths)]
    judge_shape(piece, is_real, contract, tally)
    if piece.positions is not None:
        _judge_count(piece, piece.positions, is_real, contract, tally)


def _judge_ids(piece: Block, contract: Terms, tally: Tally) -> None:
    """Ids against the vocabulary, and which of it is used."""
    ids = piece.ids
    if not ids.size:
        return
    if is_within(ids, contract.vocab_size):
        tally.max_id = max(tally.max_id, int(ids.max()))
        tally.use(ids)
        return
    is_negative, is_beyond = ids < 0, ids >= contract.vocab_size
    tally.max_id = max(tally.max_id, int(ids.max()))
    tally.report(Fault.ID_NEGATIVE, piece, is_negative, ids)
    tally.report(Fault.ID_BEYOND, piece, is_beyond, ids)
    tally.use(ids[~(is_negative | is_beyond)])


def _judge_beside(piece: Block, contract: Terms, tally: Tally) -> None:
    """Values of types, positions and labels, each on its own."""
    types, labels = piece.types, piece.labels
    if types is not None and contract.type_vocab_size > 0:
        _judge_range(Fault.TYPE_NEGATIVE, Fault.TYPE_BEYOND, piece, types, contract.type_vocab_size, tally)
    elif types is not None:
        tally.report(Fault.TYPES_UNUSED, piece, types != 0, types)
    if piece.positions is not None:
        _judge_range(Fault.POSITION_NEGATIVE, Fault.POSITION_BEYOND, piece, piece.positions, contract.max_length, tally)
    if labels is not None:
        tally.report(Fault.LABEL_NEGATIVE, piece, (labels < 0) & (labels != contract.ignore_label), labels)
        tally.report(
            Fault.LABEL_BEYOND, piece, (labels >= contract.vocab_size) & (labels != contract.ignore_label), labels
        )


def _judge_range(negative: Fault, beyond: Fault, piece: Block, values: Array, size: int, tally: Tally) -> None:
    """Every value from 0 to `size` − 1."""
    if not is_within(values, size):
        tally.report(negative, piece, values < 0, values)
        tally.report(beyond, piece, values >= size, values)


def _judge_count(piece: Block, positions: Array, is_real: Array, contract: Terms, tally: Tally) -> None:
    """Positions count the tokens of each row from 0; rows that leave the allowed range have been told already."""
    before = offsets_of(is_real)
    wanted = before[:-1] - np.repeat(before[piece.offsets[:-1]], piece.widths)
    is_wrong = is_real & (positions != wanted)
    if is_wrong.any():
        is_outside = is_real & ((positions < 0) | (positions >= contract.max_length))
        is_wrong &= ~np.repeat(piece.having(is_outside), piece.widths)
        tally.report(Fault.POSITIONS_UNCOUNTED, piece, piece.first_of(is_wrong), positions)
