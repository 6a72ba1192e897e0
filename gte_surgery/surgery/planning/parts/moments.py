"""An optimizer's file whose moments follow the rows of the tables that they are of, as the pieces of a new file.

An optimizer knows its parameters by number alone. Those whose moments have the shape of a vocabulary-sized tensor are
that tensor, as long as no other tensor of the model has that shape; where it is not certain, the surgery is refused.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from gte_surgery.checkpoint.files import FileEntry, opened
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.training.archive import Record, frame
from gte_surgery.checkpoint.training.optimizer import Moment, OptimizerState, read_optimizer
from gte_surgery.checkpoint.training.unpickle import Whole, rewritten
from gte_surgery.errors import CheckpointError
from gte_surgery.surgery.pieces.cutting import merge, split
from gte_surgery.surgery.pieces.evaluate import Read, evaluate
from gte_surgery.surgery.pieces.piece import CopyRange, Fill, Piece, Table
from gte_surgery.surgery.planning.parts.row_changes import RowChange
from gte_surgery.surgery.planning.parts.tables import RowSource
from gte_surgery.surgery.planning.plan import PlainFile
from gte_surgery.vocabulary.row_map import RowMap

PART = 1 << 18
"""Bytes whose checksum is taken at a time."""
_EIGHT_BIT = frozenset(("state1", "state2", "absmax1", "absmax2", "qmap1", "qmap2"))
"""Moments in blocks of bytes [bitsandbytes 0.48, optim/optimizer.py, Optimizer8bit]."""


def followed(
    file: FileEntry, changes: Sequence[RowChange], others: Collection[tuple[int, ...]]
) -> tuple[PlainFile, int] | None:
    """The optimizer's `file` after the rows have moved, and of how many parameters it held moments that moved; None
    when it keeps none of theirs. `others` are the shapes of every other tensor of the model as a parameter.

    Raises CheckpointError when the file cannot be read, and where it is not certain which parameter is which tensor.
    """
    state = read_optimizer(file)
    moved = dict(_moved(state, changes, others))
    if not moved:
        return None
    planned = PlainFile(file.name, file.mode & 0o777, b"", tuple(_archive(state, moved)))
    return planned, len({moment.parameter for moment, _ in moved.values()})


def _moved(
    state: OptimizerState, changes: Sequence[RowChange], others: Collection[tuple[int, ...]]
) -> Iterator[tuple[str, tuple[Moment, RowChange]]]:
    """(record name, (moment, change)) of every moment that has to follow. Raises CheckpointError where it is unsure."""
    name = shown(state.file.name)
    by_parameter: dict[int, list[Moment]] = {}
    for moment in state.moments:
        by_parameter.setdefault(moment.parameter, []).append(moment)
    shapes = {number: _shape_of(moments, name) for number, moments in by_parameter.items()}
    _refuse_strangers(shapes.values(), changes, others, name)
    for change in changes:
        rightful = sum(each.shape == change.shape for each in changes)
        numbers = [number for number, shape in shapes.items() if shape == change.shape]
        if change.shape in others or len(numbers) > rightful:
            raise CheckpointError(f"{name}: more than one parameter has the shape {list(change.shape)} of the table")
        for moment in (moment for number in numbers for moment in by_parameter[number]):
            if moment.shape and moment.shape[0] == change.shape[0] and _follows(moment, change):
                yield moment.record.name, (moment, change)


def _follows(moment: Moment, change: RowChange) -> bool:
    """Whether a moment has a row for each row of its parameter; a factored second moment has columns as well, which
    stay.
    """
    return not moment.key.endswith(("_col", "col_var")) or len(change.shape) == 1


def _shape_of(moments: Sequence[Moment], name: str) -> tuple[int, ...]:
    """The shape of the parameter that these are the moments of; () where they are single numbers only."""
    kept = {moment.key: moment for moment in moments if moment.shape}
    if strange := sorted(_EIGHT_BIT & kept.keys()):
        raise CheckpointError(f"{name}: `{strange[0]}`: 8-bit moments are stored in blocks that cross rows")
    for moment in kept.values():
        if not moment.tensor.is_whole:
            raise CheckpointError(f"{name}: `{shown(moment.key)}` of parameter {moment.parameter} is a view of another")
    rows = next((kept[key].shape for key in ("exp_avg_sq_row", "row_var") if key in kept), None)
    columns = next((kept[key].shape for key in ("exp_avg_sq_col", "col_var") if key in kept), None)
    if rows is not None and columns is not None:
        return (rows[0], columns[-1])
    found = {moment.shape for moment in kept.values()}
    if len(found) > 1:
        raise CheckpointError(f"{name}: the moments of parameter {moments[0].parameter} have shapes of their own")
    return found.pop() if found else ()


def _refuse_strangers(
    shapes: Iterable[tuple[int, ...]],
    changes: Sequence[RowChange],
    others: Collection[tuple[int, ...]],
    name: str,
) -> None:
    """Raises CheckpointError for moments of a table that the model has not, where none are of the table that it has."""
    found = Counter(shape for shape in shapes if shape)
    table = next((change.shape for change in changes if len(change.shape) == 2), None)
    if table is None or found[table]:
        return
    strange = [shape for shape in found if len(shape) == 2 and shape[1] == table[1] and shape not in others]
    if strange:
        raise CheckpointError(
            f"{name}: moments of shape {list(max(strange))}, the model has no such tensor; its table is {list(table)}"
        )


def _archive(state: OptimizerState, moved: Mapping[str, tuple[Moment, RowChange]]) -> Iterator[Piece]:
    """The pieces of the archive anew: frames as bytes, untouched records as ranges, moved moments by their rows."""
    with opened(state.file) as found:

        def read(source: str, offset: int, count: int) -> bytes:
            return found.read(offset, count)

        contents = [(record.name, *_content(state, record, moved, read)) for record in state.records]
    framed, ending = frame([(name, size, crc) for name, size, crc, _ in contents])
    for one, (_, _, _, pieces) in zip(framed, contents, strict=True):
        yield Fill(one.before, 1)
        yield from pieces
        yield Fill(one.behind, 1)
    yield Fill(ending, 1)


def _content(
    state: OptimizerState, record: Record, moved: Mapping[str, tuple[Moment, RowChange]], read: Read
) -> tuple[int, int, list[Piece]]:
    """Size, CRC-32 and pieces of a record as it will be."""
    if record.name == state.pickled.name:
        raw = rewritten(state.pickle, dict(_numbers(moved.values())))
        return len(raw), zlib.crc32(raw), [Fill(raw, 1)]
    if record.name not in moved:
        kept = CopyRange(state.file.name, record.begin, record.begin + record.size)
        return record.size, record.crc, [kept] if record.size else []
    moment, change = moved[record.name]
    pieces = list(merge(_rows(state, moment, change)))
    crc = 0
    for piece in pieces:
        for part in split(piece, PART):
            crc = zlib.crc32(evaluate(part, read), crc)
    return sum(piece.nbytes for piece in pieces), crc, pieces


def _rows(state: OptimizerState, moment: Moment, change: RowChange) -> list[Piece]:
    dtype, begin = moment.tensor.storage.dtype, moment.record.begin
    held, *rest = moment.shape
    source = RowSource(Table(state.file.name, begin, held, math.prod(rest), dtype))
    zeroed: dict[int, Piece] = {row: source.zeros(row, row + 1) for row in change.zeroed}
    return source.chosen(_single(change.origins), change.rows, zeroed)


def _single(origins: RowMap) -> RowMap:
    """The map without the rows that are means of several: a mean of moments is no moment of anything."""
    if len(origins.old) == len(origins.new):
        return origins
    new, old = (array("q", (pair[side] for pair in origins.kept())) for side in (0, 1))
    return replace(origins, new=new, old=old, offsets=range(len(new) + 1))


def _numbers(moved: Iterable[tuple[Moment, RowChange]]) -> Iterator[tuple[tuple[int, int], int]]:
    """The whole numbers of the pickle that change: the length of dimension 0, and the elements of the storage."""
    for moment, change in moved:
        length, count = moment.tensor.shape[0], moment.tensor.storage.count
        if not isinstance(length, Whole) or not isinstance(count, Whole):
            raise CheckpointError(f"`{shown(moment.key)}`: its shape is not written as numbers")
        yield (length.begin, length.end), change.rows
        yield (count.begin, count.end), count // length * change.rows
