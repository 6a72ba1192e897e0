"""Adapters that no peft wrote cost little to plan for, or are refused."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from gte_surgery import remap
from gte_surgery.errors import CheckpointError
from tests import builder


def test_modules_without_end_are_refused_and_not_looked_for_in_each_name(tmp_path: Path) -> None:
    base = builder.build(tmp_path / "base")
    builder.add_adapter(base / "adapter", 4, trainable_token_indices={f"m{number}": [0] for number in range(30_000)})
    raw = {f"a{number}.trainable_tokens_delta": np.zeros(1, np.uint8) for number in range(5_000)}
    builder.save(base / "adapter" / "adapter_model.safetensors", raw)
    with pytest.raises(CheckpointError, match="names 30000 modules, at most 64 are read"):
        remap(base, keep=[0, 1, 2], pad=0, dry_run=True)


def test_an_adapter_of_many_tensors_is_planned_for_in_a_moment(tmp_path: Path) -> None:
    base = builder.build(tmp_path / "base")
    builder.add_adapter(base / "adapter", 4)
    raw = {f"a{number}.lora_A": np.zeros((1, 1), np.uint8) for number in range(20_000)}
    builder.save(base / "adapter" / "adapter_model.safetensors", raw)
    begin = time.process_time()
    remap(base, keep=[0, 1, 2], pad=0, dry_run=True)
    assert time.process_time() - begin < 5
