"""What lies between two checkpoints: in their configs by meaning, in their tensors by name, dtype, shape and value.

Names and storage are compared under one layout and configs under one dialect, so a checkpoint and its conversion are
equal. `diff` reads headers first and tensors block by block; it changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gte_surgery.checkpoint.directory import Checkpoint, open_found
from gte_surgery.checkpoint.files import Progress
from gte_surgery.checkpoint.source import Opened
from gte_surgery.compare.values import Extent, Gap, RowChanges, has_equal_bytes, measure, opened_weights
from gte_surgery.errors import RefusedError
from gte_surgery.gte.comparison import KeyDifference, differences_in_meaning, differences_in_spelling
from gte_surgery.gte.fields import LARGEST_WIDTH
from gte_surgery.gte.kinds import Head, Layout
from gte_surgery.gte.tensors import FLOATS
from gte_surgery.surgery.commit.recovery import require_settled
from gte_surgery.surgery.pieces.evaluate import ARITHMETIC_DTYPES
from gte_surgery.surgery.pieces.piece import CopyRange
from gte_surgery.surgery.planning.parts.storage import restored
from gte_surgery.surgery.planning.plan import PlannedTensor
from gte_surgery.surgery.planning.target import Target, understand

__all__ = ["Difference", "Gap", "KeyDifference", "RowChanges", "Stored", "TensorDifference", "diff"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of one side: its name there, dtype and shape. Where one side is packed, the parts share its name."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """A tensor that is not the same on both sides, by its canonical name.

    `common_rows` is how many rows were compared where the shapes differ, None where none could be. `has_changed` says
    whether the bytes compared differ; None where none were: other dtypes without `gap`, or a diff that ended early.
    """

    name: str
    left: Stored | None
    right: Stored | None
    common_rows: int | None = None
    has_changed: bool | None = None
    gap: Gap | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of added, removed, renamed, reshaped, recast and changed, those that apply."""
        if self.left is None or self.right is None:
            return ("added",) if self.left is None else ("removed",)
        found = {
            "renamed": self.left.name != self.right.name,
            "reshaped": self.left.shape != self.right.shape,
            "recast": self.left.dtype != self.right.dtype,
            "changed": bool(self.has_changed),
        }
        return tuple(kind for kind, applies in found.items() if applies)

    @property
    def is_equal(self) -> bool:
        """Whether it is the same tensor, if under another name."""
        return self.kinds in ((), ("renamed",))


@dataclass(frozen=True, slots=True)
class Difference:
    """What `diff` found between the checkpoints `left` and `right`.

    `config` are members that mean something else, `spelling` those that only say it otherwise. `tensors` are those that
    differ in anything, the name alone included; `compared` counts all. `is_complete` is False where a brief diff ended
    at the first difference.
    """

    left: Path | str
    right: Path | str
    config: tuple[KeyDifference, ...]
    spelling: tuple[KeyDifference, ...]
    tensors: tuple[TensorDifference, ...]
    compared: int
    is_complete: bool = True

    @property
    def is_equal(self) -> bool:
        """Whether both are the same network with the same numbers."""
        return not self.config and all(tensor.is_equal for tensor in self.tensors)


