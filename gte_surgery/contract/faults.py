"""The ways in which a batch goes wrong, each by name and with the one code that it deserves.

A fault takes a sound draft and breaks it in that way alone. The drafts have at least two rows and four columns; row 0
is all tokens, row 1 has two tokens or more and at least two pads. `strategies` draws drafts and choices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gte_surgery.contract.batch.structure import EMBEDS, IDS, LABELS, MASK, POSITIONS, TYPES
from gte_surgery.contract.collate import filled
from gte_surgery.contract.drafts import Draft, counted_positions
from gte_surgery.contract.frameworks import FRAMEWORKS, Framework, greatest
from gte_surgery.contract.spec import IdContract

Choose = Callable[[int, int], int]
"""Draws an integer from the first to the second, both included."""

Break = Callable[[Draft, IdContract, Choose], object]
"""Breaks a draft; what it returns is of no use."""

Value = Callable[[IdContract, Choose], Any]

_LAST_INT8 = int(greatest("int8"))
_TENSORS: frozenset[Framework] = frozenset(("torch", "numpy"))
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
    frameworks: frozenset[Framework] = frozenset(FRAMEWORKS)
    suits: Callable[[IdContract], bool] = lambda contract: True


def faults_of(contract: IdContract, framework: Framework) -> tuple[Fault, ...]:
    """The faults that a batch of the framework can have under a contract."""
    return tuple(fault for fault in FAULTS if framework in fault.frameworks and fault.suits(contract))


def _put(
    name: str, value: Value, row: int = _FULL, first: int = 1, places: Callable[[Draft, int], list[int]] = Draft.tokens
) -> Break:
    """Put a value at one of a row's tokens, or other places, from the `first` on."""

    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        columns = places(draft, row)
        draft.members[name][row][columns[choose(first, len(columns) - 1)]] = value(contract, choose)

    return apply


def _put_at_pad(name: str, value: Value) -> Break:
    return _put(name, value, _SHORT, 0, Draft.pads)


def _become(name: str, dtype: str) -> Break:
    """Give a member another dtype."""
    return lambda draft, contract, choose: draft.dtypes.update({name: dtype})


def _dropped(name: str) -> Break:
    """Take a member away."""
    return lambda draft, contract, choose: draft.members.pop(name)


def _replaced(name: str, change: Callable[[Any], Any]) -> Break:
    """Change the nested lists of a member as a whole."""
    return lambda draft, contract, choose: draft.members.update({name: change(draft.members[name])})


def _each_cell(name: str, change: Callable[[Any], Any]) -> Break:
    """Change each value of the rows of a member."""
    return _replaced(name, lambda rows: [[change(value) for value in row] for row in rows])


def _a_column_less(name: str) -> Break:
    return _replaced(name, lambda rows: [row[:-1] for row in rows])


def _in_turn(*breaks: Break) -> Break:
    return lambda draft, contract, choose: [each(draft, contract, choose) for each in breaks]


_narrowed = _in_turn(_each_cell(IDS, lambda number: min(number, _LAST_INT8)), _become(IDS, "int8"))
"""Ids of a dtype that ends before the vocabulary does; larger ones end there with it."""


def _additive(dtype: str, low: float) -> Break:
    return _in_turn(_each_cell(MASK, lambda kept: 0 if kept else low), _become(MASK, dtype))


def _constant(value: Any) -> Value:
    return lambda contract, choose: value


def _beyond(limit: Callable[[IdContract], int]) -> Value:
    """A value up to a hundred beyond the limit; the limit itself is the likeliest mistake."""
    return lambda contract, choose: limit(contract) + choose(0, 100)


def _negative(contract: IdContract, choose: Choose) -> int:
    value = choose(-99, -1)
    return value if value != contract.ignore_label else -101


def _unmap(draft: Draft, contract: IdContract, choose: Choose) -> None:
    draft.is_mapping = False


def _misspell(draft: Draft, contract: IdContract, choose: Choose) -> None:
    wrong = ("token_type_id", "tokenTypeIds", "TOKEN_TYPE_IDS")[choose(0, 2)]
    draft.members[wrong] = draft.members.pop(TYPES)


def _mix_frameworks(draft: Draft, contract: IdContract, choose: Choose) -> None:
    draft.foreign = frozenset((MASK,))


