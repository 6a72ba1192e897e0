"""Whether a batch of torch tensors or numpy arrays is clean, by a few whole-tensor operations and one look at them.

Each thing that can be wrong is a boolean on the device, and so is whether any is; that alone is read back: on CUDA a
short chain of kernels and one synchronisation. What is wrong, and where, is for `rows` to find out. A small batch costs
what launching its kernels does, so operations are few: those on the grid of ids write into one tensor that is reduced
once, and `amax` reduces booleans in one kernel, where `sum` takes two. On the host a large batch costs what going to
memory does, so it is judged in blocks that fit into the cache.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import isfinite
from typing import Any

from gte_surgery.contract.batch.structure import EMBEDS, IDS, LABELS, MASK, POSITIONS, TYPES, Frame
from gte_surgery.contract.frameworks import Framework
from gte_surgery.contract.terms import Terms

_EASY = frozenset(("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"))
"""Dtypes that both frameworks compare and reduce on every device; the others are judged row by row."""

_BLOCK = 1 << 19
"""Positions that are judged at once on the host."""

_WHOLE = ("booleans", "integers")


def is_clean(frame: Frame, contract: Terms) -> bool:
    """Whether the values of all members respect the contract. False for lists, and whenever it takes a closer look."""
    members = frame.members
    framework = next(iter(members.values())).framework
    if framework == "lists" or (MASK in members and members[MASK].kind not in _WHOLE):
        return False
    if any(each.dtype not in _EASY for each in members.values()):
        return False
    values = {name: each.value for name, each in members.items()}
    blocks = list(_blocks(values, frame))
    if all(_respects(block, contract, framework) for block in blocks):
        return True
    # A block without a label is no fault of the batch; whatever else is wrong with a block is.
    return len(blocks) > 1 and LABELS in values and _respects(values, contract, framework)


def _blocks(values: dict[str, Any], frame: Frame) -> Iterator[dict[str, Any]]:
    """The values in blocks of rows that stay in the processor's cache from one operation to the next; on a device,
    where each operation costs its launch, all of them at once."""
    rows, columns = frame.grid
    is_on_host = all(getattr(each.device, "type", "cpu") == "cpu" for each in frame.members.values())
    height = max(1, _BLOCK // columns) if is_on_host else rows
    if height >= rows:
        yield values
        return
    for begin in range(0, rows, height):
        end = begin + height
        yield {name: value[begin:end] if len(value) == rows else value for name, value in values.items()}


def _respects(values: dict[str, Any], contract: Terms, framework: Framework) -> bool:
    """Whether nothing is wrong with the values."""
    xp = sys.modules[framework]
    wrongs = list(_wrongs(values, contract, xp))
    if framework == "numpy":
        return not any(wrongs)
    return not wrongs or not (xp.stack(wrongs).any() if len(wrongs) > 1 else wrongs[0])


def _wrongs(values: dict[str, Any], contract: Terms, xp: Any) -> Iterator[Any]:
    """A boolean scalar for each thing that can be wrong, true where it is; `xp` is the module torch or numpy."""
    ids, mask = values.get(IDS), values.get(MASK)
    kept = None
    if ids is not None:
        kept = ids != contract.pad_token_id
    elif mask is not None:
        kept = mask != 0
    if kept is not None:
        yield _some(_grid(ids, mask, kept, contract, xp))
        if contract.padding_side == "left" and ids is not None and contract.cls_token_id is not None:
            yield from _other_beginnings(ids, kept, contract.cls_token_id)
    if TYPES in values:
        yield from _outside(values[TYPES], max(contract.type_vocab_size, 1))
    if POSITIONS in values:
        yield from _outside(values[POSITIONS], contract.max_length)
        yield from _miscounted(values[POSITIONS], kept)
    if LABELS in values:
        yield from _mislabelled(values[LABELS], kept, contract)
    if EMBEDS in values:
        yield from _endless(values[EMBEDS])


def _grid(ids: Any, mask: Any, kept: Any, contract: Terms, xp: Any) -> Any:
    """What is wrong at each position, booleans [4, rows, columns]: an id below or beyond the table; a mask that is not
    `kept`; a row that has not its tokens first, at least one, beginning with the CLS. For padding on the left the last
    is mirrored, and the CLS is left to `_other_beginnings`.

    The CLS is no pad: where it stands first, a token does. Without a mask all must be kept.
    """
    wrong = kept.new_empty((4, *kept.shape)) if hasattr(kept, "new_empty") else xp.empty((4, *kept.shape), kept.dtype)
    below, beyond, disagreeing, misplaced = wrong
    if ids is None:
        wrong[:2] = False
    else:
        xp.less(ids, 0, out=below)
        xp.greater_equal(ids, contract.vocab_size, out=beyond)
    if mask is None:
        xp.logical_not(kept, out=disagreeing)
    else:
        xp.not_equal(mask, kept, out=disagreeing)
    width = kept.shape[1]
    before, after = _columns(kept, 0, width - 1), _columns(kept, 1, width)
    if contract.padding_side == "left":
        xp.greater(before, after, out=_columns(misplaced, 0, width - 1))
        xp.logical_not(_columns(kept, width - 1, width), out=_columns(misplaced, width - 1, width))
        return wrong
    xp.greater(after, before, out=_columns(misplaced, 1, width))
    first = _columns(misplaced, 0, 1)
    if ids is None or contract.cls_token_id is None:
        xp.logical_not(_columns(kept, 0, 1), out=first)
    else:
        xp.not_equal(_columns(ids, 0, 1), contract.cls_token_id, out=first)
    return wrong


def _some(flags: Any) -> Any:
    """Whether one of the booleans is true; there is at least one boolean."""
    return flags.amax() if hasattr(flags, "amax") else flags.any()


def _columns(values: Any, begin: int, end: int) -> Any:
    """Columns from `begin` to before `end`, as a view."""
    return values.narrow(1, begin, end - begin) if hasattr(values, "narrow") else values[:, begin:end]


def _extremes(values: Any) -> tuple[Any, Any]:
    """The least and the greatest value; NaN where there is one."""
    return values.aminmax() if hasattr(values, "aminmax") else (values.min(), values.max())


def _outside(values: Any, limit: int) -> Iterator[Any]:
    """Values below 0 or not below the limit."""
    low, high = _extremes(values)
    yield low < 0
    yield high >= limit


def _other_beginnings(ids: Any, kept: Any, cls_token_id: int) -> Iterator[Any]:
    """Rows padded on the left whose first token is not the CLS."""
    width = ids.shape[1]
    is_other = ids != cls_token_id
    yield _some(_columns(is_other, 0, 1) & _columns(kept, 0, 1))
    if width > 1:
        yield _some(_columns(is_other, 1, width) & (_columns(kept, 1, width) > _columns(kept, 0, width - 1)))


def _miscounted(positions: Any, kept: Any) -> Iterator[Any]:
    """Positions that do not count the kept tokens of each row from 0."""
    if kept is not None:
        yield _some((kept.cumsum(1) - 1 != positions) & kept)
        return
    width = positions.shape[1]
    yield _some(_columns(positions, 0, 1) != 0)
    if width > 1:
        yield _some(_columns(positions, 1, width) - _columns(positions, 0, width - 1) != 1)


def _mislabelled(labels: Any, kept: Any, contract: Terms) -> Iterator[Any]:
    """Labels that are neither ids nor ignored, all of them ignored, or one at a pad."""
    is_label = labels != contract.ignore_label
    yield _some(is_label & ((labels < 0) | (labels >= contract.vocab_size)))
    yield ~_some(is_label)
    if kept is not None:
        yield _some(is_label & ~kept)


def _endless(values: Any) -> Iterator[Any]:
    """NaN or infinity, which both show in the least or the greatest value."""
    for extreme in _extremes(values):
        yield ~extreme.isfinite() if hasattr(extreme, "isfinite") else not isfinite(extreme)
