"""A portrait of a checkpoint's numbers for the page that `--html` writes: norms of the embedding rows, spread of the
weights layer by layer, wavelengths of the rope.

One pass over the weights in blocks, on several threads; nothing is judged. Needs numpy, imported when called.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gte_surgery.checkpoint.directory import Checkpoint, StoredTensor
from gte_surgery.checkpoint.files import Progress, adding_up
from gte_surgery.checkpoint.shards import read_rows, row_nbytes
from gte_surgery.checks.subject import Subject
from gte_surgery.gte.rope import inv_freq
from gte_surgery.surgery.pieces.evaluate import ARITHMETIC_DTYPES, decode

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np

    Array = np.ndarray[Any, Any]

BINS = 60
_BLOCK = 1 << 20
_MOST_ROWS = 1 << 22


@dataclass(frozen=True, slots=True)
class RowNorms:
    """Euclidean norms of the word embeddings' rows.

    `counts[i]` rows have a norm in [edges[i], edges[i + 1]), the last bin included its end; rows of norm zero are not
    among them but counted in `zeros`, those that are not finite in `not_finite`. `pad` is the pad id, `pad_norm` its
    row's norm; `median` is that of the rows counted in bins.
    """

    rows: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    zeros: int
    first_zeros: tuple[int, ...]
    not_finite: int
    median: float
    pad: int | None
    pad_norm: float | None


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviation of one kind of matrix ("qkv", "down", …) in each layer; None where absent or not finite."""

    kind: str
    by_layer: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Portrait:
    """What `--html` draws. `wavelengths` are those of the rope's pairs in tokens, `positions` the most that fit."""

    norms: RowNorms | None
    spreads: tuple[Spread, ...]
    wavelengths: tuple[float, ...]
    positions: int | None


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of the numbers of one block: how many, their sum, the sum of their squares; and its rows' norms if asked for."""

    count: int
    total: float
    squares: float
    norms: Array | None


def portray(checkpoint: Checkpoint, progress: Progress | None = None) -> Portrait:
    """The portrait of a checkpoint, sound or not; parts that it does not allow are None or empty.

    `progress` is told (bytes read, bytes to read). Raises OSError, and EOFError when a file has become shorter.
    """
    from concurrent.futures import ThreadPoolExecutor

    subject = Subject(checkpoint)
    words = subject.stored(subject.names.words)
    matrices = {canonical: tensor for canonical in subject.canonical if (tensor := _matrix(subject, canonical))}
    table = words if words is not None and _is_readable(words) and words.shape[0] <= _MOST_ROWS else None
    tell = adding_up(progress, sum(tensor.nbytes for tensor in (*matrices.values(), *([table] if table else ()))))
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        norms = [sums.norms for sums in _measured(table, pool, tell, True) if sums.norms is not None] if table else []
        deviations = {name: _deviation(_measured(tensor, pool, tell)) for name, tensor in matrices.items()}
    config = subject.config_or_none
    return Portrait(
        norms=_row_norms(norms, config.pad_token_id if config else None) if table else None,
        spreads=tuple(_spreads(subject.family.matrix, deviations)),
        wavelengths=_wavelengths(subject),
        positions=config.max_position_embeddings if config else None,
    )


def _matrix(subject: Subject, canonical: str) -> StoredTensor | None:
    tensor = subject.stored(canonical) if subject.family.matrix.fullmatch(canonical) else None
    return tensor if tensor is not None and _is_readable(tensor) else None


def _is_readable(tensor: StoredTensor) -> bool:
    return len(tensor.shape) == 2 and tensor.nbytes > 0 and tensor.dtype in ARITHMETIC_DTYPES


def _measured(
    tensor: StoredTensor, pool: Executor, tell: Callable[[int], None], has_norms: bool = False
) -> Iterator[_Sums]:
    """The sums of each block of rows, in order."""
    step = max(1, _BLOCK // row_nbytes(tensor))
    firsts = range(0, tensor.shape[0], step)

    def look(first: int) -> tuple[int, _Sums]:
        raw = read_rows(tensor, first, min(step, tensor.shape[0] - first))
        return len(raw), _sums(raw, tensor, has_norms)

    for nbytes, sums in pool.map(look, firsts):
        tell(nbytes)
        yield sums


def _sums(raw: bytes, tensor: StoredTensor, has_norms: bool) -> _Sums:
    import numpy as np

    table = decode(raw, tensor.dtype).reshape(-1, tensor.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("rc,rc->r", table, table, dtype=np.float64)
        total = float(table.sum(dtype=np.float64))
        norms = np.sqrt(squares) if has_norms else None
        return _Sums(table.size, total, float(squares.sum()), norms)


def _deviation(blocks: Iterator[_Sums]) -> float | None:
    count, total, squares = 0, 0.0, 0.0
    for block in blocks:
        count, total, squares = count + block.count, total + block.total, squares + block.squares
    variance = squares / count - (total / count) ** 2
    return math.sqrt(max(0.0, variance)) if math.isfinite(variance) else None


def _row_norms(blocks: Sequence[Array], pad: int | None) -> RowNorms:
    import numpy as np

    values = np.concatenate(blocks)
    is_finite = np.isfinite(values)
    positive = values[is_finite & (values > 0)]
    counts, edges = np.histogram(positive, bins=BINS) if positive.size else (np.zeros(0, int), np.zeros(0))
    zeros = np.flatnonzero(values == 0)
    pad_norm = float(values[pad]) if pad is not None and 0 <= pad < len(values) else None
    return RowNorms(
        rows=len(values),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        zeros=len(zeros),
        first_zeros=tuple(zeros[:5].tolist()),
        not_finite=int((~is_finite).sum()),
        median=float(np.median(positive)) if positive.size else 0.0,
        pad=pad,
        pad_norm=pad_norm,
    )


def _spreads(matrix: re.Pattern[str], deviations: Mapping[str, float | None]) -> Iterator[Spread]:
    found: dict[str, dict[int, float | None]] = {}
    for canonical, deviation in deviations.items():
        match = matrix.fullmatch(canonical)
        if match is not None:
            found.setdefault(match[2], {})[int(match[1])] = deviation
    for kind, layers in sorted(found.items()):
        yield Spread(kind, tuple(layers.get(layer) for layer in range(max(layers) + 1)))


def _wavelengths(subject: Subject) -> tuple[float, ...]:
    config = subject.config_or_none
    if config is None or not config.rope.has_frequencies or config.head_size < 2:
        return ()
    frequencies = inv_freq(config.rope, config.head_size)
    return tuple(2 * math.pi / frequency for frequency in frequencies) if min(frequencies) > 0 else ()
