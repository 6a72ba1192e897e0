"""Says in words what a remap does to the meaning of a checkpoint: how many rows are kept, made and dropped, where the
pad and the special ids went, and which files no longer agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gte_surgery.surgery.edits import Remap
from gte_surgery.surgery.planning.meaning import (
    fresh_rows,
    has_padded_positions,
    length_of,
    other_weights,
    rounding,
    special_ids,
    stale_tokenizer,
)
from gte_surgery.surgery.planning.target import Target
from gte_surgery.surgery.planning.tokens.roles import current
from gte_surgery.surgery.planning.tokens.tokenizer import moves
from gte_surgery.vocabulary.tokenizer import Tokenizer, read_tokenizer


def meaning_of_remap(target: Target, edit: Remap) -> Iterator[str]:
    """The sentences for a `Remap` that says which id is to pad, most consequential first."""
    tokenizer, pad = read_tokenizer(target.checkpoint), edit.pad
    if edit.tokenizer == "keep":
        yield from stale_tokenizer(tokenizer, moves(edit.origins, target.checkpoint))
    yield from _rows(target, edit, -1 if pad is None else pad)
    yield from edit.origins.coverage
    yield from rounding(target, edit.wanted, edit.rows)
    yield from _pad(target, edit, pad)
    yield from _special_ids(target, edit, tokenizer)
    yield from other_weights(target)


def _rows(target: Target, edit: Remap, pad: int) -> Iterator[str]:
    origins, held = edit.origins, target.tensors[target.names.words].shape[0]
    means, kept_bits = 0, bytearray(-(-held // 8))
    for begin, end in pairwise(origins.offsets):
        if end - begin == 1:
            row = origins.old[begin]
            kept_bits[row >> 3] |= 1 << (row & 7)
        means += end - begin > 1
    kept = sum(byte.bit_count() for byte in kept_bits)
    heads = ", and the masked-LM head follows" if target.has_decoder else ""
    yield f"{kept} of {held} rows are kept under new ids, {held - kept} are dropped{heads}"
    if (again := len(origins.new) - means - kept) > 0:
        yield f"{again} new rows repeat a row that another one has as well"
    if means:
        yield f"{means} new rows are means of several old ones"
    without = [(begin, end) for begin, end, has_origin in origins.stretches(0, edit.rows) if not has_origin]
    fresh = sum(end - begin for begin, end in without) - any(begin <= pad < end for begin, end in without)
    if fresh:
        first = next(at for begin, end in without for at in (begin, begin + 1) if at != pad and at < end)
        how = fresh_rows(edit.init, target.config.initializer_range)
        yield f"{fresh} new {'rows have no origin, the first is' if fresh > 1 else 'row has no origin,'} {first}: {how}"


def _pad(target: Target, edit: Remap, pad: int | None) -> Iterator[str]:
    old, origins = target.config.pad_token_id, edit.origins
    if pad is None:
        return
    sources = origins.origin(pad)
    if old is not None and tuple(sources) == (old,):
        told = f"the pad row goes from {old} to {pad}" if pad != old else f"the pad row stays row {pad}"
        yield f"{told}, and becomes zero ({length})" if (length := length_of(target, old)) else told
    elif sources:
        made = f"old row {sources[0]}" if len(sources) == 1 else f"the mean of {len(sources)} old rows"
        yield f"row {pad} would be {made}, and becomes zero, as the pad row"
    else:
        yield f"row {pad} is new, and zero, as the pad row"
    moved = origins.new_id(old) if old is not None else None
    if moved is not None and moved != pad:
        yield f"old row {old} was the pad row and is now row {moved}, an ordinary token"
    if has_padded_positions(target) and old != pad:
        yield f"positions are absolute: position {pad}, the new pad id, gets no gradient any more"


def _special_ids(target: Target, edit: Remap, tokenizer: Tokenizer) -> Iterator[str]:
    known = special_ids(target, tokenizer)
    if not tokenizer.files:
        known |= current(target)
    ids = {role: old for role, old in known.items() if role != "pad"}
    new_ids = {role: edit.origins.new_id(old) for role, old in ids.items()}
    went = [f"{role} {ids[role]} → {new}" for role, new in new_ids.items() if new is not None]
    lost = [f"{role} {ids[role]}" for role, new in new_ids.items() if new is None]
    if went:
        yield "special ids follow the map: " + ", ".join(went)
    if lost:
        yield "special ids without a new one: " + ", ".join(lost)
