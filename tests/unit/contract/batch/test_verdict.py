"""How whole tensors are judged: in which blocks, and at the smallest sizes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gte_surgery.contract.batch import verdict
from gte_surgery.contract.batch.structure import Frame, framed
from gte_surgery.contract.batch.verdict import is_clean
from gte_surgery.contract.spec import IdContract

CONTRACT = IdContract(vocab_size=64, pad_token_id=0, type_vocab_size=2, max_length=6, cls_token_id=2, hidden_size=3)
MAKERS = pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])


def frame_of(contract: IdContract = CONTRACT, **members: Any) -> Frame:
    frame = framed(members, contract, False)
    assert frame.findings == []
    return frame


def blocks(frame: Frame) -> list[dict[str, list[Any]]]:
    values = {name: each.value for name, each in frame.members.items()}
    return [{name: value.tolist() for name, value in block.items()} for block in verdict._blocks(values, frame)]


IDS = [[2, 10], [2, 11], [2, 12], [2, 13], [2, 14]]


@MAKERS
@pytest.mark.parametrize(
    ("size", "heights"), [(1, [1] * 5), (5, [2, 2, 1]), (6, [3, 2]), (9, [4, 1]), (10, [5]), (11, [5]), (99, [5])]
)
def test_on_the_host_rows_are_judged_in_blocks_of_a_size(
    make: Any, size: int, heights: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "_BLOCK", size)
    cut = blocks(frame_of(input_ids=make(IDS), position_ids=make([[0, 1]])))
    assert [len(block["input_ids"]) for block in cut] == heights
    assert [row for block in cut for row in block["input_ids"]] == IDS
    assert [block["position_ids"] for block in cut] == [[[0, 1]]] * len(heights)


def test_on_a_device_all_rows_are_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "_BLOCK", 1)
    frame = frame_of(input_ids=np.array(IDS))
    frame.members["input_ids"] = replace(frame.members["input_ids"], device=SimpleNamespace(type="cuda"))
    assert blocks(frame) == [{"input_ids": IDS}]


@MAKERS
@pytest.mark.parametrize("rows", [2, 3])
def test_a_block_without_a_label_is_no_fault_of_the_batch(
    make: Any, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "_BLOCK", 2)
    labels = [[-100, 5], *[[-100, -100]] * (rows - 1)]
    assert is_clean(frame_of(input_ids=make([[2, 5]] * rows), labels=make(labels)), CONTRACT)
    assert not is_clean(frame_of(input_ids=make([[2, 5]] * rows), labels=make([[-100, -100]] * rows)), CONTRACT)
    assert not is_clean(frame_of(input_ids=make([[2, 5]] * (rows - 1) + [[2, 64]]), labels=make(labels)), CONTRACT)


@MAKERS
def test_one_column_is_judged_as_more_are(make: Any) -> None:
    vectors = {"inputs_embeds": make([[[0.5] * 3]])}
    assert is_clean(frame_of(**vectors, position_ids=make([[0]])), CONTRACT)
    assert not is_clean(frame_of(**vectors, position_ids=make([[1]])), CONTRACT)
    left = replace(CONTRACT, padding_side="left")
    assert is_clean(frame_of(left, input_ids=make([[2]]), attention_mask=make([[1]])), left)
    assert not is_clean(frame_of(left, input_ids=make([[3]]), attention_mask=make([[1]])), left)


def test_vectors_that_are_being_learnt_are_judged_as_they_are() -> None:
    learnt = torch.ones(1, 2, 3, requires_grad=True)
    assert is_clean(frame_of(inputs_embeds=learnt), CONTRACT)
    assert not is_clean(frame_of(inputs_embeds=learnt / 0), CONTRACT)
