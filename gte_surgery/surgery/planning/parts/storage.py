"""The tensors of a network in another layout: renamed, split or packed. Rows of q, then k, then v make a packed qkv;
rows of up, then gate, a packed up_gate. So every change is a rename, a cut or a concatenation on dimension 0, and
never arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gte_surgery.checkpoint.headers.header import DTYPE_BITS
from gte_surgery.errors import RefusedError
from gte_surgery.gte.family import Naming
from gte_surgery.gte.kinds import Layout
from gte_surgery.surgery.pieces.piece import CopyRange
from gte_surgery.surgery.planning.parts.rewrite import copied
from gte_surgery.surgery.planning.plan import PlannedTensor
from gte_surgery.surgery.planning.target import Target


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor under its canonical name, and the shard in which it lies."""

    tensor: PlannedTensor
    shard: str


def restored(target: Target, layout: Layout) -> dict[str, list[PlannedTensor]]:
    """All tensors of the checkpoint as `layout` stores them, by the shard that they lie in (packed ones: their first
    part).

    Tensors that no GTE has keep their names and bytes. Within a shard the order is that of the safetensors package:
    wider dtypes first, then by name. Raises RefusedError for parts that cannot be packed.
    """
    naming = target.family.naming
    parts = {part.tensor.name: part for part in _split(target)}
    shards: dict[str, list[PlannedTensor]] = {shard.file.name: [] for shard in target.checkpoint.shards}
    known = {tensor.name for tensor in target.tensors.values()}
    for name, stored in target.checkpoint.tensors.items():
        if name not in known:
            shards[stored.shard.file.name].append(copied(stored))
    for canonical, group in _groups(parts, naming, layout):
        pieces = tuple(piece for part in group for piece in part.tensor.pieces)
        first = group[0].tensor
        shape = (sum(part.tensor.shape[0] for part in group), *first.shape[1:]) if first.shape else ()
        planned = PlannedTensor(naming.stored(canonical, layout), first.dtype, shape, pieces)
        shards[group[0].shard].append(planned)
    return {shard: in_order(tensors) for shard, tensors in shards.items()}


def storage_changes(before: Layout, after: Layout) -> str:
    """In words what becomes of names and packing."""
    told = []
    if before.letter != after.letter:
        told.append(f"the tensor names change from layout {before.letter} to {after.letter}")
    elif before.prefix != after.prefix:
        told.append(f"the prefix of the tensor names changes from `{before.prefix}` to `{after.prefix}`")
    if before.has_old_norms is not after.has_old_norms:
        told.append("the tensors of norms are called weight and bias instead of gamma and beta")
    if before.has_split_qkv is not after.has_split_qkv:
        told.append(f"q, k and v are {'split' if after.has_split_qkv else 'packed'}")
    if before.has_split_mlp is not after.has_split_mlp:
        told.append(f"up and gate are {'split' if after.has_split_mlp else 'packed'}")
    return ", ".join(told)


def in_order(tensors: Sequence[PlannedTensor]) -> list[PlannedTensor]:
    """In the order of the safetensors package: wider dtypes first, then by name."""
    return sorted(tensors, key=lambda tensor: (-DTYPE_BITS[tensor.dtype], tensor.name))


def _split(target: Target) -> Iterator[_Part]:
    """Every known tensor, the packed ones cut into their parts, under canonical names."""
    for canonical, stored in target.tensors.items():
        whole, shard = copied(stored), stored.shard.file.name
        names = target.family.naming.parts_of(canonical)
        if whole.shape and whole.shape[0] % len(names) == 0:
            rows, width = whole.shape[0] // len(names), whole.nbytes // len(names)
            begin = stored.file_begin
            for number, name in enumerate(names):
                piece = CopyRange(shard, begin + number * width, begin + (number + 1) * width)
                yield _Part(PlannedTensor(name, whole.dtype, (rows, *whole.shape[1:]), (piece,)), shard)
        else:
            yield _Part(PlannedTensor(canonical, whole.dtype, whole.shape, whole.pieces), shard)


def _groups(parts: Mapping[str, _Part], naming: Naming, layout: Layout) -> Iterator[tuple[str, Sequence[_Part]]]:
    """(canonical name, its parts in order) for every tensor that the layout stores."""
    done: set[str] = set()
    for name, part in parts.items():
        whole = _whole_of(name, naming, layout)
        names = naming.parts_of(whole) if whole != name else (name,)
        if whole in done:
            continue
        done.add(whole)
        group = [parts[each] for each in names if each in parts]
        if len(group) != len(names) or len({(each.tensor.dtype, each.tensor.shape[1:]) for each in group}) > 1:
            found = ", ".join(f"{each.tensor.name} {each.tensor.dtype} {list(each.tensor.shape)}" for each in group)
            raise RefusedError(f"`{name}`: cannot be packed into `{whole}`, found {found}", "they must be of one dtype")
        yield whole, group or [part]


def _whole_of(canonical: str, naming: Naming, layout: Layout) -> str:
    """The name of the tensor in which the layout stores a part: the part itself where it stores them split."""
    whole, _ = naming.place_in_packed(canonical)
    is_split = layout.has_split_qkv if ".attention." in whole else layout.has_split_mlp
    return canonical if is_split else whole
