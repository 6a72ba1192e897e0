"""One block against the contract: a few passes over flat arrays, and no look at a single row unless something is off.

A clean piece costs one maximum, one table look-up and one comparison of its ids, and three passes over its mask. What
was seen goes into a `Tally`. The shape of rows is told from the edges between tokens and pads, of which a well-formed
row has one at most. The findings are those that `contract.batch.rows` has for the same rows in a batch.
"""

from __future__ import annotations

import numpy as np

from gte_surgery.contract.frameworks import greatest
from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging.alignment import aligned
from gte_surgery.contract.scan.judging.blocks import (
    ADDED,
    Array,
    Block,
    RawBlock,
    as_unsigned,
    count_in,
    is_within,
    offsets_of,
)
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
    tally.max_id = max(tally.max_id, int(ids.max()))
    if not _judge_range(Fault.ID_NEGATIVE, Fault.ID_BEYOND, piece, ids, contract.vocab_size, tally):
        ids = ids[(ids >= 0) & (ids < contract.vocab_size)]
    tally.use(ids)


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


def _judge_range(negative: Fault, beyond: Fault, piece: Block, values: Array, size: int, tally: Tally) -> bool:
    """Whether every value is from 0 to `size` − 1; those that are not are told."""
    if is_within(values, size):
        return True
    tally.report(negative, piece, values < 0, values)
    tally.report(beyond, piece, values >= size, values)
    return False


def _judge_count(piece: Block, positions: Array, is_real: Array, contract: Terms, tally: Tally) -> None:
    """Positions count the tokens of each row from 0; rows that leave the allowed range have been told already."""
    before = offsets_of(is_real)
    wanted = before[:-1] - np.repeat(before[piece.offsets[:-1]], piece.widths)
    is_wrong = is_real & (positions != wanted)
    if is_wrong.any():
        is_outside = is_real & ((positions < 0) | (positions >= contract.max_length))
        is_wrong &= ~np.repeat(piece.having(is_outside), piece.widths)
        tally.report(Fault.POSITIONS_UNCOUNTED, piece, piece.first_of(is_wrong), positions)


def read_mask(piece: Block, mask: Array, contract: Terms, tally: Tally) -> tuple[Block, Array, Array | None]:
    """The rows whose mask tells tokens from pads, where they have tokens (as bools, one for each value), and which of
    these rows (as bools) are right: 1 for every id but the pad; None where all are. What is wrong is told.

    A mask that is additive or inverted means the opposite; its row is left out.
    """
    is_odd = _odd(mask)
    is_real = mask if mask.dtype == bool else mask != 0
    is_pad = piece.ids == contract.pad_token_id
    is_right = is_real ^ is_pad
    if is_odd is None and is_right.all():
        return piece, is_real, None
    is_odd = np.zeros(mask.size, bool) if is_odd is None else is_odd
    has_odd, has_wrong = piece.having(is_odd), piece.having(~is_right)
    is_additive = has_odd & piece.having(mask == 0) & ~piece.having((mask != 0) & (mask > ADDED))
    is_inverted = ~has_odd & piece.having(is_pad) & piece.having(~is_pad) & ~piece.having(is_right)
    tally.report_sequences(Fault.MASK_ADDITIVE, piece, is_additive)
    tally.report_sequences(Fault.MASK_INVERTED, piece, is_inverted)
    is_readable = ~(is_additive | is_inverted)
    is_in_one = np.repeat(is_readable, piece.widths)
    tally.report(Fault.MASK_VALUE, piece, is_odd & is_in_one, mask)
    tally.report(Fault.PAD_KEPT, piece, is_real & is_pad & is_in_one & ~is_odd)
    tally.report(Fault.TOKEN_DROPPED, piece, ~is_real & ~is_pad & is_in_one, piece.ids)
    tally.add_lengths(count_in(is_real, piece.offsets)[has_wrong & ~has_odd & ~is_inverted])
    return piece.kept(is_readable), is_real[is_in_one], ~(has_wrong | has_odd)[is_readable]


def _odd(mask: Array) -> Array | None:
    """Where the mask is neither 0 nor 1, as bools; None where it is so nowhere."""
    if mask.dtype == bool or not mask.size or as_unsigned(mask).max() <= 1:
        return None
    is_odd: Array = (mask < 0) | (mask > 1)
    return is_odd


def judge_shape(piece: Block, is_real: Array, contract: Terms, tally: Tally) -> None:
    """Count the tokens of each row; tell of empty rows, holes, padding on the wrong side, and a CLS that is missing."""
    firsts, behinds, counts = _extents(is_real, piece.offsets)
    has_any, has_hole = counts > 0, counts < behinds - firsts
    pads = firsts - piece.offsets[:-1] if contract.padding_side == "right" else piece.offsets[1:] - behinds
    tally.add_lengths(counts)
    tally.report_sequences(Fault.EMPTY_ROW, piece, ~has_any)
    tally.report_sequences(Fault.WRONG_SIDE, piece, has_any & ~has_hole & (pads > 0), pads)
    if has_hole.any():
        is_behind = np.arange(is_real.size) >= np.repeat(firsts, piece.widths)
        tally.report(Fault.HOLE, piece, piece.first_of(~is_real & is_behind & np.repeat(has_hole, piece.widths)))
    if contract.cls_token_id is not None:
        _judge_cls(piece, firsts[has_any], has_any, contract.cls_token_id, tally)


def _extents(is_real: Array, offsets: Array) -> tuple[Array, Array, Array]:
    """Of each row the place of its first token, the place behind its last, and how many it has; of a row without any,
    both are where it begins. Told from the edges between tokens and pads, and between rows."""
    is_edge = np.ones(is_real.size, bool)
    np.not_equal(is_real[1:], is_real[:-1], out=is_edge[1:])
    is_edge[offsets[offsets < is_real.size]] = True
    edges = np.flatnonzero(is_edge)
    is_run = is_real[edges]
    begins, ends = edges[is_run], np.append(edges, is_real.size)[1:][is_run]
    rows = np.searchsorted(offsets, begins, side="right") - 1
    firsts, behinds = offsets[:-1].copy(), offsets[:-1].copy()
    firsts[rows[::-1]], behinds[rows] = begins[::-1], ends  # of several for one row the last one stays
    return firsts, behinds, np.bincount(rows, ends - begins, len(firsts)).astype(np.int64)


def _judge_cls(piece: Block, firsts: Array, has_any: Array, cls: int, tally: Tally) -> None:
    """The first token of every row that has one is the CLS id."""
    ids = piece.ids[firsts]
    if (ids != cls).any():
        values = np.full(len(has_any), cls)
        values[has_any] = ids
        tally.report_sequences(Fault.WRONG_CLS, piece, values != cls, values)
