"""Hypothesis strategies for whatever takes or makes batches: sequences, batches that keep a contract, and batches that
break it in one known way.

    @given(batches(contract, framework="torch"))
    def test_my_model_takes_every_valid_batch(batch): ...

Needs the package hypothesis, of the extra "fuzz".
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from gte_surgery.contract.batch.structure import EMBEDS, IDS, LABELS, MASK, POSITIONS, TYPES
from gte_surgery.contract.drafts import Draft, counted_positions, padded_draft
from gte_surgery.contract.faults import FAULTS, Fault, faults_of
from gte_surgery.contract.frameworks import Framework
from gte_surgery.contract.spec import IdContract

MASK_DTYPES = ("int64", "bool", "int32", "int16", "int8", "uint8")
"""The dtypes that an attention_mask may have; in lists all integers are alike."""

FAULT_NAMES = tuple(fault.name for fault in FAULTS)
"""Names of the ways to break a batch, for `broken_batches`."""

_WIDEST = 64
"""Unasked, sequences are no longer: what goes wrong at 8192 tokens does so at 64, but for max_length itself."""


class BrokenBatch(NamedTuple):
    """A batch, the name of the fault that it has, and the code that `check_batch` must find, alone."""

    fault: str
    code: str
    batch: Any


@st.composite
def token_sequences(
    draw: st.DrawFn, contract: IdContract, min_length: int = 1, max_length: int | None = None
) -> list[int]:
    """One sequence of ids without padding: from the whole table but the pad id, its edges more often than chance, and
    the CLS id first where the contract has one. Lengths up to `max_length` (None: the contract's, at most 64)."""
    longest = min(contract.max_length, _WIDEST) if max_length is None else max_length
    ids = draw(st.lists(_token_ids(contract), min_size=min_length, max_size=longest))
    if contract.cls_token_id is not None and ids:
        ids[0] = contract.cls_token_id
    return ids


@st.composite
def batches(
    draw: st.DrawFn,
    contract: IdContract,
    framework: Framework = "lists",
    *,
    max_rows: int = 6,
    max_length: int | None = None,
    mask_dtype: str | None = None,
    device: object = None,
    with_embeds: bool = True,
) -> dict[str, Any]:
    """A batch that keeps the contract: ids or, unless `with_embeds` is off, sometimes inputs_embeds; a mask of
    `mask_dtype` (None: any of `MASK_DTYPES`, or no mask where nothing is padded); token types, positions and labels
    now and then."""
    lengths = st.lists(token_sequences(contract, 1, max_length), min_size=1, max_size=max_rows)
    sequences = draw(lengths)
    longest = max(map(len, sequences))
    widest = max(longest, min(contract.max_length, longest + 3, max_length or contract.max_length))
    draft = padded_draft(sequences, draw(st.integers(longest, widest)), contract)
    names = draw(st.sets(st.sampled_from((TYPES, POSITIONS, LABELS))))
    _add_members(draw, draft, contract, (*sorted(names), *((EMBEDS,) if with_embeds and draw(st.booleans()) else ())))
    if EMBEDS in draft.members:
        del draft.members[IDS]
    draft.dtypes[MASK] = mask_dtype or draw(st.sampled_from(MASK_DTYPES))
    if mask_dtype is None and all(map(all, draft.members[MASK])) and draw(st.booleans()):
        draft.members[MASK] = None
    _vary(draw, draft, contract)
    return dict(draft.built(framework, device))


@st.composite
def broken_batches(
    draw: st.DrawFn,
    contract: IdContract,
    framework: Framework = "lists",
    *,
    fault: str | None = None,
    device: object = None,
) -> BrokenBatch:
    """A batch with exactly one fault, of `FAULT_NAMES` (None: any that the contract and the framework allow). The
    contract needs room: four ids and four positions at least."""
    if contract.vocab_size < 4 or contract.max_length < 4:
        raise InvalidArgument(f"{contract}: too small to be broken in one way alone")
    chosen = draw(st.sampled_from(_wanted(contract, framework, fault)))
    columns = draw(st.integers(4, min(contract.max_length, 12)))
    full = draw(token_sequences(contract, columns, columns))
    short = draw(token_sequences(contract, 2, columns - 2))
    others = draw(st.lists(token_sequences(contract, 1, columns), max_size=2))
    draft = padded_draft([full, short, *others], columns, contract)
    _add_members(draw, draft, contract, chosen.members)
    if EMBEDS in chosen.members and IDS not in chosen.members:
        del draft.members[IDS]
    chosen.apply(draft, contract, lambda low, high: draw(st.integers(low, high)))
    return BrokenBatch(chosen.name, chosen.code, draft.built(framework, device))


def _token_ids(contract: IdContract) -> st.SearchStrategy[int]:
    """Any id but the pad; the edges of the table more often than chance."""
    last, pad = contract.vocab_size - 1, contract.pad_token_id
    edges = sorted(number for number in {0, 1, last - 1, last} if 0 <= number != pad)
    return st.integers(0, last - 1).map(lambda number: number + (number >= pad)) | st.sampled_from(edges)


def _wanted(contract: IdContract, framework: Framework, name: str | None) -> tuple[Fault, ...]:
    possible = faults_of(contract, framework)
    chosen = tuple(fault for fault in possible if name in (None, fault.name))
    if not chosen:
        raise InvalidArgument(f"{name!r}: not a fault that {framework} can have under this contract")
    return chosen


def _add_members(draw: st.DrawFn, draft: Draft, contract: IdContract, names: tuple[str, ...]) -> None:
    """Sound token types, positions, labels and embeddings for a draft."""
    mask = draft.members[MASK]
    if TYPES in names:
        kind = st.integers(0, max(contract.type_vocab_size - 1, 0))
        draft.members[TYPES] = [[draw(kind) for _ in row] for row in mask]
    if POSITIONS in names:
        draft.members[POSITIONS] = counted_positions(mask)
    if LABELS in names:
        draft.members[LABELS] = _labels(draw, draft, contract)
    if EMBEDS in names:
        width, value = contract.hidden_size or 4, draw(st.floats(-2, 2, width=16))
        draft.members[EMBEDS] = [[[value] * width for _ in row] for row in mask]


def _labels(draw: st.DrawFn, draft: Draft, contract: IdContract) -> list[list[int]]:
    """Labels at some tokens, and at the first of the last row for certain."""
    ordinary = _token_ids(contract)
    labels = [
        [draw(ordinary) if kept and draw(st.booleans()) else contract.ignore_label for kept in row]
        for row in draft.members[MASK]
    ]
    labels[-1][draft.tokens(len(labels) - 1)[0]] = draw(ordinary)
    return labels


def _vary(draw: st.DrawFn, draft: Draft, contract: IdContract) -> None:
    """Other forms that are as good: positions of one row, labels of rows, members of no use."""
    if POSITIONS in draft.members and contract.padding_side == "right" and draw(st.booleans()):
        draft.members[POSITIONS] = [list(range(len(draft.members[POSITIONS][0])))]
    if LABELS in draft.members and draw(st.booleans()):
        draft.members[LABELS] = [0.5 for _ in draft.members[LABELS]]
        draft.dtypes[LABELS] = "float32"
    if draw(st.booleans()):
        draft.members["text"] = ["two words"]
