"""A saved reference: a batch with the embeddings that it gave, and the gate that compares a checkpoint with it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from gte_surgery.errors import CheckpointError
from gte_surgery.model.encoder import Encoder
from gte_surgery.outputs import write_output
from gte_surgery.smoke.batches import Batch
from gte_surgery.smoke.ledger import Ledger, watched
from gte_surgery.smoke.proofs import TOLERANCES, distance

_EMBEDDINGS = "embeddings"
_NEEDED = {"input_ids", "attention_mask", _EMBEDDINGS}


@torch.no_grad()
def save_reference(path: Path, checkpoint: Path, encoder: Encoder, batch: Batch) -> None:
    """Write the batch and its embeddings, float32, as safetensors; RefusedError onto one of the checkpoint."""
    with watched(batch, "saving the reference"):
        vectors = encoder.embed(batch.tensors).float()
    stored = {name: tensor.contiguous().cpu() for name, tensor in batch.tensors.items()}
    raw = save({**stored, _EMBEDDINGS: vectors.contiguous().cpu()}, metadata={"format": "pt"})
    write_output(path, raw, (checkpoint,))


@torch.no_grad()
def compare_reference(path: Path, encoder: Encoder, vocab_size: int, device: torch.device, ledger: Ledger) -> None:
    """Prove that the reference's batch still gives its embeddings; raises CheckpointError for an unreadable file."""
    stored = read_reference(path)
    wanted = stored.pop(_EMBEDDINGS)
    width, largest = encoder.input_table().shape[1], int(stored["input_ids"].max())
    if wanted.shape[-1] != width or largest >= vocab_size:
        told = f"its largest id is {largest}, its width {wanted.shape[-1]}; here are {vocab_size} rows of {width}"
        ledger.fail("GTE541", "the reference fits the checkpoint", told)
        return
    lengths = tuple(stored["attention_mask"].sum(1).tolist())
    batch = Batch(stored, lengths, 0).to(device)
    with watched(batch, "comparing with the reference"):
        found = encoder.embed(batch.tensors)
    tolerance = TOLERANCES[encoder.dtype]
    ledger.prove("GTE540", "embeddings equal the saved reference", distance(found, wanted.to(device)), tolerance)


def read_reference(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a reference file; raises CheckpointError when it is none."""
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: {error}", "`--save-reference` writes one") from None
    if not stored.keys() >= _NEEDED:
        missing = ", ".join(sorted(_NEEDED - stored.keys()))
        raise CheckpointError(f"{path}: no {missing} in it, not a smoke reference", "`--save-reference` writes one")
    if not _is_batch(stored["input_ids"], stored["attention_mask"], stored[_EMBEDDINGS]):
        told = f"{path}: its tensors are no batch with an embedding a row, not a smoke reference"
        raise CheckpointError(told, "`--save-reference` writes one")
    return stored


def _is_batch(ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor) -> bool:
    """Whether there are ids in rows of at least one token each, and as many vectors."""
    are_rows = ids.dim() == vectors.dim() == 2 and len(ids) == len(vectors) and mask.shape == ids.shape
    are_whole = not ids.is_floating_point() and not mask.is_floating_point()
    return are_rows and are_whole and ids.numel() > 0 and int(ids.min()) >= 0 and bool((mask == 1).any(1).all())
