"""What the numbers of a tensor are like: plain values, made by `weights` from one pass, judged by `values`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """What the `count` numbers of a tensor are like, or of some of its blocks.

    `largest` is the largest finite magnitude; `subnormals` are too small for the dtype's full precision, `overflowing`
    finite but infinite in float16. `first_nan` and `first_infinity` are indices into the flattened tensor, -1 for none.
    `constant` holds the bits that all numbers share, or None. `widest` is the largest Euclidean norm of a row, for a
    vector its own; `norms` those of all rows, float32, of the table that they were asked for.
    """

    count: int = 0
    largest: float = 0.0
    nans: int = 0
    infinities: int = 0
    subnormals: int = 0
    overflowing: int = 0
    first_nan: int = -1
    first_infinity: int = -1
    constant: int | None = None
    widest: float = 0.0
    norms: Array | None = None

    def merge(self, later: TensorStatistics) -> TensorStatistics:
        """The statistics of these numbers and of later ones of the same tensor."""
        if not self.count:
            return replace(later, norms=self.norms)
        return TensorStatistics(
            self.count + later.count,
            max(self.largest, later.largest),
            self.nans + later.nans,
            self.infinities + later.infinities,
            self.subnormals + later.subnormals,
            self.overflowing + later.overflowing,
            self.first_nan if self.first_nan >= 0 else later.first_nan,
            self.first_infinity if self.first_infinity >= 0 else later.first_infinity,
            self.constant if self.constant == later.constant else None,
            max(self.widest, later.widest),
            self.norms,
        )

    def zero_rows(self, most: int, besides: int | None = None) -> tuple[int, list[int]]:
        """How many rows but `besides` are all zero in the table whose norms were asked for, and the first `most`."""
        if self.norms is None:
            return 0, []
        is_zero = self.norms == 0
        if besides is not None and 0 <= besides < len(is_zero):
            is_zero[besides] = False
        count, rows, at = int(is_zero.sum()), [], 0
        for _ in range(min(most, count)):
            at += int(is_zero[at:].argmax())
            rows.append(at)
            at += 1
        return count, rows

    def median_norm(self) -> float:
        """The median norm of the rows that are not zero; 0.0 without any."""
        import numpy as np

        positive = self.norms[self.norms > 0] if self.norms is not None else ()
        return float(np.median(positive, overwrite_input=True)) if len(positive) else 0.0

    def far_rows(self, median: float, times: float, most: int) -> tuple[int, list[tuple[int, float]]]:
        """How many rows that are not zero have norms beyond `times` the median or below that part of it, and (row,
        norm) of the `most` that are farthest off.
        """
        import numpy as np

        if self.norms is None:
            return 0, []
        far = (((self.norms < median / times) & (self.norms > 0)) | (self.norms > median * times)).nonzero()[0]
        nearness = -np.abs(np.log(self.norms[far] / median))
        order = nearness.argsort(kind="stable")[:most]
        return len(far), [(int(row), float(self.norms[row])) for row in far[order]]
