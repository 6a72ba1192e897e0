"""The made-up checkpoints that the bench measures size on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.findings import Severity
from tests.bench.sizes import OPERATIONS, _write_of_size, curve, write_sparse

TINY = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.mark.parametrize("shards", [1, 7])
def test_a_sparse_checkpoint_is_sound_and_as_large_as_told(shards: int, tmp_path: Path) -> None:
    size = write_sparse(tmp_path / "ckpt", 32_000, 4, shards, **TINY)
    checkpoint = open_checkpoint(tmp_path / "ckpt")
    assert len(checkpoint.shards) == shards
    assert sum(tensor.nbytes for tensor in checkpoint.tensors.values()) == size
    assert [finding for finding in run(checkpoint).findings if finding.severity is Severity.ERROR] == []


def test_it_takes_no_room_and_has_the_size_asked_for(tmp_path: Path) -> None:
    _write_of_size(tmp_path / "ckpt", 100_000_000_000)
    found = (tmp_path / "ckpt" / "model.safetensors").stat()
    assert found.st_size == pytest.approx(100e9, rel=1e-4)
    assert found.st_blocks * 512 < 1 << 20


def test_it_has_as_many_tensors_as_asked_for(tmp_path: Path) -> None:
    write_sparse(tmp_path / "ckpt", 64, 1, tensors=500, **TINY)
    assert len(open_checkpoint(tmp_path / "ckpt").tensors) == 500


@pytest.mark.slow
def test_every_operation_is_measured_and_the_last_ones_change_the_checkpoint(tmp_path: Path) -> None:
    points = list(curve(tmp_path, 1, 0.1, lambda words: None))
    assert [point.operation for point in points] == [operation.name for operation in OPERATIONS]
    assert {point.subject for point in points} == {"0.1 GB"}
    assert [point.said for point in points if point.code] == []
    assert list(tmp_path.iterdir()) == []
