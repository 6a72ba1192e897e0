"""The portrait's numbers beside numpy's own, for every dtype and however the weights lie."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.compare import portrait
from gte_surgery.compare.portrait import portray
from tests.builder import load, native_config, remote_config, save, tensors, write

WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = native_config(vocab_size=1000)
    path = write(tmp_path / "ckpt", config, tensors(config), shards=2)
    shard = path / "model-00001-of-00002.safetensors"
    arrays = load(shard)
    arrays[WORDS] *= np.linspace(0.5, 2, 1000, dtype=np.float32)[:, None]
    arrays[WORDS][[3, 999]] = 0
    save(shard, arrays)
    return path


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    return {name: array for shard in sorted(path.glob("*.safetensors")) for name, array in load(shard).items()}


@pytest.mark.parametrize("block", [100, 4 << 20], ids=["many blocks", "one block"])
def test_norms_are_those_of_numpy(checkpoint: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portrait, "_BLOCK", block)
    told: list[tuple[int, int]] = []
    norms = portray(open_checkpoint(checkpoint), lambda done, total: told.append((done, total))).norms
    wanted = np.linalg.norm(arrays_of(checkpoint)[WORDS].astype(np.float64), axis=1)
    positive = wanted[wanted > 0]
    assert norms is not None
    assert (norms.rows, norms.zeros, norms.first_zeros) == (1000, 3, (1, 3, 999))
    assert (norms.pad, norms.pad_norm) == (1, 0.0)
    assert norms.median == pytest.approx(float(np.median(positive)), rel=1e-6)
    assert sum(norms.counts) == len(positive)
    assert (norms.edges[0], norms.edges[-1]) == pytest.approx((positive.min(), positive.max()), rel=1e-6)
    assert told[-1][0] == told[-1][1] > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_spreads_are_standard_deviations_by_layer(tmp_path: Path, dtype: type) -> None:
    config = remote_config()
    arrays = {name: (array + 0.01).astype(dtype) for name, array in tensors(config).items()}
    found = portray(open_checkpoint(write(tmp_path / "ckpt", config, arrays))).spreads
    assert [spread.kind for spread in found] == ["down", "o", "qkv", "up_gate"]
    for spread in found:
        room = "mlp" if spread.kind in ("down", "up_gate") else "attention"
        names = [f"encoder.layer.{layer}.{room}.{spread.kind}_proj.weight" for layer in range(2)]
        wanted = [float(arrays[name].astype(np.float64).std()) for name in names]
        assert spread.by_layer == pytest.approx(tuple(wanted), rel=1e-5)


def test_rows_and_layers_that_are_not_finite_are_told_apart(tmp_path: Path) -> None:
    config = remote_config()
    arrays = tensors(config)
    arrays[WORDS][7, 0], arrays[WORDS][8, 0] = np.nan, np.inf
    arrays["encoder.layer.1.mlp.down_proj.weight"][0, 0] = np.inf
    found = portray(open_checkpoint(write(tmp_path / "ckpt", config, arrays)))
    assert found.norms is not None
    assert found.norms.not_finite == 2
    assert sum(found.norms.counts) == 128 - 2 - 1
    assert found.spreads[0].by_layer[0] is not None
    assert found.spreads[0].by_layer[1] is None


def test_wavelengths_are_turns_in_tokens(tmp_path: Path) -> None:
    config = native_config(rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    found = portray(open_checkpoint(write(tmp_path / "ckpt", config, tensors(config))))
    assert found.wavelengths == pytest.approx([2 * math.pi * 10000 ** (2 * pair / 8) for pair in range(4)])
    assert found.positions == 128


def test_nothing_is_drawn_of_what_is_no_checkpoint(tmp_path: Path) -> None:
    found = portray(open_checkpoint(tmp_path))
    assert (found.norms, found.spreads, found.wavelengths) == (None, (), ())
