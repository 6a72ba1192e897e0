"""The shape of rows: where their tokens begin, whether they have holes, how long they are.

Works on the edges between tokens and pads, of which a well-formed row has one at most.
"""

from __future__ import annotations

import numpy as np

from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging.blocks import Array, Block, count_in
from gte_surgery.contract.scan.judging.tally import Tally
from gte_surgery.contract.terms import Terms


def judge_shape(piece: Block, is_real: Array, contract: Terms, tally: Tally) -> None:
    """Count the tokens of each row; tell of empty rows, holes, padding on the wrong side, and a CLS that is missing."""
    lengths = _regular_lengths(is_real, piece.offsets, piece.widths)
    if lengths is None:
        counts = count_in(is_real, piece.offsets)
        firsts, lasts = _ends(is_real, piece, counts)
        _judge_irregular(piece, is_real, (firsts, lasts, counts), contract, tally)
    else:
        counts, firsts = lengths, piece.offsets[:-1]
        if contract.padding_side == "left":
            tally.report_sequences(Fault.WRONG_SIDE, piece, counts < piece.widths, piece.widths - counts)
    tally.add_lengths(counts)
    if contract.cls_token_id is not None:
        _judge_cls(piece, firsts[counts > 0], counts > 0, contract.cls_token_id, tally)


def _regular_lengths(is_real: Array, offsets: Array, widths: Array) -> Array | None:
    """Tokens of each row, if each begins with a token and has nothing but pads behind its last; else None."""
    if not widths.all() or not is_real[offsets[:-1]].all():
        return None
    edges = np.flatnonzero(is_real[1:] != is_real[:-1]) + 1
    is_rise = is_real[edges]
    rises, falls = edges[is_rise], edges[~is_rise]
    rows = np.searchsorted(offsets, rises)
    if (offsets[rows] != rises).any():
        return None
    lengths: Array = widths.copy()
    rows = np.searchsorted(offsets, falls) - 1
    lengths[rows] = falls - offsets[rows]
    return lengths


def _ends(is_real: Array, piece: Block, counts: Array) -> tuple[Array, Array]:
    """Places of each row's first and last token; of a row without any, where it begins."""
    places = np.flatnonzero(is_real)
    behind = np.cumsum(counts)
    firsts, lasts = piece.offsets[:-1].copy(), piece.offsets[:-1].copy()
    has_any = counts > 0
    firsts[has_any] = places[(behind - counts)[has_any]]
    lasts[has_any] = places[behind[has_any] - 1]
    return firsts, lasts


def _judge_irregular(
    piece: Block, is_real: Array, ends: tuple[Array, Array, Array], contract: Terms, tally: Tally
) -> None:
    """Rows that are empty, have holes, or begin (where padding belongs on the left: end) with a pad."""
    firsts, lasts, counts = ends
    has_any = counts > 0
    tally.report_sequences(Fault.EMPTY_ROW, piece, ~has_any)
    has_hole = has_any & (lasts - firsts + 1 > counts)
    if has_hole.any():
        places = np.arange(is_real.size)
        is_inside = (places > np.repeat(firsts, piece.widths)) & (places < np.repeat(lasts, piece.widths))
        tally.report(Fault.HOLE, piece, piece.first_of(is_inside & ~is_real))
    before, behind = firsts - piece.offsets[:-1], piece.offsets[1:] - 1 - lasts
    pads = before if contract.padding_side == "right" else behind
    tally.report_sequences(Fault.WRONG_SIDE, piece, has_any & ~has_hole & (pads > 0), pads)


def _judge_cls(piece: Block, firsts: Array, has_any: Array, cls: int, tally: Tally) -> None:
    """The first token of every row that has one is the CLS id."""
    ids = piece.ids[firsts]
    if (ids != cls).any():
        values = np.full(len(has_any), cls)
        values[has_any] = ids
        tally.report_sequences(Fault.WRONG_CLS, piece, values != cls, values)
