"""The ways in which a batch goes wrong, each by name and with the one code that it deserves.

A fault takes a sound draft and breaks it in that way alone. The drafts have at least two rows and four columns; row 0
is all tokens, row 1 has two tokens or more and at least two pads. `strategies` draws drafts and choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gte_surgery.contract.batch.structure import EMBEDS, IDS, LABELS, MASK, POSITIONS, TYPES
from gte_surgery.contract.drafts import Draft, counted_positions
from gte_surgery.contract.frameworks import Framework, greatest
from gte_surgery.contract.spec import IdContract

Choose = Callable[[int, int], int]
"""Draws an integer from the first to the second, both included."""

Break = Callable[[Draft, IdContract, Choose], None]
Value = Callable[[IdContract, Choose], Any]

_TENSORS = frozenset((Framework.TORCH, Framework.NUMPY))
_ALL = frozenset(Framework)
_FULL, _SHORT = 0, 1
"""The row that is all tokens, and the one with pads."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a batch: its `name`, the `code` that tells of it, the members that the draft must have beside
    ids and mask, the frameworks that can express it, and the contracts under which it is one."""

    name: str
    code: str
    apply: Break
    members: tuple[str, ...] = ()
    frameworks: frozenset[Framework] = _ALL
    suits: Callable[[IdContract], bool] = lambda contract: True


def faults_of(contract: IdContract, framework: Framework) -> tuple[Fault, ...]:
    """The faults that a batch of the framework can have under a contract."""
    return tuple(fault for fault in FAULTS if framework in fault.frameworks and fault.suits(contract))


def _at_token(name: str, value: Value, row: int = _FULL, skipped: int = 1) -> Break:
    """Put a value at a token, but for the first `skipped` ones of its row."""

    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        tokens = draft.tokens(row)
        draft.members[name][row][tokens[choose(skipped, len(tokens) - 1)]] = value(contract, choose)

    return apply


def _at_pad(name: str, value: Value) -> Break:
    """Put a value at a pad."""

    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        pads = draft.pads(_SHORT)
        draft.members[name][_SHORT][pads[choose(0, len(pads) - 1)]] = value(contract, choose)

    return apply


def _become(name: str, dtype: str) -> Break:
    """Give a member another dtype."""

    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        draft.dtypes[name] = dtype

    return apply


def _narrowed(name: str, dtype: str) -> Break:
    """Give a member of ids a dtype that ends before the vocabulary does; larger ids end there with it."""

    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        draft.dtypes[name] = dtype
        draft.members[name] = _each_cell(lambda number: min(number, int(greatest(dtype))))(draft.members[name])

    return apply


def _replaced(name: str, change: Callable[[Any], Any]) -> Break:
    """Change the nested lists of a member as a whole."""

    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        draft.members[name] = change(draft.members[name])

    return apply


def _constant(value: Any) -> Value:
    return lambda contract, choose: value


def _beyond(limit: Callable[[IdContract], int]) -> Value:
    """A value up to a hundred beyond the limit; the limit itself is the likeliest mistake."""
    return lambda contract, choose: limit(contract) + choose(0, 100)


def _negative(contract: IdContract, choose: Choose) -> int:
    value = choose(-99, -1)
    return value if value != contract.ignore_label else -101


def _a_column_less(rows: list[Any]) -> list[Any]:
    return [row[:-1] for row in rows]


def _columns_less(rows: list[Any]) -> list[Any]:
    return [[] for _ in rows]


def _each_cell(change: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda rows: [[change(value) for value in row] for row in rows]


def _unmap(draft: Draft, contract: IdContract, choose: Choose) -> None:
    draft.is_mapping = False


def _drop_ids(draft: Draft, contract: IdContract, choose: Choose) -> None:
    del draft.members[IDS]


def _misspell(draft: Draft, contract: IdContract, choose: Choose) -> None:
    wrong = ("token_type_id", "tokenTypeIds", "TOKEN_TYPE_IDS")[choose(0, 2)]
    draft.members[wrong] = draft.members.pop(TYPES)


def _mix_frameworks(draft: Draft, contract: IdContract, choose: Choose) -> None:
    draft.foreign = frozenset((MASK,))


def _overrun(draft: Draft, contract: IdContract, choose: Choose) -> None:
    """Widen all rows beyond max_length with padding."""
    more = contract.max_length - draft.columns + choose(1, 3)
    for name, filling in ((IDS, contract.pad_token_id), (MASK, 0)):
        rest = [filling] * more
        is_right = contract.padding_side == "right"
        draft.members[name] = [row + rest if is_right else rest + row for row in draft.members[name]]


def _decapitate(draft: Draft, contract: IdContract, choose: Choose) -> None:
    """Another id than the CLS at the beginning of a row."""
    others = [number for number in (0, 1, 2) if number not in (contract.cls_token_id, contract.pad_token_id)]
    draft.members[IDS][_FULL][draft.tokens(_FULL)[0]] = others[0]


def _drop_mask(draft: Draft, contract: IdContract, choose: Choose) -> None:
    del draft.members[MASK]


def _make_additive(dtype: str, low: float) -> Break:
    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        draft.members[MASK] = _each_cell(lambda kept: 0 if kept else low)(draft.members[MASK])
        draft.dtypes[MASK] = dtype

    return apply


def _drop_token(which: int) -> Break:
    """Mask the first (0) or the last (-1) token of a row."""

    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        row = choose(_FULL, _SHORT)
        draft.members[MASK][row][draft.tokens(row)[which]] = 0

    return apply


def _keep_pad(draft: Draft, contract: IdContract, choose: Choose) -> None:
    """The mask one too long: at the pad beside the tokens."""
    tokens = draft.tokens(_SHORT)
    draft.members[MASK][_SHORT][tokens[-1] + 1 if contract.padding_side == "right" else tokens[0] - 1] = 1


def _empty_row(draft: Draft, contract: IdContract, choose: Choose) -> None:
    draft.members[IDS][_SHORT] = [contract.pad_token_id] * draft.columns
    draft.members[MASK][_SHORT] = [0] * draft.columns


def _make_hole(draft: Draft, contract: IdContract, choose: Choose) -> None:
    at = choose(1, draft.columns - 2)
    draft.members[IDS][_FULL][at] = contract.pad_token_id
    draft.members[MASK][_FULL][at] = 0


def _other_side(draft: Draft, contract: IdContract, choose: Choose) -> None:
    """All padding of a row on the wrong side."""
    _rotate(draft, contract, len(draft.pads(_SHORT)))


def _both_sides(draft: Draft, contract: IdContract, choose: Choose) -> None:
    """A part of the padding of a row on the wrong side."""
    _rotate(draft, contract, choose(1, len(draft.pads(_SHORT)) - 1))


def _rotate(draft: Draft, contract: IdContract, steps: int) -> None:
    cut = -steps if contract.padding_side == "right" else steps
    for name in (IDS, MASK):
        row = draft.members[name][_SHORT]
        draft.members[name][_SHORT] = row[cut:] + row[:cut]


def _set_type(draft: Draft, contract: IdContract, choose: Choose) -> None:
    draft.members[TYPES][_FULL][choose(0, draft.columns - 1)] = 1


def _unlabel(draft: Draft, contract: IdContract, choose: Choose) -> None:
    draft.members[LABELS] = _each_cell(lambda label: contract.ignore_label)(draft.members[LABELS])


def _shift_positions(draft: Draft, contract: IdContract, choose: Choose) -> None:
    """Two tokens at one position, as after a hole that was closed."""
    tokens = draft.tokens(_FULL)
    at = choose(1, len(tokens) - 1)
    draft.members[POSITIONS] = counted_positions(draft.members[MASK])
    for column in tokens[at:]:
        draft.members[POSITIONS][_FULL][column] -= 1


def _at_vector(value: float) -> Break:
    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        row = draft.members[EMBEDS][choose(0, 1)]
        row[choose(0, draft.columns - 1)][0] = value

    return apply


def _has_types(contract: IdContract) -> bool:
    return contract.type_vocab_size > 0


def _table() -> Iterator[Fault]:
    yield Fault("not-a-mapping", "GTE400", _unmap)
    yield Fault("no-ids", "GTE401", _drop_ids)
    yield Fault("ids-and-embeds", "GTE402", lambda draft, contract, choose: None, (IDS, EMBEDS))
    yield Fault("misspelt-name", "GTE403", _misspell, (TYPES,))
    yield Fault("text-for-ids", "GTE404", _replaced(IDS, lambda rows: "two words"))
    yield Fault("words-for-ids", "GTE404", _replaced(IDS, _each_cell(str)))
    yield Fault("ragged-rows", "GTE405", _replaced(IDS, lambda rows: [rows[0][:-1], *rows[1:]]))
    yield Fault("no-rows", "GTE406", _replaced(IDS, lambda rows: []))
    yield Fault("no-columns", "GTE406", _replaced(IDS, _columns_less))
    yield Fault("mixed-frameworks", "GTE407", _mix_frameworks)
    yield from _id_faults()
    yield from _mask_faults()
    yield from _row_faults()
    yield from _companion_faults()
    yield from _embed_faults()


def _id_faults() -> Iterator[Fault]:
    yield Fault("one-row-unwrapped", "GTE410", _replaced(IDS, lambda rows: rows[0]))
    yield Fault("ids-wrapped-twice", "GTE410", _replaced(IDS, lambda rows: [rows]))
    yield Fault("float-ids", "GTE411", _become(IDS, "float32"))
    yield Fault("boolean-ids", "GTE411", _become(IDS, "bool"))
    yield Fault("int32-ids", "GTE412", _become(IDS, "int32"), (), _TENSORS)
    yield Fault("int8-ids", "GTE417", _narrowed(IDS, "int8"), (), _TENSORS, _is_beyond_int8)
    yield Fault("negative-id", "GTE413", _at_token(IDS, _negative))
    yield Fault("ignored-label-as-id", "GTE413", _at_token(IDS, lambda contract, choose: contract.ignore_label))
    yield Fault("id-beyond-table", "GTE414", _at_token(IDS, _beyond(lambda contract: contract.vocab_size)))
    yield Fault("id-of-vocab-size", "GTE414", _at_token(IDS, lambda contract, choose: contract.vocab_size))
    yield Fault("huge-id", "GTE414", _at_token(IDS, _constant(2**62)))
    yield Fault("too-long", "GTE415", _overrun)
    yield Fault(
        "no-cls", "GTE416", _decapitate, suits=lambda each: each.cls_token_id is not None and each.vocab_size > 2
    )


def _is_beyond_int8(contract: IdContract) -> bool:
    """Whether int8 ends before the vocabulary, yet behind the pad and the CLS."""
    last = int(greatest("int8"))
    return contract.vocab_size - 1 > last > max(contract.pad_token_id, contract.cls_token_id or 0)


def _mask_faults() -> Iterator[Fault]:
    yield Fault("no-mask", "GTE420", _drop_mask)
    yield Fault("mask-a-column-short", "GTE421", _replaced(MASK, _a_column_less))
    yield Fault("mask-a-row-short", "GTE421", _replaced(MASK, lambda rows: rows[:-1]))
    yield Fault("flat-mask", "GTE422", _replaced(MASK, lambda rows: rows[0]))
    yield Fault("expanded-mask", "GTE422", _replaced(MASK, lambda rows: [[[row]] for row in rows]))
    yield Fault("float-mask", "GTE423", _become(MASK, "float32"))
    yield Fault("additive-mask", "GTE424", _make_additive("float32", -3.4028234663852886e38))
    yield Fault("additive-mask-of-infinity", "GTE424", _make_additive("float32", float("-inf")))
    yield Fault("additive-mask-of-integers", "GTE424", _make_additive("int64", -10000))
    yield Fault("mask-of-documents", "GTE425", _at_token(MASK, lambda contract, choose: choose(2, 9), skipped=0))
    yield Fault("negative-mask", "GTE425", _at_token(MASK, _constant(-1), skipped=0))
    yield Fault("inverted-mask", "GTE426", _replaced(MASK, _each_cell(lambda kept: 1 - kept)))
    yield Fault("mask-one-too-long", "GTE427", _keep_pad)
    yield Fault("mask-of-ones", "GTE427", _replaced(MASK, _each_cell(lambda kept: 1)))
    yield Fault("mask-without-last-token", "GTE428", _drop_token(-1))
    yield Fault("mask-without-first-token", "GTE428", _drop_token(0))
    yield Fault("mask-of-zeros", "GTE428", _replaced(MASK, _each_cell(lambda kept: 0)))


def _row_faults() -> Iterator[Fault]:
    yield Fault("empty-row", "GTE429", _empty_row)
    yield Fault("hole", "GTE430", _make_hole)
    yield Fault("padded-on-the-other-side", "GTE431", _other_side)
    yield Fault("padded-on-both-sides", "GTE431", _both_sides)


def _companion_faults() -> Iterator[Fault]:
    """Faults of token types, labels and positions."""
    yield Fault("types-a-column-short", "GTE440", _replaced(TYPES, _a_column_less), (TYPES,))
    yield Fault("float-types", "GTE411", _become(TYPES, "float32"), (TYPES,))
    yield Fault("negative-type", "GTE441", _at_token(TYPES, _negative), (TYPES,), suits=_has_types)
    beyond = _at_token(TYPES, _beyond(lambda contract: contract.type_vocab_size))
    yield Fault("type-beyond-table", "GTE442", beyond, (TYPES,), suits=_has_types)
    yield Fault("type-without-table", "GTE443", _set_type, (TYPES,), suits=lambda each: not _has_types(each))
    yield Fault("labels-a-column-short", "GTE450", _replaced(LABELS, _a_column_less), (LABELS,))
    yield Fault("labels-of-fewer-rows", "GTE450", _replaced(LABELS, lambda rows: [1]), (LABELS,))
    yield Fault("boolean-labels", "GTE411", _become(LABELS, "bool"), (LABELS,))
    yield Fault("int32-labels", "GTE412", _become(LABELS, "int32"), (LABELS,), _TENSORS)
    yield Fault("negative-label", "GTE451", _at_token(LABELS, _negative, _SHORT), (LABELS,))
    yield Fault(
        "label-beyond-vocabulary",
        "GTE452",
        _at_token(LABELS, _beyond(lambda contract: contract.vocab_size), _SHORT),
        (LABELS,),
    )
    yield Fault("label-of-pad", "GTE453", _at_pad(LABELS, lambda contract, choose: contract.pad_token_id), (LABELS,))
    yield Fault("no-label", "GTE454", _unlabel, (LABELS,))
    yield Fault("positions-a-column-short", "GTE460", _replaced(POSITIONS, _a_column_less), (POSITIONS,))
    yield Fault("float-positions", "GTE411", _become(POSITIONS, "float32"), (POSITIONS,))
    yield Fault("negative-position", "GTE461", _at_pad(POSITIONS, _negative), (POSITIONS,))
    far = _at_token(POSITIONS, _beyond(lambda contract: contract.max_length))
    yield Fault("position-beyond-max-length", "GTE462", far, (POSITIONS,))
    yield Fault("position-twice", "GTE463", _shift_positions, (POSITIONS,))


def _embed_faults() -> Iterator[Fault]:
    yield Fault("embeds-without-width", "GTE470", _replaced(EMBEDS, _each_cell(lambda vector: vector[0])), (EMBEDS,))
    wider = _replaced(EMBEDS, _each_cell(lambda vector: [*vector, 0.5]))
    yield Fault("embeds-too-wide", "GTE471", wider, (EMBEDS,), suits=lambda each: each.hidden_size is not None)
    yield Fault("integer-embeds", "GTE472", _become(EMBEDS, "int64"), (EMBEDS,))
    yield Fault("nan-in-embeds", "GTE473", _at_vector(float("nan")), (EMBEDS,))
    yield Fault("infinity-in-embeds", "GTE473", _at_vector(float("inf")), (EMBEDS,))


FAULTS = tuple(_table())
"""Every fault, in order of what it is about."""
