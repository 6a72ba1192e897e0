"""What people write without us when they know the format: the same work on the safetensors package and numpy.

python tests/bench/by_hand.py VERB ARGUMENT…

The weights alone: config.json is left to the reader, and nothing waits for the disk.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

TABLE = "new.embeddings.word_embeddings.weight"
Tensors = dict[str, np.ndarray]


def shrink(source: str, out: str, vocab: str) -> None:
    """The first rows of the table; row 0 is the pad row."""
    tensors = load_file(source)
    _save(tensors | {TABLE: _padded(tensors[TABLE][: int(vocab)].copy())}, out)


def remap(source: str, out: str, keep: str) -> None:
    """The rows that a file of ids names."""
    tensors = load_file(source)
    _save(tensors | {TABLE: tensors[TABLE][np.loadtxt(keep, dtype=np.int64)]}, out)


def grow(source: str, out: str, vocab: str) -> None:
    """New rows from N(0, 0.02)."""
    tensors = load_file(source)
    table = tensors[TABLE]
    added = _draw((int(vocab) - len(table), table.shape[1]))
    _save(tensors | {TABLE: _padded(np.concatenate([table, added]))}, out)


def mean_cov(source: str, out: str, vocab: str) -> None:
    """New rows with the mean and covariance of the old."""
    tensors = load_file(source)
    table = tensors[TABLE]
    mean = table.mean(0)
    centred = table - mean
    root = np.linalg.cholesky(centred.T @ centred / np.float32(len(table) - 1))
    drawn = np.random.default_rng(0).standard_normal((int(vocab) - len(table), len(mean)), np.float32)
    _save(tensors | {TABLE: _padded(np.concatenate([table, mean + drawn @ root.T]))}, out)


def reinit(source: str, out: str) -> None:
    """Fresh weights, told by their names from norms and biases."""
    fresh: Tensors = {}
    with safe_open(source, "numpy") as file:
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            shape = file.get_slice(name).get_shape()
            is_norm = name.endswith(("_ln.weight", "LayerNorm.weight"))
            plain = np.ones if is_norm else np.zeros
            is_drawn = name.endswith("weight") and not is_norm
            fresh[name] = _draw(shape) if is_drawn else plain(shape, np.float32)
    fresh[TABLE][1] = 0
    _save(fresh, out)


def cast(source: str, out: str) -> None:
    """To bfloat16, which takes torch: numpy has none."""
    import torch
    from safetensors import torch as with_torch

    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in with_torch.load_file(source).items()}
    Path(out).mkdir()
    with_torch.save_file(tensors, f"{out}/model.safetensors", {"format": "pt"})


def reshard(source: str, out: str, size: str) -> None:
    """Shards of at most so many bytes, or of one tensor, and their index."""
    Path(out).mkdir()
    shards = list(_portions(load_file(source), int(size)))
    places = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, f"{out}/{name}", {"format": "pt"})
        places |= dict.fromkeys(shard, name)
    Path(out, "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def inspect(source: str) -> None:
    """Name, dtype and shape of each tensor."""
    with safe_open(source, "numpy") as file:
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            print(name, part.get_dtype(), part.get_shape())


def finite(source: str) -> None:
    """Whether all numbers are finite."""
    for name, tensor in load_file(source).items():
        if not np.isfinite(tensor).all():
            sys.exit(name)


def _portions(tensors: Mapping[str, np.ndarray], size: int) -> Iterator[Tensors]:
    portion: Tensors = {}
    for name, tensor in tensors.items():
        if portion and sum(held.nbytes for held in portion.values()) + tensor.nbytes > size:
            yield portion
            portion = {}
        portion[name] = tensor
    yield portion


def _draw(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32) * np.float32(0.02)


def _padded(table: np.ndarray) -> np.ndarray:
    table[0] = 0
    return table


def _save(tensors: Tensors, out: str) -> None:
    Path(out).mkdir()
    save_file(tensors, f"{out}/model.safetensors", {"format": "pt"})


VERBS = (shrink, remap, grow, mean_cov, reinit, cast, reshard, inspect, finite)

if __name__ == "__main__":
    {verb.__name__: verb for verb in VERBS}[sys.argv[1]](*sys.argv[2:])
