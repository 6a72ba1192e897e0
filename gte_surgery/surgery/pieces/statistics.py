"""Measures whole tables, mean and covariance of their rows, in one streamed pass, and settles the pieces that ask for
them. Sums are exact within a block of rows, whatever order BLAS takes (see `correlation`), and blocks are added in
their order: the same bits on every machine, for any number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gte_surgery.errors import RefusedError
from gte_surgery.surgery.pieces.correlation import EXACT_BITS
from gte_surgery.surgery.pieces.evaluate import Read, decode, encode
from gte_surgery.surgery.pieces.piece import (
    AddRow,
    Cast,
    Correlated,
    Fill,
    LikeTable,
    Moments,
    Overlay,
    Piece,
    Table,
    within,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    import numpy as np

    from gte_surgery.surgery.pieces.correlation import Array

ROWS = 1024
"""Rows of a block."""

_SUM_BITS = 42  # 2^10 rows of whole numbers up to 2^42: sums up to 2^52
_PRODUCT_BITS = 21  # products up to 2^42, sums of 2^10 of them up to 2^52
_LEAST_EXPONENT = -400  # so that steps, and their squares, stay normal numbers
_AHEAD = 2  # blocks at work at a time, each some 15 MB


def settle(pieces: Iterable[Piece], read: Read, pool: Executor) -> tuple[Piece, ...]:
    """The pieces, with every `LikeTable` in them turned into a piece that holds what was measured.

    Each table is read once. Raises RefusedError for a table that holds NaN or infinity, and what `read` raises.
    """
    pieces = tuple(pieces)
    wanted = tables_to_measure(pieces)
    measured = {table: measure(table, read, pool, has_covariance) for table, has_covariance in wanted.items()}
    return tuple(_settled(piece, measured) for piece in pieces) if measured else pieces


def tables_to_measure(pieces: Iterable[Piece]) -> dict[Table, bool]:
    """The tables of which `LikeTable`s among the pieces speak, and whether their covariance is wanted."""
    wanted: dict[Table, bool] = {}
    for like in (part for piece in pieces for part in within(piece)):
        if isinstance(like, LikeTable):
            wanted[like.table] = wanted.get(like.table, False) or like.is_drawn
    return wanted


def refuse_unmeasurable(pieces: Iterable[Piece], read: Read) -> None:
    """Raises RefusedError where `settle` would because a table holds NaN or infinity; reads each table once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AHEAD) as pool:
        for table in tables_to_measure(pieces):
            measure(table, read, pool, False)


def measure(table: Table, read: Read, pool: Executor, has_covariance: bool) -> Moments:
    """The mean of the rows and, if wanted, their covariance (divided by rows − 1, as numpy.cov does), factorised."""
    from gte_surgery.surgery.pieces.correlation import moments_of

    return moments_of(*mean_and_covariance(table, read, pool, has_covariance))


def mean_and_covariance(table: Table, read: Read, pool: Executor, has_covariance: bool) -> tuple[Array, Array | None]:
    """float64, shapes (width,) and (width, width); None for a covariance that is not wanted.

    Rows are taken relative to the mean of the first block, so that a common offset costs no precision.
    """
    import numpy as np

    zero = np.zeros(table.width)
    origin = _sums(table, 0, zero, read, False)[0] / min(ROWS, table.rows)
    total, products = zero, np.zeros((table.width, table.width) if has_covariance else ())
    with np.errstate(over="ignore", invalid="ignore"):
        for sums, block in _blocks(table, origin, read, pool, has_covariance):
            total = total + sums
            products += block
    if not (np.isfinite(total).all() and np.isfinite(products).all()):
        raise RefusedError(f"{table.source}: the rows are too large for their mean and covariance to be computed")
    mean = origin + total / table.rows
    if not has_covariance:
        return mean, None
    products -= np.multiply.outer(total, total / table.rows)
    return mean, products / max(1, table.rows - 1)


def _blocks(
    table: Table, origin: Array, read: Read, pool: Executor, has_products: bool
) -> Iterator[tuple[Array, Array]]:
    """`_sums` of all blocks in their order, the next ones being made while one is used."""
    pending: deque[Future[tuple[Array, Array]]] = deque()
    for first in range(0, table.rows, ROWS):
        pending.append(pool.submit(_sums, table, first, origin, read, has_products))
        if len(pending) > _AHEAD:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _sums(table: Table, first: int, origin: Array, read: Read, has_products: bool) -> tuple[Array, Array]:
    """Of the block that begins at row `first`, relative to `origin`: the sum of its rows, and if wanted the sum of
    their outer products; exact for numbers rounded to 42 and to 21 bits of the largest in their column.
    """
    import numpy as np

    count = min(ROWS, table.rows - first)
    raw = read(table.source, table.begin + first * table.row_bytes, count * table.row_bytes)
    stored = decode(raw, table.dtype).reshape(count, table.width)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.maximum(stored.max(axis=0) - origin, origin - stored.min(axis=0))
        _refuse_no_number(table, first, stored, largest)
        rows: Array = np.subtract(stored, origin, dtype=np.float64)
        exponents = np.maximum(np.frexp(largest)[1], _LEAST_EXPONENT)
        _round(rows, exponents - _SUM_BITS)
        sums = np.ones(count) @ rows
        if not has_products:
            return sums, np.zeros(())
        _round(rows, exponents - _PRODUCT_BITS)
        return sums, rows.T @ rows


def _round(rows: Array, exponents: np.ndarray[Any, Any]) -> None:
    """Rounds each column, in place, to multiples of 2^exponent: a number so large is added that this is its last bit,
    and taken away again.
    """
    import numpy as np

    large = np.ldexp(1.5, EXACT_BITS - 1 + exponents)
    rows += large
    rows -= large


def _refuse_no_number(table: Table, first: int, stored: np.ndarray[Any, Any], largest: Array) -> None:
    """Raises RefusedError when the block that begins at row `first` holds NaN or infinity, as its `largest` tell."""
    import numpy as np

    if np.isfinite(largest).all():
        return
    bad = np.flatnonzero(~np.isfinite(stored).all(axis=1))
    if bad.size:
        raise RefusedError(
            f"{table.source}: row {first + int(bad[0])} of the table holds NaN or infinity, so that there is no mean",
            "use --init normal or --init zeros",
        )


def _settled(piece: Piece, measured: Mapping[Table, Moments]) -> Piece:
    match piece:
        case LikeTable() if piece.is_drawn:
            return Correlated(piece.noise, measured[piece.table], piece.table.dtype)
        case LikeTable():
            return Fill(_mean_row(piece.table, measured[piece.table]), piece.noise.size // piece.table.width)
        case AddRow() | Cast():
            return piece._replace(piece=_settled(piece.piece, measured))
        case Overlay():
            return piece._replace(under=_settled(piece.under, measured), over=_settled(piece.over, measured))
        case _:
            return piece


def _mean_row(table: Table, moments: Moments) -> bytes:
    import numpy as np

    return encode(np.frombuffer(moments.mean, "<f8"), table.dtype)
