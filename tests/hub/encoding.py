"""An encoder for `fuzz`: the ids that it is given, with CLS in front, cut and padded."""

from __future__ import annotations

from collections.abc import Sequence


def encoder(sequences: Sequence[Sequence[int]]) -> dict[str, list[list[int]]]:
    """A batch as the contract wants it."""
    rows = [[0, *(int(number) for number in sequence)][:8] for sequence in sequences]
    longest = max(map(len, rows))
    ids = [row + [1] * (longest - len(row)) for row in rows]
    return {"input_ids": ids, "attention_mask": [[1] * len(row) + [0] * (longest - len(row)) for row in rows]}