def _overrun(draft: Draft, contract: IdContract, choose: Choose) -> None:
    """Widen all rows beyond max_length with padding."""
    width = contract.max_length + choose(1, 3)
    draft.members |= filled({name: draft.members[name] for name in (IDS, MASK)}, width, contract)


def _decapitate(draft: Draft, contract: IdContract, choose: Choose) -> None:
    """Another id than the CLS at the beginning of a row."""
    others = [number for number in (0, 1, 2) if number not in (contract.cls_token_id, contract.pad_token_id)]
    draft.members[IDS][_FULL][draft.tokens(_FULL)[0]] = others[0]


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


def _rotated(steps: Callable[[int, Choose], int]) -> Break:
    """Move so many of a row's pads to the wrong side, given how many there are."""

    def apply(draft: Draft, contract: IdContract, choose: Choose) -> None:
        count = steps(len(draft.pads(_SHORT)), choose)
        cut = -count if contract.padding_side == "right" else count
        for name in (IDS, MASK):
            row = draft.members[name][_SHORT]
            draft.members[name][_SHORT] = row[cut:] + row[:cut]

    return apply


def _unlabel(draft: Draft, contract: IdContract, choose: Choose) -> None:
    draft.members[LABELS] = [[contract.ignore_label] * len(row) for row in draft.members[LABELS]]


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


def _is_beyond_int8(contract: IdContract) -> bool:
    """Whether int8 ends before the vocabulary, yet behind the pad and the CLS."""
    return contract.vocab_size - 1 > _LAST_INT8 > max(contract.pad_token_id, contract.cls_token_id or 0)


def _has_another_beginning(contract: IdContract) -> bool:
    return contract.cls_token_id is not None and contract.vocab_size > 2


