"""One pass over the weights: every block of every tensor is looked at once, on a few threads, in constant memory.

How a block is looked at is for `block_reader`; what is bad, is for `values` to say. Needs numpy, imported when called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checkpoint.files import Progress
from gte_surgery.checks.block_reader import FORMATS, Block, BlockReader, blocks_of, row_width
from gte_surgery.checks.statistics import TensorStatistics

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    import numpy as np

MOST_ROWS = 1 << 22
"""The norms of so many rows are kept, 16 MiB; a table of more has none."""
_BATCH = 64
"""Blocks that a thread takes at a time."""
_MOST_THREADS = 4


def read_statistics(
    tensors: Sequence[StoredTensor], table: str = "", progress: Progress | None = None
) -> Mapping[str, TensorStatistics]:
    """The statistics of each tensor of a floating-point dtype that is not empty, by stored name.

    `table` names the tensor whose row norms are wanted. Reads the files from front to back, once, on up to 4 threads.
    Raises OSError, and EOFError when a file has become shorter.
    """
    from concurrent.futures import ThreadPoolExecutor

    floats = [tensor for tensor in tensors if tensor.dtype in FORMATS and tensor.nbytes]
    floats.sort(key=lambda tensor: (tensor.shard.file.name, tensor.file_begin))
    found = {tensor.name: TensorStatistics(norms=_room_for_norms(tensor, table)) for tensor in floats}
    total, done = sum(tensor.nbytes for tensor in floats), 0
    reader = BlockReader({name: each.norms for name, each in found.items() if each.norms is not None})
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        for batch, seen in _in_order(pool, reader.look, _batches(floats)):
            for block, statistics in zip(batch, seen, strict=True):
                found[block.tensor.name] = found[block.tensor.name].merge(statistics)
                done += (block.end - block.begin) * FORMATS[block.tensor.dtype].size
            if progress is not None:
                progress(done, total)
    return found


def _in_order(
    pool: Executor, look: Callable[[list[Block]], list[TensorStatistics]], batches: Iterable[list[Block]]
) -> Iterator[tuple[list[Block], list[TensorStatistics]]]:
    """Each batch with what `look` says of it, in order; a few of them are under way at a time."""
    under_way: list[tuple[list[Block], Future[list[TensorStatistics]]]] = []
    for batch in batches:
        under_way.append((batch, pool.submit(look, batch)))
        if len(under_way) > 2 * _MOST_THREADS:
            first, future = under_way.pop(0)
            yield first, future.result()
    yield from ((batch, future.result()) for batch, future in under_way)


def _batches(tensors: Iterable[StoredTensor]) -> Iterator[list[Block]]:
    batch: list[Block] = []
    for tensor in tensors:
        for block in blocks_of(tensor):
            batch.append(block)
            if len(batch) == _BATCH:
                yield batch
                batch = []
    yield batch


def _room_for_norms(tensor: StoredTensor, table: str) -> np.ndarray[Any, Any] | None:
    import numpy as np

    is_wanted = tensor.name == table and len(tensor.shape) == 2 and row_width(tensor) and tensor.shape[0] <= MOST_ROWS
    return np.zeros(tensor.shape[0], np.float32) if is_wanted else None