def diff(
    left: Path | str,
    right: Path | str,
    *,
    values: bool = False,
    brief: bool = False,
    progress: Progress | None = None,
) -> Difference:
    """Compares two checkpoints; with `values` also says how far their numbers are apart.

    `brief` asks only whether they are equal, and ends at the first difference. Raises CheckpointError and RefusedError
    for what is not a whole GTE checkpoint; findings about tensors and config do not hinder.

    >>> from gte_surgery import diff, new, resize
    >>> sizes = dict(layers=1, hidden=64, heads=4, intermediate=96, vocab=640)
    >>> large = new("large", release="gte-base-en-v1.5", **sizes).target
    >>> found = diff(large, resize(large, vocab=320, pad=0, out="small").target)
    >>> [(key.key, key.left, key.right) for key in found.config]
    [('vocab_size', 640, 320)]
    >>> [(tensor.name, tensor.kinds, tensor.common_rows) for tensor in found.tensors]
    [('embeddings.word_embeddings.weight', ('reshaped',), 320)]
    """
    both = _understood(left), _understood(right)
    config = differences_in_meaning(both[0].values, both[1].values, (_dtype(both[0]), _dtype(both[1])))
    spelling = differences_in_spelling(both[0].values, both[1].values, config)
    pairs = list(_paired(both))
    tensors = [pair.headers_only for pair in pairs]
    is_complete = not brief or (not config and all(tensor.is_equal for tensor in tensors))
    if is_complete:
        tensors, is_complete = _compared(both, pairs, values, brief, progress)
    differing = tuple(tensor for tensor in tensors if tensor.kinds)
    left, right = (_place(target.checkpoint) for target in both)
    return Difference(left, right, tuple(config), tuple(spelling), differing, len(pairs), is_complete)


def _understood(path: Path | str) -> Target:
    """The checkpoint, whole as a container; raises RefusedError where two of its tensors would have one name."""
    checkpoint = open_found(path)
    if checkpoint.snapshot is None:
        require_settled(checkpoint.path)
    target = understand(checkpoint, families=("GTE0",))
    naming, taken = target.family.naming, dict[str, str]()
    for stored in checkpoint.tensors:
        for name in naming.parts_of(naming.canonical(stored, target.layout) or stored):
            if name in taken:
                raise RefusedError(
                    f"{checkpoint.name}: `{taken[name]}` and `{stored}` both hold `{name}`, one of them is too many",
                    f"see `gte-surgery check {checkpoint.name}`",
                )
            taken[name] = stored
    return target


def _place(checkpoint: Checkpoint) -> Path | str:
    """Its path, or its address on a hub."""
    return checkpoint.path if checkpoint.snapshot is None else checkpoint.name


def _dtype(target: Target) -> str | None:
    return FLOATS.get(target.tensors[target.names.words].dtype)


_Opened = Mapping[str, Opened]
"""Weight files by name."""


@dataclass(frozen=True, slots=True)
class _Paired:
    """A tensor of both sides, or of one: what its header says, and where its bytes lie."""

    name: str
    stored: tuple[Stored | None, Stored | None]
    planned: tuple[PlannedTensor | None, PlannedTensor | None]
    is_table: bool
    """Whether its rows are those of the vocabulary."""

    @property
    def headers_only(self) -> TensorDifference:
        """What can be told without reading a byte of the tensors."""
        return TensorDifference(self.name, *self.stored)


def _paired(both: tuple[Target, Target]) -> Iterator[_Paired]:
    """Every tensor of either side, under canonical names and in parts where one side stores it so."""
    layout = _common_layout(both)
    sides = [
        {tensor.name: tensor for tensors in restored(target, layout).values() for tensor in tensors} for target in both
    ]
    for target, side, other in zip(both, sides, reversed(sides), strict=True):
        decoder = target.names.decoder
        if decoder in other and decoder not in side and _ties_decoder(target):
            side[decoder] = side[target.names.words]._replace(name=decoder)
    for name in dict.fromkeys((*sides[0], *sides[1])):
        left, right = (side.get(name) for side in sides)
        is_table = any(target.family.is_sized_by_vocabulary(name) for target in both)
        yield _Paired(name, (_stored(both[0], left), _stored(both[1], right)), (left, right), is_table)


def _common_layout(both: tuple[Target, Target]) -> Layout:
    """Names without prefixes; split as soon as one side has a part, since not every split tensor could be packed."""
    places = {(name, target.family.naming.place_in_packed(name)[0]) for target in both for name in target.tensors}
    split = {whole.split(".")[-2] for name, whole in places if whole != name}
    return Layout("a", has_split_qkv="qkv_proj" in split, has_split_mlp="up_gate_proj" in split)