FAULTS = (
    Fault("not-a-mapping", "GTE400", _unmap),
    Fault("no-ids", "GTE401", _dropped(IDS)),
    Fault("ids-and-embeds", "GTE402", _in_turn(), (IDS, EMBEDS)),
    Fault("misspelt-name", "GTE403", _misspell, (TYPES,)),
    Fault("text-for-ids", "GTE404", _replaced(IDS, lambda rows: "two words")),
    Fault("words-for-ids", "GTE404", _each_cell(IDS, str)),
    Fault("ragged-rows", "GTE405", _replaced(IDS, lambda rows: [rows[0][:-1], *rows[1:]])),
    Fault("no-rows", "GTE406", _replaced(IDS, lambda rows: [])),
    Fault("no-columns", "GTE406", _replaced(IDS, lambda rows: [[] for _ in rows])),
    Fault("mixed-frameworks", "GTE407", _mix_frameworks),
    # Ids.
    Fault("one-row-unwrapped", "GTE410", _replaced(IDS, lambda rows: rows[0])),
    Fault("ids-wrapped-twice", "GTE410", _replaced(IDS, lambda rows: [rows])),
    Fault("float-ids", "GTE411", _become(IDS, "float32")),
    Fault("boolean-ids", "GTE411", _become(IDS, "bool")),
    Fault("int32-ids", "GTE412", _become(IDS, "int32"), (), _TENSORS),
    Fault("int8-ids", "GTE417", _narrowed, (), _TENSORS, _is_beyond_int8),
    Fault("negative-id", "GTE413", _put(IDS, _negative)),
    Fault("ignored-label-as-id", "GTE413", _put(IDS, lambda contract, choose: contract.ignore_label)),
    Fault("id-beyond-table", "GTE414", _put(IDS, _beyond(lambda contract: contract.vocab_size))),
    Fault("id-of-vocab-size", "GTE414", _put(IDS, lambda contract, choose: contract.vocab_size)),
    Fault("huge-id", "GTE414", _put(IDS, _constant(2**62))),
    Fault("too-long", "GTE415", _overrun),
    Fault("no-cls", "GTE416", _decapitate, suits=_has_another_beginning),
    # The mask.
    Fault("no-mask", "GTE420", _dropped(MASK)),
    Fault("mask-a-column-short", "GTE421", _a_column_less(MASK)),
    Fault("mask-a-row-short", "GTE421", _replaced(MASK, lambda rows: rows[:-1])),
    Fault("flat-mask", "GTE422", _replaced(MASK, lambda rows: rows[0])),
    Fault("expanded-mask", "GTE422", _replaced(MASK, lambda rows: [[[row]] for row in rows])),
    Fault("float-mask", "GTE423", _become(MASK, "float32")),
    Fault("additive-mask", "GTE424", _additive("float32", -3.4028234663852886e38)),
    Fault("additive-mask-of-infinity", "GTE424", _additive("float32", float("-inf"))),
    Fault("additive-mask-of-integers", "GTE424", _additive("int64", -10000)),
    Fault("mask-of-documents", "GTE425", _put(MASK, lambda contract, choose: choose(2, 9), first=0)),
    Fault("negative-mask", "GTE425", _put(MASK, _constant(-1), first=0)),
    Fault("inverted-mask", "GTE426", _each_cell(MASK, lambda kept: 1 - kept)),
    Fault("mask-one-too-long", "GTE427", _keep_pad),
    Fault("mask-of-ones", "GTE427", _each_cell(MASK, lambda kept: 1)),
    Fault("mask-without-last-token", "GTE428", _drop_token(-1)),
    Fault("mask-without-first-token", "GTE428", _drop_token(0)),
    Fault("mask-of-zeros", "GTE428", _each_cell(MASK, lambda kept: 0)),
    # How tokens lie in a row.
    Fault("empty-row", "GTE429", _empty_row),
    Fault("hole", "GTE430", _make_hole),
    Fault("padded-on-the-other-side", "GTE431", _rotated(lambda pads, choose: pads)),
    Fault("padded-on-both-sides", "GTE431", _rotated(lambda pads, choose: choose(1, pads - 1))),
    # Token types, labels and positions.
    Fault("types-a-column-short", "GTE440", _a_column_less(TYPES), (TYPES,)),
    Fault("float-types", "GTE411", _become(TYPES, "float32"), (TYPES,)),
    Fault("negative-type", "GTE441", _put(TYPES, _negative), (TYPES,), suits=_has_types),
    Fault(
        "type-beyond-table",
        "GTE442",
        _put(TYPES, _beyond(lambda contract: contract.type_vocab_size)),
        (TYPES,),
        suits=_has_types,
    ),
    Fault(
        "type-without-table",
        "GTE443",
        _put(TYPES, _constant(1), first=0),
        (TYPES,),
        suits=lambda each: not _has_types(each),
    ),
    Fault("labels-a-column-short", "GTE450", _a_column_less(LABELS), (LABELS,)),
    Fault("labels-of-fewer-rows", "GTE450", _replaced(LABELS, lambda rows: [1]), (LABELS,)),
    Fault("boolean-labels", "GTE411", _become(LABELS, "bool"), (LABELS,)),
    Fault("int32-labels", "GTE412", _become(LABELS, "int32"), (LABELS,), _TENSORS),
    Fault("negative-label", "GTE451", _put(LABELS, _negative, _SHORT), (LABELS,)),
    Fault(
        "label-beyond-vocabulary",
        "GTE452",
        _put(LABELS, _beyond(lambda contract: contract.vocab_size), _SHORT),
        (LABELS,),
    ),
    Fault("label-of-pad", "GTE453", _put_at_pad(LABELS, lambda contract, choose: contract.pad_token_id), (LABELS,)),
    Fault("no-label", "GTE454", _unlabel, (LABELS,)),
    Fault("positions-a-column-short", "GTE460", _a_column_less(POSITIONS), (POSITIONS,)),
    Fault("float-positions", "GTE411", _become(POSITIONS, "float32"), (POSITIONS,)),
    Fault("negative-position", "GTE461", _put_at_pad(POSITIONS, _negative), (POSITIONS,)),
    Fault(
        "position-beyond-max-length",
        "GTE462",
        _put(POSITIONS, _beyond(lambda contract: contract.max_length)),
        (POSITIONS,),
    ),
    Fault("position-twice", "GTE463", _shift_positions, (POSITIONS,)),
    # Vectors in place of ids.
    Fault("embeds-without-width", "GTE470", _each_cell(EMBEDS, lambda vector: vector[0]), (EMBEDS,)),
    Fault(
        "embeds-too-wide",
        "GTE471",
        _each_cell(EMBEDS, lambda vector: [*vector, 0.5]),
        (EMBEDS,),
        suits=lambda each: each.hidden_size is not None,
    ),
    Fault("integer-embeds", "GTE472", _become(EMBEDS, "int64"), (EMBEDS,)),
    Fault("nan-in-embeds", "GTE473", _at_vector(float("nan")), (EMBEDS,)),
    Fault("infinity-in-embeds", "GTE473", _at_vector(float("inf")), (EMBEDS,)),
)
"""Every fault, in order of what it is about."""
