"""What a replay gathers of the host's, and what cuDNN is told of the rows."""

from __future__ import annotations

import torch
from torch import nn

from gte_surgery.model import cudnn_library
from gte_surgery.model.replayed import modules_of, parameters_of


def test_all_modules_and_parameters_are_found_once() -> None:
    shared = nn.Linear(2, 2)
    root = nn.Sequential(
        shared, nn.Sequential(nn.LayerNorm(2), shared), nn.ModuleDict({"a": nn.Linear(2, 3, bias=False)})
    )
    root.register_module("absent", None)
    found = modules_of(root)
    assert len(found) == len(set(found))
    assert set(found) == set(root.modules())
    assert {id(each) for each in parameters_of(found)} == {id(each) for each in root.parameters()}


def test_the_offsets_hold_lengths_and_begins_in_each_step() -> None:
    offsets = cudnn_library.offsets(torch.tensor([0, 2, 3, 3, 7, 8], dtype=torch.int32), heads=2, size=4)
    begins = torch.tensor([0, 2, 3, 3, 7, 8, 8, 8, 8, 8, 8, 8])
    assert offsets.dtype is torch.int32
    assert offsets.shape == (4, 12)
    assert offsets[0, :8].tolist() == [2, 1, 0, 4, 1, 0, 0, 0]
    assert [each.tolist() for each in offsets[1:]] == [(begins * step).tolist() for step in (2, 8, 24)]
    assert all(row.storage_offset() * row.element_size() % 16 == 0 for row in offsets)


def test_few_rows_are_given_as_four() -> None:
    offsets = cudnn_library.offsets(torch.tensor([0, 3], dtype=torch.int32), heads=1, size=8)
    assert offsets[0, :4].tolist() == [3, 0, 0, 0]
    assert offsets[1, :5].tolist() == [0, 3, 3, 3, 3]