def _ties_decoder(target: Target) -> bool:
    """Whether the word table serves as the decoder weight as well, which then need not be stored."""
    return target.head is Head.MASKED_LM and target.config.tie_word_embeddings


def _stored(target: Target, planned: PlannedTensor | None) -> Stored | None:
    if planned is None:
        return None
    whole, _ = target.family.naming.place_in_packed(planned.name)
    holders = (planned.name, whole, target.names.words)
    candidates = holders if planned.name == target.names.decoder else holders[:2]
    names = [target.tensors[name].name for name in candidates if name in target.tensors]
    return Stored(names[0] if names else planned.name, planned.dtype, planned.shape)


def _compared(
    both: tuple[Target, Target], pairs: Sequence[_Paired], values: bool, brief: bool, progress: Progress | None
) -> tuple[list[TensorDifference], bool]:
    """The tensors compared, and whether all of them were."""
    meter = _Meter(sum(pair.planned[0].nbytes for pair in pairs if pair.planned[0]), progress)
    tensors = []
    with opened_weights(both[0].checkpoint) as left, opened_weights(both[1].checkpoint) as right:
        for pair in pairs:
            tensors.append(_contents(pair, both, (left, right), values, meter))
            if brief and not tensors[-1].is_equal:
                return tensors, False
    return tensors, True


def _contents(
    paired: _Paired, both: tuple[Target, Target], weights: tuple[_Opened, _Opened], values: bool, meter: _Meter
) -> TensorDifference:
    """The two tensors compared byte by byte, and where they differ and it is asked, number by number."""
    plain, (left, right) = paired.headers_only, paired.planned
    common = _common_rows(left.shape, right.shape) if left and right else None
    if left is None or right is None or common is None:
        meter.finish(left.nbytes if left else 0)
        return plain
    one, other = _extent(left, both[0], weights[0]), _extent(right, both[1], weights[1])
    has_changed = None
    if left.dtype == right.dtype:
        nbytes = min(left.nbytes, right.nbytes)
        has_changed = not has_equal_bytes(one, other, nbytes, meter.advance)
    gap = None
    if values and has_changed is not False and {left.dtype, right.dtype} <= set(ARITHMETIC_DTYPES):
        rows, width = common, math.prod(left.shape[1:])
        is_table = paired.is_table and width <= LARGEST_WIDTH
        gap = measure(one, other, *((rows, width) if is_table else (rows * width, 1)), is_table, meter.advance)
    meter.finish(left.nbytes)
    return replace(plain, common_rows=common if left.shape != right.shape else None, has_changed=has_changed, gap=gap)


def _common_rows(one: tuple[int, ...], other: tuple[int, ...]) -> int | None:
    """How many leading rows two shapes share: [256, 32] and [160, 32] share 160. None where rows are not alike."""
    if one == other:
        return one[0] if one else 1
    if len(one) == len(other) and one[1:] == other[1:]:
        return min(one[0], other[0])
    return None


def _extent(tensor: PlannedTensor, target: Target, weights: _Opened) -> Extent:
    """Where the tensor lies: its parts, if it was put together of any, lie one behind the other in one file."""
    first = next(piece for piece in tensor.pieces if isinstance(piece, CopyRange))
    name = f"{target.checkpoint.name}/{first.source}"
    return Extent(weights[first.source], name, first.begin, tensor.dtype)


class _Meter:
    """Tells a progress bar how many bytes of the left checkpoint have been compared."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.progress = total, progress
        self.before = self.now = 0

    def advance(self, nbytes: int) -> None:
        """So many bytes more; a tensor read twice may go beyond its size, until it is finished."""
        self.now += nbytes
        self._tell(self.now)

    def finish(self, nbytes: int) -> None:
        """A tensor of so many bytes is done."""
        self.before = self.now = self.before + nbytes
        self._tell(self.now)

    def _tell(self, done: int) -> None:
        if self.progress is not None and self.total:
            self.progress(min(done, self.total), self.total)
