"""Whether a batch of torch tensors or numpy arrays is clean, by a few whole-tensor operations and one look at them.

Each condition is a scalar that must lie within bounds. The scalars stay on the device until all are known, then one
vector of int64 is read back: on CUDA a short chain of kernels and one synchronisation. What is wrong, and where, is
for `rows` to find out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from gte_surgery.contract.frameworks import Framework, Kind
from gte_surgery.contract.spec import IdContract
from gte_surgery.contract.structure import EMBEDS, IDS, LABELS, MASK, POSITIONS, TYPES, Frame

Bound = tuple[Any, int, int]
"""A scalar tensor and the least and the greatest value that it may have."""

_EASY = frozenset(("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"))
"""Dtypes that both frameworks compare and sum on every device; the others are judged row by row."""

_WHOLE = (Kind.BOOLEAN, Kind.INTEGER)


def is_clean(frame: Frame, contract: IdContract) -> bool:
    """Whether the values of all members respect the contract. False for lists, and whenever it takes a closer look."""
    members = list(frame.members.values())
    framework = members[0].framework
    is_easy = framework is not Framework.LISTS and all(each.dtype in _EASY for each in members)
    if not is_easy or (MASK in frame.members and frame.members[MASK].kind not in _WHOLE):
        return False
    bounds = list(_bounds(frame, contract, framework))
    found = _read_back([scalar for scalar, _, _ in bounds], framework)
    return all(least <= value <= most for value, (_, least, most) in zip(found, bounds, strict=True))


def _bounds(frame: Frame, contract: IdContract, framework: Framework) -> Iterator[Bound]:
    values = {name: each.value for name, each in frame.members.items()}
    ids, mask = values.get(IDS), values.get(MASK)
    kept = None
    if ids is not None:
        yield from _extremes(ids, framework, 0, contract.vocab_size - 1)
        kept = ids != contract.pad_token_id
    if mask is not None:
        kept = mask != 0 if kept is None else kept
        yield _none(mask != kept)
        yield from _shape_of_rows(kept, contract.padding_side)
    elif kept is not None:
        yield _none(~kept)
    if ids is not None and contract.cls_token_id is not None:
        yield from _first_tokens(ids != contract.cls_token_id, kept, contract.padding_side)
    if TYPES in values:
        yield from _extremes(values[TYPES], framework, 0, max(contract.type_vocab_size - 1, 0))
    if POSITIONS in values:
        yield from _extremes(values[POSITIONS], framework, 0, contract.max_length - 1)
        yield from _positions(values[POSITIONS], kept)
    if LABELS in values:
        yield from _labels(values[LABELS], kept, contract)
    if EMBEDS in values:
        yield from _finite(values[EMBEDS], framework)


def _none(flags: Any) -> Bound:
    """Not one of the booleans is true."""
    return flags.sum(), 0, 0


def _extremes(values: Any, framework: Framework, least: int, most: int) -> Iterator[Bound]:
    low, high = values.aminmax() if framework is Framework.TORCH else (values.min(), values.max())
    yield low, least, most
    yield high, least, most


def _shape_of_rows(kept: Any, padding_side: str) -> Iterator[Bound]:
    """Tokens first, then pads, and at least one token; mirrored for padding on the left. `kept` [rows, columns]."""
    before, after = kept[:, :-1], kept[:, 1:]
    if padding_side == "right":
        yield _none(~kept[:, 0])
        yield _none(after > before)
    else:
        yield _none(~kept[:, -1])
        yield _none(after < before)


def _first_tokens(is_other: Any, kept: Any, padding_side: str) -> Iterator[Bound]:
    """The first token of each row is the one wanted; `is_other` [rows, columns] says where another one stands."""
    if padding_side == "right":
        yield _none(is_other[:, 0])
    else:
        yield _none(is_other[:, 0] & kept[:, 0])
        yield _none(is_other[:, 1:] & (kept[:, 1:] > kept[:, :-1]))


def _positions(positions: Any, kept: Any) -> Iterator[Bound]:
    """Positions count the kept tokens of each row from 0."""
    if kept is None:
        yield _none(positions[:, 0] != 0)
        yield _none(positions[:, 1:] - positions[:, :-1] != 1)
    else:
        yield _none((kept.cumsum(1) - 1 != positions) & kept)


def _labels(labels: Any, kept: Any, contract: IdContract) -> Iterator[Bound]:
    is_label = labels != contract.ignore_label
    yield _none(is_label & ((labels < 0) | (labels >= contract.vocab_size)))
    yield is_label.sum(), 1, sys.maxsize
    if kept is not None:
        yield _none(is_label & ~kept)


def _finite(values: Any, framework: Framework) -> Iterator[Bound]:
    """NaN and infinity both show in the least or the greatest value."""
    module = sys.modules[framework.value]
    low, high = values.detach().aminmax() if framework is Framework.TORCH else (values.min(), values.max())
    yield module.isfinite(low) & module.isfinite(high), 1, 1


def _read_back(scalars: list[Any], framework: Framework) -> list[int]:
    """The scalars as Python integers, by one copy from the device."""
    if framework is Framework.NUMPY:
        return [int(scalar) for scalar in scalars]
    torch = sys.modules["torch"]
    stacked: list[int] = torch.stack([scalar.to(torch.int64) for scalar in scalars]).tolist()
    return stacked
