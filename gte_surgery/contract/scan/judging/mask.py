"""A mask against the pads: which positions hold tokens, and where mask and pads disagree."""

from __future__ import annotations

import numpy as np

from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging.blocks import ADDED, Array, Block, as_unsigned, count_in
from gte_surgery.contract.scan.judging.tally import Tally
from gte_surgery.contract.terms import Terms


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
