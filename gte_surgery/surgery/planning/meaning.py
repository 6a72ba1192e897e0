"""Says in words what a surgery does to the meaning of a checkpoint: which tokens lose their rows, which rows become
zero, which files no longer agree. Sentences for the plan; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePath

from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.checkpoint.shards import is_zero, norm, read_rows
from gte_surgery.surgery.edits import Remap, Resize
from gte_surgery.surgery.planning.companions.tokenizer import moves
from gte_surgery.surgery.planning.roles import current, meaning_of_renewed, special_ids
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.tokenizer import Tokenizer, read_tokenizer


def meaning_of_resize(target: Target, edit: Resize) -> Iterator[str]:
    """The sentences for a `Resize`, most consequential first."""
    tokenizer = read_tokenizer(target.checkpoint)
    is_cut = edit.rows < (tokenizer.vocab_size or 0)
    if edit.tokenizer == "keep" and is_cut:
        yield from stale_tokenizer(tokenizer, is_cut)
    yield from _rows(target, edit, tokenizer)
    yield from _pad(target, edit, tokenizer)
    yield from _types(target, edit)
    yield from _special_ids(target, edit, tokenizer)
    is_other = tokenizer.vocab_size is None or tokenizer.ids.get("pad", edit.pad) != edit.pad
    if edit.tokenizer == "keep" and is_other and not is_cut:
        yield from stale_tokenizer(tokenizer, is_cut)


def _rows(target: Target, edit: Resize, tokenizer: Tokenizer) -> Iterator[str]:
    held, how = target.tensors[target.names.words].shape[0], fresh_rows(edit.init, target.config.initializer_range)
    heads = ", and the masked-LM head follows" if target.has_decoder else ""
    if edit.rows < held:
        yield f"rows {edit.rows} to {held - 1} ({held - edit.rows} of {held}) are dropped{heads}"
    elif edit.rows > held:
        yield f"rows {held} to {edit.rows - 1} ({edit.rows - held}) are new, {how}{heads}"
    yield from meaning_of_renewed(target, edit, tokenizer, how)
    yield from rounding(target, edit.vocab, edit.rows)


def fresh_rows(init: str, std: float) -> str:
    """What rows that have no origin hold: "copies of row 3" for "copy:3"."""
    words = {
        "normal": f"drawn from N(0, {std:g})",
        "mean": "the mean of the old rows",
        "mean-cov": "drawn with the mean and covariance of the old rows",
        "zeros": "zero",
    }
    if init.endswith(".npy"):
        return f"taken from {PurePath(init).name}"
    return words.get(init) or f"copies of row {init.partition(':')[2]}"


def rounding(target: Target, wanted: int, rows: int) -> Iterator[str]:
    """What there is to say of a vocabulary of `rows` rows where `wanted` were asked for."""
    if rows != wanted:
        yield f"the vocabulary is rounded up from {wanted} to {rows}"
    elif (step := target.family.facts.row_multiple) and rows % step:
        multiple = -(-rows // step) * step
        yield f"{rows} is no multiple of {step}, which costs speed on a GPU (`--round-to {step}` makes it {multiple})"


def _pad(target: Target, edit: Resize, tokenizer: Tokenizer) -> Iterator[str]:
    words, old = target.tensors[target.names.words], target.config.pad_token_id
    held = words.shape[0]
    if edit.pad < held:
        length = length_of(target, edit.pad)
        if not length:
            is_pad = ", the pad row, is" if edit.pad == old else " becomes the pad row and is"
            yield f"row {edit.pad}{is_pad} zero already"
        else:
            facts = [length]
            if edit.pad in tokenizer.tokens:
                facts.append(f"the `{tokenizer.tokens[edit.pad]}` row of this tokenizer")
            yield f"row {edit.pad} ({', '.join(facts)}) becomes zero, as the pad row"
    if old is not None and old != edit.pad and 0 <= old < min(edit.rows, held):
        yield from _old_pad(target, edit, old)
    if has_padded_positions(target) and old != edit.pad:
        yield f"positions are absolute: position {edit.pad}, the new pad id, gets no gradient any more"


def length_of(target: Target, row: int) -> str:
    """What is to be lost where a row of the table becomes zero, "norm 1.83"; "" where it is zero already."""
    words = target.tensors[target.names.words]
    raw = read_rows(words, row)
    if is_zero(raw, words.dtype):
        return ""
    length = norm(raw, words.dtype)
    return "not zero" if length is None else f"norm {length:.2f}" if length >= 0.01 else f"norm {length:.2g}"


def has_padded_positions(target: Target) -> bool:
    """Whether there is a position table whose row of the pad id never trains."""
    positions = target.names.positions
    return positions in target.tensors and positions in target.family.facts.padded


def _old_pad(target: Target, edit: Resize, old: int) -> Iterator[str]:
    if edit.old_pad == "normal":
        yield f"row {old} was the pad row and is drawn anew from N(0, {target.config.initializer_range:g})"
    elif old in edit.renewed:
        yield f"row {old} was the pad row and is now an ordinary token"
    elif not length_of(target, old):
        yield (f"row {old} was the pad row and is now an ordinary all-zero token (`--old-pad normal` reinitialises it)")
    else:
        yield f"row {old} was the pad row, though not zero, and is now an ordinary token"


def _types(target: Target, edit: Resize) -> Iterator[str]:
    types = target.tensors.get(target.names.types)
    held = types.shape[0] if types is not None else 0
    if edit.type_vocab is None or edit.type_vocab == held:
        return
    if edit.type_vocab == target.family.facts.least_types:
        stays = "becomes one of zeros" if edit.type_vocab else "goes"
        outcome = f"then the type table {stays}: outputs stay the same"
        if edit.type_vocab_mode == "drop":
            yield (
                f"type rows {edit.type_vocab} to {held - 1} are dropped"
                if edit.type_vocab
                else "the type table is removed without being folded in: every output changes"
            )
            return
        yield f"type row 0 is added to every word row but the pad row, {outcome}"
        if held > 1:
            yield f"type rows 1 to {held - 1} are lost: outputs stay the same for token type 0 only"
        if target.has_decoder and target.config.tie_word_embeddings:
            yield "the masked-LM decoder is tied to the word rows: all logits but the pad's move by one common amount"
    elif held == 0:
        yield f"a type table of {edit.type_vocab} zero rows is added: outputs stay the same until it is trained"
    elif edit.type_vocab > held:
        yield f"type rows {held} to {edit.type_vocab - 1} are new, copies of type row 0"
    else:
        yield f"type rows {edit.type_vocab} to {held - 1} are dropped"


def _special_ids(target: Target, edit: Resize, tokenizer: Tokenizer) -> Iterator[str]:
    lost = {role: token for role, token in special_ids(target, tokenizer).items() if token >= edit.rows}
    if lost:
        yield "special ids beyond the new vocabulary: " + ", ".join(f"{role} {token}" for role, token in lost.items())
    if edit.tokenizer == "keep":
        yield from _rowless(target, edit, tokenizer)


def _rowless(target: Target, edit: Resize, tokenizer: Tokenizer) -> Iterator[str]:
    """How many tokens of the tokenizer lose their row, and what cuts both together instead."""
    made = tokenizer.vocab_size or 0
    held = target.tensors[target.names.words].shape[0]
    if edit.rows < min(made, held):
        named = [f"`{token}` {number}" for number, token in sorted(tokenizer.tokens.items()) if number >= edit.rows]
        some = f", {', '.join(named[:5])}{' …' if len(named) > 5 else ''} among them" if named else ""
        told = pasteable("trim", target.checkpoint.name, f"--top={edit.rows}")
        yield (
            f"{made - edit.rows} tokens of the tokenizer lose their row, ids {edit.rows} to {made - 1}{some}; {told} "
            "cuts table and tokenizer together, better with --texts FILE of yours"
        )


def stale_tokenizer(tokenizer: Tokenizer, is_stale: bool) -> Iterator[str]:
    """That the tokenizer files stay, and where `is_stale` that their ids mean other rows now, or none."""
    if tokenizer.files:
        size = f" of {tokenizer.vocab_size} tokens" if tokenizer.vocab_size else ""
        misfit = ", which no longer fits the rows" if is_stale else ""
        yield (
            f"the tokenizer files ({', '.join(tokenizer.files)}) stay, with the old vocabulary{size}{misfit}: "
            "feed your own ids, or drop the files with `--tokenizer remove`"
        )


def meaning_of_remap(target: Target, edit: Remap) -> Iterator[str]:
    """The sentences for a `Remap` that says which id is to pad, most consequential first."""
    tokenizer, pad = read_tokenizer(target.checkpoint), edit.pad
    if edit.tokenizer == "keep":
        yield from stale_tokenizer(tokenizer, moves(edit.origins, target.checkpoint))
    yield from _kept(target, edit, -1 if pad is None else pad)
    yield from edit.origins.coverage
    yield from rounding(target, edit.wanted, edit.rows)
    yield from _new_pad(target, edit, pad)
    yield from _new_ids(target, edit, tokenizer)


def _kept(target: Target, edit: Remap, pad: int) -> Iterator[str]:
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


def _new_pad(target: Target, edit: Remap, pad: int | None) -> Iterator[str]:
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


def _new_ids(target: Target, edit: Remap, tokenizer: Tokenizer) -> Iterator[str]:
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
