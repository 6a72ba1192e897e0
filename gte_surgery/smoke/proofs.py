"""What one forward proves of an encoder: finite, unit length, packed as padded, indifferent to padding and row order.

Each proof measures one number and holds it against one tolerance. Differences are relative norms over real tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gte_surgery.model.encoder import Encoder
from gte_surgery.smoke.batches import Batch
from gte_surgery.smoke.ledger import Ledger, watched

TOLERANCES = {torch.float32: 5e-5, torch.float16: 1e-2, torch.bfloat16: 6e-2}
"""Relative norms that rounding explains; seen on full-size models: 1e-6, 1.5e-3, 1.2e-2."""
_UNIT = 1e-4
_PART = 1 << 24
"""Numbers that are compared at once."""


def distance(found: Tensor, wanted: Tensor) -> float:
    """‖found − wanted‖ / ‖wanted‖, in double precision; NaN when either is not finite. Both of one shape; as doubles
    there is only a part of them at a time.
    """
    parts = [torch.split(each.flatten(), _PART) for each in (found, wanted)]
    apart = sum((one.double() - other.double()).square().sum() for one, other in zip(*parts, strict=True))
    whole = sum(other.double().square().sum() for other in parts[1])
    return float((torch.as_tensor(apart) / torch.as_tensor(whole).clamp_min(1e-60)).sqrt())


@torch.no_grad()
def prove_forward(encoder: Encoder, batch: Batch, ledger: Ledger) -> Tensor:
    """All proofs that need one encoder alone; gives its hidden states of the real tokens, [tokens, hidden] float32."""
    tolerance = TOLERANCES[encoder.dtype]
    with watched(batch, f"{ledger.subject} forward"):
        padded = encoder(**batch.tensors, unpad_inputs=False)[batch.real]
        hidden = encoder(**batch.tensors, unpad_inputs=True)[batch.real] if encoder.can_unpad else padded
        vectors = encoder.embed(batch.tensors)
    unsound = int((~hidden.isfinite()).sum()) + int((~padded.isfinite()).sum())
    ledger.prove("GTE510", "outputs are finite", unsound, 0, f"{unsound} numbers are not" if unsound else "")
    ledger.prove("GTE511", "embeddings have length 1", float((vectors.norm(dim=-1) - 1).abs().max()), _UNIT)
    if encoder.can_unpad:
        ledger.prove("GTE512", "packed equals padded", distance(hidden, padded), tolerance)
    else:
        ledger.skip("GTE512", "packed equals padded", "this runtime cannot unpad")
    _prove_indifference(encoder, batch, padded, vectors, ledger, tolerance)
    _prove_embeds(encoder, batch, padded, ledger, tolerance)
    return torch.as_tensor(hidden).float()


def _prove_indifference(
    encoder: Encoder, batch: Batch, padded: Tensor, vectors: Tensor, ledger: Ledger, tolerance: float
) -> None:
    with watched(batch, f"{ledger.subject} forward of shorter rows"):
        short = batch if batch.has_room else batch.shortened()
        narrow = padded if batch.has_room else encoder(**short.tensors, unpad_inputs=False)[short.real]
    wider = short.wider()
    with watched(wider, f"{ledger.subject} forward with more padding"):
        wide = encoder(**wider.tensors, unpad_inputs=False)[wider.real]
    ledger.prove("GTE513", "more padding changes nothing", distance(wide, narrow), tolerance)
    turned = batch.reversed()
    with watched(turned, f"{ledger.subject} forward with rows reversed"):
        again = encoder.embed(turned.tensors).flip(0)
    ledger.prove("GTE514", "row order changes nothing", distance(again, vectors), tolerance)


def _prove_embeds(encoder: Encoder, batch: Batch, padded: Tensor, ledger: Ledger, tolerance: float) -> None:
    tensors = dict(batch.tensors)
    with watched(batch, f"{ledger.subject} forward from inputs_embeds"):
        rows = encoder.input_table()[tensors.pop("input_ids")]
        found = encoder(**tensors, inputs_embeds=rows, unpad_inputs=False)[batch.real]
    ledger.prove("GTE518", "inputs_embeds equals input_ids", distance(found, padded), tolerance)
