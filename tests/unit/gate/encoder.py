"""The encoder of a project under a gate, as the text of its module: right-padded with 1, at most 128 ids."""

from __future__ import annotations

ENCODER = """
def encode(sequences):
    rows = [[int(number) for number in ids] for ids in sequences]
    if any(not row or len(row) > 128 or 1 in row for row in rows):
        raise ValueError("cannot be encoded")
    width = max(map(len, rows))
    return {
        "input_ids": [row + [1] * (width - len(row)) for row in rows],
        "attention_mask": [[1] * len(row) + [0] * (width - len(row)) for row in rows],
    }
"""
