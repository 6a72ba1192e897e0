"""Turns standard draws into draws with a mean and a covariance: the Cholesky factor, and the product with it.

Matrix products run through BLAS, whose order of summing differs between machines and numbers of threads. So every
factor is first rounded to whole multiples of a step, few enough that float64 holds each partial sum exactly: then the
order cannot matter, and the result is the same to the bit everywhere. Everything else is element by element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gte_surgery.surgery.pieces.piece import Moments

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

EXACT_BITS = 53
"""Whole numbers up to 2^53 are exact in float64."""

_NOISE_BITS = 20
_NOISE_BOUND = 8  # a standard draw beyond eight deviations does not occur in float32's ziggurat but once in 10^15
_NOISE_STEP = _NOISE_BOUND / 2**_NOISE_BITS
_JITTER = 1e-12  # of the mean variance; ten times more at each further try


def moments_of(mean: Array, covariance: Array | None) -> Moments:
    """The moments that `correlated` takes, from a mean and a covariance matrix; without the latter only the mean."""
    import numpy as np

    if covariance is None:
        return Moments(mean.astype("<f8").tobytes())
    factor = cholesky(covariance)
    bits = EXACT_BITS - _NOISE_BITS - int(len(mean) - 1).bit_length()
    exponents = np.frexp(np.abs(factor).max(axis=1))[1]
    whole = np.rint(factor * np.ldexp(1.0, bits - exponents)[:, None])
    steps = np.ldexp(_NOISE_STEP, exponents - bits)
    return Moments(*(part.astype("<f8").tobytes() for part in (mean, whole, steps)))


def correlated(moments: Moments, noise: np.ndarray[Any, Any]) -> Array:
    """mean + L·z for each row z of the standard draws `noise`: rows of N(mean, L·Lᵀ), float64, shape (rows, width)."""
    import numpy as np

    mean, steps = np.frombuffer(moments.mean, "<f8"), np.frombuffer(moments.steps, "<f8")
    factor = np.frombuffer(moments.factor, "<f8").reshape(mean.size, mean.size)
    whole = np.rint(noise.reshape(-1, mean.size).clip(-_NOISE_BOUND, _NOISE_BOUND) / np.float64(_NOISE_STEP))
    rows: Array = whole @ factor.T
    rows *= steps
    rows += mean
    return rows


def cholesky(covariance: Array) -> Array:
    """The lower triangular L with L·Lᵀ = covariance (+ jitter on the diagonal where it is not positive definite).

    Without jitter first, then with 1e-12 of the mean variance and ten times more at each further try. A matrix of zeros
    has the factor zero.
    """
    import numpy as np

    mean_variance = float(np.diagonal(covariance).sum()) / len(covariance)
    jitter = 0.0
    while mean_variance > 0:
        factor = _cholesky(covariance + np.diag(np.full(len(covariance), jitter)))
        if factor is not None:
            return factor
        jitter = 10 * jitter or _JITTER * mean_variance
    return np.zeros_like(covariance)


def _cholesky(matrix: Array) -> Array | None:
    """Column after column, each taken out of the rest [Golub & Van Loan, algorithm 4.2.1]; None at a pivot of zero."""
    import numpy as np

    for at in range(len(matrix)):
        pivot = matrix[at, at]
        if not pivot > 0:
            return None
        column = matrix[at:, at] / np.sqrt(pivot)
        matrix[at:, at] = column
        matrix[at + 1 :, at + 1 :] -= np.multiply.outer(column[1:], column[1:])
    return np.tril(matrix)
