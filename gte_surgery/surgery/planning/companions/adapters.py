"""Adapters that lie beside the weights follow the rows of the tables that they hold a copy, a column or a row of.

What holds nothing of the vocabulary fits as before; what is of another size than the base is named, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gte_surgery.checkpoint.adapters import INDICES, Adapter, adapters_of
from gte_surgery.checkpoint.headers.header import render_header
from gte_surgery.checkpoint.json.strict import replace_members
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.shards import StoredTensor
from gte_surgery.gte.wording import counted
from gte_surgery.surgery.pieces.piece import CopyRange, Piece, Table, element_bytes
from gte_surgery.surgery.planning.parts.rewrite import permissions, text_file
from gte_surgery.surgery.planning.parts.row_changes import RowChange
from gte_surgery.surgery.planning.parts.tables import RowSource, table_of
from gte_surgery.surgery.planning.plan import PlainFile, Plan, SourceFile
from gte_surgery.surgery.planning.target import Target


def with_adapters(plan: Plan, target: Target, changes: Sequence[RowChange]) -> Plan:
    """The plan with the adapters in the checkpoint made to follow the rows of the vocabulary; the same plan where none
    moves.
    """
    if plan.is_empty or target.tensors[target.names.words].shape not in [change.shape for change in changes]:
        return plan
    for adapter in adapters_of(target.checkpoint):
        plan = _with_adapter(plan, target, adapter, changes)
    return plan


def _column(tensor: StoredTensor, row: int) -> Table:
    """One row of a table that has a column for each id, as a table of single numbers."""
    begin = tensor.file_begin + row * tensor.shape[1] * element_bytes(tensor.dtype)
    return Table(tensor.source, begin, tensor.shape[1], 1, tensor.dtype)


def _with_adapter(plan: Plan, target: Target, adapter: Adapter, changes: Sequence[RowChange]) -> Plan:
    name = shown(adapter.shard.file.name)
    stale = adapter.misfit(changes[0].shape[0])
    if stale:
        return plan.besides(meaning=[f"{name} does not fit this base and stays so: {stale}"])
    after = changes[0].origins.new_ids() if adapter.token_ids else {}
    moved = dict(_moved(adapter, changes, after))
    if not moved:
        return plan
    planned = [(each.name, each.dtype, *moved.get(each.name, _copied(each))) for each in adapter.tensors.values()]
    kept = [entry for entry in planned if 0 not in entry[2]]
    metadata = adapter.shard.header.metadata if adapter.shard.header else None
    header = render_header([(tensor, dtype, shape) for tensor, dtype, shape, _ in kept], metadata)
    file = adapter.shard.file
    pieces = tuple(piece for _, _, _, pieces in kept for piece in pieces)
    written = [PlainFile(file.name, permissions(file.mode), header, pieces)]
    members = _indices(adapter, after)
    texts = [text_file(target.checkpoint, adapter.config, replace_members(adapter.config, members))] if members else []
    told = f"{name}, an adapter, follows: rows of the vocabulary in {counted(len(moved), 'tensor')}"
    return plan.besides([*written, *texts], [SourceFile.of(file)], meaning=[told])


Planned = tuple[tuple[int, ...], list[Piece]]
"""Shape and pieces of a tensor."""


def _moved(adapter: Adapter, changes: Sequence[RowChange], after: Mapping[int, int]) -> Iterator[tuple[str, Planned]]:
    """The tensors of an adapter that hold anything by id, as they will be; `after` has the new id of each old one."""
    words, deltas, columns = changes[0], adapter.deltas(), {tensor.name for tensor in adapter.columns()}
    for tensor in adapter.tensors.values():
        change = next((change for change in changes if change.shape == tensor.shape), None)
        if tensor.name in deltas:
            places = [at for at, old in enumerate(deltas[tensor.name]) if old in after]
            shape = (len(places), *tensor.shape[1:])
            yield tensor.name, (shape, [RowSource(table_of(tensor)).kept(at, at + 1) for at in places])
        elif tensor.name in columns and tensor.shape[1:] == words.shape[:1]:
            pieces: list[Piece] = []
            for row in range(tensor.shape[0]):
                pieces += RowSource(_column(tensor, row)).chosen(words.origins, words.rows, {})
            yield tensor.name, ((tensor.shape[0], words.rows), pieces)
        elif change is not None:
            rows = RowSource(table_of(tensor))
            zeroed = {row: rows.zeros(row, row + 1) for row in change.zeroed}
            shape = (change.rows, *tensor.shape[1:])
            yield tensor.name, (shape, [*rows.chosen(change.origins, change.rows, zeroed)])


def _copied(tensor: StoredTensor) -> Planned:
    begin = tensor.file_begin
    return tensor.shape, [CopyRange(tensor.source, begin, begin + tensor.nbytes)] if tensor.nbytes else []


def _indices(adapter: Adapter, after: Mapping[int, int]) -> dict[str, object]:
    """`trainable_token_indices` in the new ids, in the form in which it was; nothing where they stay the same."""
    ids = {module: [after[old] for old in known if old in after] for module, known in adapter.token_ids.items()}
    if not ids or ids == adapter.token_ids:
        return {}
    return {INDICES: ids if isinstance(adapter.values.get(INDICES), dict) else ids[""]}
