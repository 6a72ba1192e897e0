"""Drafts of batches become tensors of any framework, well-formed or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gte_surgery.contract.drafts import Draft, counted_positions, padded_draft
from gte_surgery.contract.frameworks import Framework
from gte_surgery.contract.spec import IdContract

CONTRACT = IdContract(vocab_size=64, pad_token_id=3, type_vocab_size=2, max_length=6)


def test_sequences_are_padded_on_the_side_of_the_contract() -> None:
    assert padded_draft([[5, 6], [7]], 3, CONTRACT).members == {
        "input_ids": [[5, 6, 3], [7, 3, 3]],
        "attention_mask": [[1, 1, 0], [1, 0, 0]],
    }
    assert padded_draft([[5, 6], [7]], 3, replace(CONTRACT, padding_side="left")).members == {
        "input_ids": [[3, 5, 6], [3, 3, 7]],
        "attention_mask": [[0, 1, 1], [0, 0, 1]],
    }


def test_tokens_and_pads_of_a_row_are_told_by_its_mask() -> None:
    draft = padded_draft([[5, 6], [7]], 3, replace(CONTRACT, padding_side="left"))
    assert (draft.columns, draft.tokens(0), draft.pads(0), draft.tokens(1), draft.pads(1)) == (
        3, [1, 2], [0], [2], [0, 1],
    )  # fmt: skip


def test_positions_count_tokens_and_are_zero_at_pads() -> None:
    assert counted_positions([[1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]]) == [
        [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0],
    ]  # fmt: skip


EMBEDS = [[[0.5, 1.5]]]


@pytest.mark.parametrize(("framework", "module"), [("numpy", np), ("torch", torch)])
def test_members_are_int64_vectors_float32_and_others_as_asked(framework: Framework, module: Any) -> None:
    members = {"input_ids": [[5, 6]], "attention_mask": [[1, 0]], "inputs_embeds": EMBEDS, "labels": None}
    batch = Draft(members, {"attention_mask": "bool"}).built(framework)
    assert {name: (value.dtype, value.tolist()) for name, value in batch.items()} == {
        "input_ids": (module.int64, [[5, 6]]),
        "attention_mask": (module.bool_ if module is np else module.bool, [[True, False]]),
        "inputs_embeds": (module.float32, EMBEDS),
    }


def test_tensors_lie_on_the_device_that_is_asked_for() -> None:
    batch = Draft({"input_ids": [[5, 6]], "labels": [[1], [2, 3]]}).built("torch", "meta")
    assert batch["input_ids"].device.type == "meta"
    assert [row.device.type for row in batch["labels"]] == ["meta", "meta"]


@pytest.mark.parametrize(
    ("dtype", "made"),
    [("int64", "[[1, 0]]"), ("int32", "[[1, 0]]"), ("bool", "[[True, False]]"), ("float32", "[[1.0, 0.0]]"),
     ("float64", "[[1.0, 0.0]]")],
)  # fmt: skip
def test_lists_hold_the_scalars_of_a_dtype(dtype: str, made: str) -> None:
    batch = Draft({"attention_mask": [[1, 0]]}, {"attention_mask": dtype}).built("lists")
    assert repr(batch["attention_mask"]) == made


def test_lists_of_vectors_are_floats_unasked() -> None:
    assert repr(Draft({"inputs_embeds": [[[1, 2]]]}).built("lists")["inputs_embeds"]) == "[[[1.0, 2.0]]]"


@pytest.mark.parametrize(
    ("framework", "kinds"),
    [
        ("torch", (torch.Tensor, list)),
        ("numpy", (np.ndarray, list)),
        ("lists", (list, np.ndarray)),
    ],
)
def test_a_foreign_member_is_of_another_framework(framework: Framework, kinds: tuple[type, type]) -> None:
    draft = Draft({"input_ids": [[5]], "attention_mask": [[1]]}, foreign=frozenset({"attention_mask"}))
    assert tuple(map(type, draft.built(framework).values())) == kinds


def test_what_makes_no_tensor_stays_or_becomes_a_list_of_rows() -> None:
    draft = Draft({"text": ["two words"], "input_ids": [[5, 6], [7]]}, {"input_ids": "int32"})
    numpy, torches, lists = (draft.built(each) for each in ("numpy", "torch", "lists"))
    assert numpy["text"] == torches["text"] == lists["text"] == ["two words"]
    assert lists["input_ids"] == [[5, 6], [7]]
    assert [(row.dtype, row.tolist()) for row in numpy["input_ids"]] == [(np.int32, [5, 6]), (np.int32, [7])]
    assert [(row.dtype, row.tolist()) for row in torches["input_ids"]] == [(torch.int32, [5, 6]), (torch.int32, [7])]


def test_without_a_mapping_the_members_are_a_list() -> None:
    assert Draft({"input_ids": [[5]], "labels": None}, is_mapping=False).built("lists") == [[[5]]]
