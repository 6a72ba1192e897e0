"""Which claims an edit makes: what equality follows from what its plan copies, rounds, adds and draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.gte.wording import counted
from gte_surgery.surgery.edits import Convert, New, Reinit, Remap, Resize
from gte_surgery.surgery.planning.claim import Claim, kept_count
from gte_surgery.surgery.planning.parts.row_changes import as_remap
from gte_surgery.surgery.planning.parts.types import folds, type_table
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.row_map import Places, RowMap, kept_rows
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON

CAST_TOLERANCE = {"F64": 1e-6, "F32": 5e-5, "F16": 1e-2, "BF16": 6e-2}
"""Relative norms of hidden states that rounding every weight to a dtype explains; seen: 1e-6, 1.5e-3, 1.2e-2."""
GEMM_TOLERANCE = 5e-5
"""Relative norm by which a product may differ where the table beside the same rows has another size."""


def claims_of(target: Target, edit: Resize | Remap | Convert | Reinit) -> tuple[Claim, ...]:
    """The claims of an edit on a checkpoint."""
    match edit:
        case Resize() | Remap():
            return tuple(_of_rows(target, edit))
        case Convert():
            return tuple(_of_convert(target, edit))
        case Reinit():
            return tuple(_of_reinit(target, edit))


def claims_of_new(edit: New) -> tuple[Claim, ...]:
    """The claims of a checkpoint made from nothing."""
    return (Claim("drawn", "every tensor is drawn anew by the model's own rules"), *pad_row(edit.pad))


def claims_of_fix(values: Mapping[str, object]) -> tuple[Claim, ...]:
    """The claims of the cures, of which every one leaves alone what the model computes of real tokens; `values` are
    the members of config.json.
    """
    rows, pad = values.get("vocab_size"), values.get("pad_token_id")
    if type(rows) is not int or rows < 1:
        return ()
    without = frozenset((pad,)) if type(pad) is int else frozenset[int]()
    return tuple(same_states(kept_rows(rows), without, 0.0, "nothing that the model computes with changes"))


def pad_row(pad: int | None) -> tuple[Claim, ...]:
    """That the row of the pad id is zero; nothing without one."""
    if pad is None:
        return ()
    row = RowMap(pad + 1, (pad,), (pad,), (0, 1), Places("", "row", (pad,)))
    return (Claim("pad", f"row {pad}, the pad row, is zero", ids=row),)


def same_tokens(checkpoint: Checkpoint, ids: RowMap, without: frozenset[int]) -> Iterator[Claim]:
    """That each token of tokenizer.json has the id of its row; nothing without such a file."""
    if checkpoint.has(TOKENIZER_JSON):
        told = f"tokens have the ids of their rows in {TOKENIZER_JSON}, {kept_count(ids, without)} ids"
        yield Claim("tokens", told, 0.0, ids, without)


def same_states(
    ids: RowMap, without: frozenset[int], tolerance: float, why: str, outputs: float | None = None, rounded: str = ""
) -> Iterator[Claim]:
    """That hidden states, and what a head makes of them, are what they were for every batch of the ids."""
    count, head = kept_count(ids, without), tolerance if outputs is None else outputs
    states = f"hidden states of every batch of the {count} kept ids are equal {_within(tolerance)}: {why}"
    yield Claim("states", states, tolerance, ids, without, rounded=rounded)
    yield Claim("outputs", f"what a head makes of them is equal {_within(head)}", head, ids, without, rounded=rounded)


def _within(tolerance: float) -> str:
    return f"within {tolerance:g}" if tolerance else "bit for bit"


def _of_rows(target: Target, edit: Resize | Remap) -> Iterator[Claim]:
    moved, config, is_resize = as_remap(target, edit), target.config, isinstance(edit, Resize)
    ids = moved.origins
    without = frozenset(() if moved.pad is None else (moved.pad,))
    if isinstance(edit, Resize):
        ids = kept_rows(ids.rows)  # a row that is made anew is that of its token still
        without |= {*edit.renewed}
        if edit.old_pad == "normal" and config.pad_token_id is not None:
            without |= {config.pad_token_id}
    yield Claim("tensors", "every tensor but the tables is the same bit for bit", tensors=_tables(target))
    yield from pad_row(moved.pad)
    if edit.tokenizer == ("keep" if is_resize else "rewrite") and not moved.installed:
        yield from same_tokens(target.checkpoint, ids, without)
    kept = f"{kept_count(ids, without)} word rows are"
    if folds(target, edit):
        stored = target.tensors[target.names.words].dtype
        tolerance = max(GEMM_TOLERANCE, CAST_TOLERANCE.get(stored, 0.0))
        yield Claim("rows", f"{kept} the old ones plus type row 0", 0.0, ids, without, rounded=stored, adds_type=True)
        same = tuple(same_states(ids, without, tolerance, "type row 0 is in every word row, rounded"))
        yield from same[:1] if target.has_decoder and config.tie_word_embeddings else same
    elif not type_table(target, edit).removed:
        which = "the old ones bit for bit" if is_resize else "old ones under new ids, bit for bit"
        yield Claim("rows", f"{kept} {which}", 0.0, ids, without)
        yield from same_states(ids, without, 0.0, "their rows and all layers are copies", GEMM_TOLERANCE)


def _of_convert(target: Target, edit: Convert) -> Iterator[Claim]:
    from gte_surgery.surgery.planning.parts.heads import drawn_head, with_head

    ids, none = kept_rows(target.config.vocab_size), frozenset[int]()
    yield from same_tokens(target.checkpoint, ids, none)
    after = with_head(target, edit)
    drawn = tuple(spec.canonical for spec in drawn_head(target, after))
    if drawn:
        yield Claim(
            "drawn", f"{counted(len(drawn), 'tensor')} of the new head are drawn by its own rules", tensors=drawn
        )
    may_lose, rounded = bool(edit.drop) or after is not target, edit.dtype or ""
    which = "every tensor that stays" if may_lose else "every tensor"
    said = f"the old one rounded to {rounded}" if rounded else "the same bit for bit"
    yield Claim("tensors", f"{which} is {said}", tensors=drawn, rounded=rounded, may_lose=may_lose)
    why = f"every weight is rounded to {rounded}" if rounded else "names and places change, no number does"
    same = same_states(ids, none, CAST_TOLERANCE.get(rounded, 0.0), why, rounded=rounded)
    yield from same if after.head is target.head else islice(same, 1)


def _of_reinit(target: Target, edit: Reinit) -> Iterator[Claim]:
    from gte_surgery.surgery.planning.reinit import drawn_names

    drawn = tuple(drawn_names(target, edit))
    others = len(target.tensors) - len(drawn)
    yield Claim("drawn", f"{counted(len(drawn), 'tensor')} are drawn anew by the model's own rules", tensors=drawn)
    if others:
        yield Claim("tensors", f"{counted(others, 'other tensor')} are the same bit for bit", tensors=drawn)
    if target.names.words in drawn:
        yield from pad_row(target.config.pad_token_id)


def _tables(target: Target) -> tuple[str, ...]:
    return (*target.names.sized_by_vocabulary, target.names.types)
