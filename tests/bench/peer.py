"""What people do without us: the same work in transformers, each verb in a process of its own.

python tests/bench/peer.py VERB ARGUMENT…
"""

from __future__ import annotations

import sys

import torch
import transformers


def load(path: str) -> transformers.PreTrainedModel:
    """The native model of the checkpoint's own class."""
    config = transformers.AutoConfig.from_pretrained(path)
    return getattr(transformers, config.architectures[-1]).from_pretrained(path)


def check(path: str) -> None:
    """Loads, and looks whether every tensor was there and had its shape."""
    config = transformers.AutoConfig.from_pretrained(path)
    model = getattr(transformers, config.architectures[-1])
    _, told = model.from_pretrained(path, output_loading_info=True)
    if any(told.values()):
        sys.exit(str(told))


def resize(source: str, out: str, vocab: str) -> None:
    """from_pretrained, resize_token_embeddings, zero pad row, save_pretrained; new rows are drawn from N(mean, cov)."""
    model = load(source)
    model.resize_token_embeddings(int(vocab))
    model.config.pad_token_id = 0
    with torch.no_grad():
        model.get_input_embeddings().weight[0] = 0
    model.save_pretrained(out)


def new(source: str, out: str) -> None:
    """A model with random weights from the config of `source`, saved."""
    config = transformers.AutoConfig.from_pretrained(source)
    getattr(transformers, config.architectures[-1])(config).save_pretrained(out)


def cast(source: str, out: str, dtype: str) -> None:
    """from_pretrained in another dtype, save_pretrained."""
    config = transformers.AutoConfig.from_pretrained(source)
    model = getattr(transformers, config.architectures[-1]).from_pretrained(source, dtype=getattr(torch, dtype))
    model.save_pretrained(out)


def reshard(source: str, out: str, size: str) -> None:
    """from_pretrained, save_pretrained with max_shard_size."""
    load(source).save_pretrained(out, max_shard_size=size)


if __name__ == "__main__":
    {verb.__name__: verb for verb in (check, resize, new, cast, reshard)}[sys.argv[1]](*sys.argv[2:])
