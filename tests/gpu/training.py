"""Tokens a second of whole training steps on four sets of lengths: `python -m tests.gpu.training CKPT FILE [WAY…]`.

Real tokens only; a step is forward under bf16 autocast, backward and fused AdamW over all of the float32 weights. A
checkpoint with the head of a masked LM is trained as one, three tenths of the tokens hidden, its labels where the mask
is. The most memory that a step took, in GiB, stands beside each rate. The file is JSON, rewritten after every
measurement.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from gte_surgery.gte.kinds import Head
from gte_surgery.model.encoder import IGNORED, GteEncoder
from gte_surgery.model.load import load_encoder
from gte_surgery.smoke.batches import Batch
from tests.gpu import speeds

HIDDEN_SHARE = 0.3
"""Of the tokens of a masked LM, as ModernBERT and the GTE of 2024 were made."""
WAYS = ("padded sdpa", "packed", "packed, compiled", "packed, compiled, mask on the CPU")
TOGETHER = 4
"""Steps between two waits: one follows on the other, as in a training loop."""


def sets() -> dict[str, torch.Tensor]:
    """Lengths of the rows, by what the set is called."""
    return {
        "128 rows of 8 to 128": torch.linspace(8, 128, 128).long(),
        "64 rows of 16 to 512": torch.linspace(16, 512, 64).long(),
        "16 rows of 2048": torch.full((16,), 2048),
        "8 rows of 256 to 8192": torch.linspace(256, 8192, 8).long(),
    }


def loaded(checkpoint: str, way: str) -> GteEncoder:
    """The encoder as the way trains it."""
    attention = "sdpa" if way.startswith("padded") else "auto"
    is_compiled = "compiled" in way
    encoder = load_encoder(checkpoint, "cuda", "float32", attention, unpad=attention == "auto", compile=is_compiled)
    encoder.choose_attention(attention, torch.bfloat16)
    return encoder.train()


def step_of(encoder: GteEncoder, batch: Batch) -> Callable[[], None]:
    """One whole step on the batch."""
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-6, fused=True)
    wanted = functional.normalize(torch.randn(batch.rows, encoder.config.hidden_size, device=encoder.device), dim=-1)
    tokens = batch.tensors["input_ids"]
    is_hidden = batch.real.to(tokens.device) & (torch.rand(tokens.shape, device=encoder.device) < HIDDEN_SHARE)
    labels = torch.where(is_hidden, tokens, IGNORED).to(batch.tensors["attention_mask"].device)
    masked = {**batch.tensors, "input_ids": tokens.masked_fill(is_hidden, encoder.config.vocab_size - 1)}

    def loss_of() -> torch.Tensor:
        if encoder.head is Head.MASKED_LM:
            return encoder.masked_loss(masked, labels)
        return 1 - (encoder.embed(batch.tensors) * wanted).sum(-1).mean()

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = loss_of()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def main(checkpoint: str, file: str, ways: tuple[str, ...]) -> None:
    """Measure every way on every set."""
    table = speeds.Table(Path(file))
    for way in ways:
        encoder = loaded(checkpoint, way)
        for name, batch in speeds.batches(encoder, sets()).items():
            if way.endswith("mask on the CPU"):
                batch.tensors["attention_mask"] = batch.tensors["attention_mask"].cpu()
            step = step_of(encoder, batch)
            step()
            torch.cuda.reset_peak_memory_stats()
            table.add(name, way, lambda step=step, batch=batch: speeds.rate(step, batch.tokens, together=TOGETHER))  # type: ignore[misc]
            table.add(name, f"{way}, GiB", speeds.most_memory)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], tuple(sys.argv[3:]) or WAYS)
