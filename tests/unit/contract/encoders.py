"""Encoders to be fuzzed: a sound one, and the same with one mistake each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

VOCAB, PAD, LONGEST = 1000, 0, 32

Batch = dict[str, np.ndarray]


def sound(sequences: Sequence[Any]) -> Batch:
    return padded(accepted(sequences))


def id_of_vocab_size_on_a_rare_branch(sequences: Sequence[Any]) -> Batch:
    rows = accepted(sequences)
    for row in rows:
        if len(row) > 5 and row[-1] == VOCAB - 1:
            row[0] = VOCAB
    return padded(rows)


def mask_off_by_one_at_max_length(sequences: Sequence[Any]) -> Batch:
    batch = padded(accepted(sequences))
    if batch["attention_mask"].shape[1] == LONGEST:
        batch["attention_mask"][:, -1] = 0
    return batch


def pad_not_masked(sequences: Sequence[Any]) -> Batch:
    batch = padded(accepted(sequences))
    batch["attention_mask"][:] = 1
    return batch


def silent_truncation(sequences: Sequence[Any]) -> Batch:
    return padded(accepted([list(each)[:LONGEST] for each in sequences]))


def int32_output(sequences: Sequence[Any]) -> Batch:
    batch = padded(accepted(sequences))
    return {name: value.astype(np.int32) for name, value in batch.items()}


def rows_in_another_order(sequences: Sequence[Any]) -> Batch:
    return padded(sorted(accepted(sequences)))


def one_row_too_few(sequences: Sequence[Any]) -> Batch:
    rows = accepted(sequences)
    return padded(rows[:3])


def index_error_for_numpy_integers(sequences: Sequence[Any]) -> Batch:
    for each in sequences:
        if any(isinstance(number, np.integer) for number in each):
            raise IndexError("only integers")
    return sound(sequences)


class Stateful:
    """Numbers its calls in the first token of a row."""

    def __init__(self) -> None:
        self.calls = 0

    def encode_batch(self, sequences: Sequence[Any], *, add_special_tokens: bool, max_length: int) -> Batch:
        self.calls += 1
        rows = [row[:max_length] for row in accepted([each[:max_length] for each in sequences])]
        return padded([[1 + self.calls % 2, *row][:max_length] for row in rows])


class Truncating:
    """Cuts at max_length, as it is asked to."""

    def encode_batch(self, sequences: Sequence[Any], *, add_special_tokens: bool, max_length: int) -> Batch:
        return padded(accepted([each[:max_length] for each in sequences]))


def accepted(sequences: Sequence[Any]) -> list[list[int]]:
    rows = [[int(number) for number in each] for each in sequences]
    if any(not row or len(row) > LONGEST or PAD in row for row in rows):
        raise ValueError("an empty sequence, one that is too long, or one with the pad id inside")
    return rows


def padded(rows: list[list[int]]) -> Batch:
    width = max(map(len, rows))
    ids = np.full((len(rows), width), PAD)
    mask = np.zeros((len(rows), width), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}
