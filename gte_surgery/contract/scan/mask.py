"""A mask against the pads: which positions hold tokens, and where mask and pads disagree."""

from __future__ import annotations

import numpy as np

from gte_surgery.contract.scan.blocks import ADDED, Array, Block, as_unsigned, count_in
from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.tally import Tally
from gte_surgery.contract.spec import IdContract


def real_by_mask(piece: Block, mask: Array, contract: IdContract, tally: Tally) -> tuple[Block, Array]:
    """The rows whose mask is right, and that mask as bools; the other rows are told and left out.

    A mask is right where it is 1 for every id but the pad.
    """
    piece, is_real = _zeros_and_ones(piece, mask, tally)
    is_pad = piece.ids == contract.pad_token_id
    is_right = is_real ^ is_pad
    if is_right.all():
        return piece, is_real
    is_inverted = piece.having(is_pad) & piece.having(~is_pad) & ~piece.having(is_right)
    is_told = np.repeat(is_inverted, piece.widths)
    tally.report_sequences(Fault.MASK_INVERTED, piece, is_inverted)
    tally.report(Fault.PAD_KEPT, piece, is_real & is_pad & ~is_told)
    tally.report(Fault.TOKEN_DROPPED, piece, ~(is_real | is_pad | is_told), piece.ids)
    is_wrong = piece.having(~is_right)
    tally.add_lengths(count_in(is_real, piece.offsets)[is_wrong & ~is_inverted])
    return piece.kept(~is_wrong), is_real[~np.repeat(is_wrong, piece.widths)]


def _zeros_and_ones(piece: Block, mask: Array, tally: Tally) -> tuple[Block, Array]:
    """The rows whose mask holds nothing but 0 and 1, and that mask as bools."""
    if mask.dtype == bool:
        return piece, mask
    if not mask.size or as_unsigned(mask).max() <= 1:
        return piece, mask.view(bool) if mask.dtype.itemsize == 1 else mask.astype(bool)
    is_odd = (mask < 0) | (mask > 1)
    rows = piece.having(is_odd)
    is_additive = rows & ~piece.having((mask != 0) & (mask > ADDED))
    tally.report_sequences(Fault.MASK_ADDITIVE, piece, is_additive)
    tally.report(Fault.MASK_VALUE, piece, is_odd & ~np.repeat(is_additive, piece.widths), mask)
    return piece.kept(~rows), mask[~np.repeat(rows, piece.widths)].astype(bool)
