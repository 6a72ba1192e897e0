"""`load_encoder`: from a checkpoint on disk to an encoder on a device."""

from __future__ import annotations

from pathlib import Path

import torch

from gte_surgery.checkpoint.directory import Checkpoint, open_near
from gte_surgery.errors import UnavailableError, UsageError
from gte_surgery.model.encoder import GteEncoder, Guard
from gte_surgery.model.native import build_model, pooling_of

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


def load_encoder(
    path: Path | str | Checkpoint,
    device: str = "cuda",
    dtype: str = "float16",
    attention: str = "auto",
    unpad: bool = True,
    compile: bool = False,
    guard: Guard | None = None,
) -> GteEncoder:
    """The encoder of a checkpoint of any dialect and layout, in eval mode, without running any code from it.

    `dtype` is float32, float16 or bfloat16; `attention` is auto, cudnn, xformers, varlen, sdpa or eager; `unpad` is the
    default of the encoder's `unpad_inputs`; `compile` compiles the packed path; `guard`, such as an
    `IdContract`, checks each batch first. Raises CheckpointError when tensors are missing, unexpected or misshapen,
    RefusedError for a network that the native model cannot express or a device or backend that is not here.

    >>> import torch
    >>> from gte_surgery import load_encoder, new
    >>> made = new("ckpt", release="gte-base-en-v1.5", layers=1, hidden=64, heads=4, intermediate=96, vocab=128)
    >>> encoder = load_encoder(made.target, device="cpu", dtype="float32")
    >>> ids, mask = torch.tensor([[5, 6, 7], [8, 0, 0]]), torch.tensor([[1, 1, 1], [1, 0, 0]])
    >>> batch = {"input_ids": ids, "attention_mask": mask}
    >>> encoder.embed(batch).shape, encoder.embed(batch, dim=32).shape
    (torch.Size([2, 64]), torch.Size([2, 32]))
    """
    if dtype not in DTYPES:
        raise UsageError(f"dtype: {dtype!r}, must be float32, float16 or bfloat16")
    place = find_device(device)
    checkpoint = path if isinstance(path, Checkpoint) else open_near(path)
    model, family, head = build_model(checkpoint, place, DTYPES[dtype])
    return GteEncoder(model, family, head, attention, unpad, compile, guard, pooling_of(checkpoint, family))


def find_device(device: str) -> torch.device:
    """The device by name, with its number; raises UnavailableError when it is not here."""
    try:
        place = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device: {device!r}, is not one that torch knows", "for example cuda, cuda:1, cpu") from None
    if place.type != "cuda":
        return place
    if not torch.cuda.is_available():
        raise UnavailableError(
            f"device {device}: no CUDA device is here", "--device cpu runs on the CPU", "", "--device cpu"
        )
    number = int(device.rpartition(":")[2]) if ":" in device else torch.cuda.current_device()
    if number >= torch.cuda.device_count():
        found = f"device {device}: there are {torch.cuda.device_count()} CUDA devices here"
        raise UnavailableError(found, "the first will do", "", "--device cuda:0")
    return torch.device("cuda", number)
