"""The checkpoint's own code, run by transformers because the user typed --trust-remote-code, behind an encoder's face.

Published GTE code fails on transformers 5 in a few known ways; each is recognised here before or when it strikes.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from gte_surgery.gte.kinds import Head
from gte_surgery.model.encoder import Encoder

_KNOWN = {
    "get_extended_attention_mask": "transformers removed get_extended_attention_mask in 5.17, and the code calls it",
    "'list' object has no attribute": "its _tied_weights_keys is a list, which transformers 5 takes for a mapping",
    "KeyError: 'ntk'": 'the config says "ntk" where transformers 5 looks for its own rope types: it was saved again',
    "'type'": "the config was saved by transformers 5, which renamed what the code looks for in rope_scaling",
    "offline": "the code is not in the local cache, and fetching it failed",
    "couldn't connect": "the code is not in the local cache, and fetching it failed",
    "No module named": "the code imports a package that is not here",
}


class RemoteCodeError(Exception):
    """The checkpoint's own code does not run; the message names the known cause, or says what it raised."""


class RemoteEncoder(Encoder):
    """AutoModel with the checkpoint's own code, called as a `GteEncoder` is."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        # The published code unpads with xformers alone, on CUDA; elsewhere it pads again in every layer.
        has_xformers = bool(getattr(self.config, "use_memory_efficient_attention", False))
        self.can_unpad = has_xformers and "unpad_inputs" in inspect.signature(model.forward).parameters

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        unpad_inputs: bool | None = None,
    ) -> Tensor:
        """`last_hidden_state`, as a `GteEncoder` gives it."""
        inputs: dict[str, Any] = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "inputs_embeds": inputs_embeds,
        }
        if self.can_unpad:
            inputs["unpad_inputs"] = bool(unpad_inputs)
        given = {name: value for name, value in inputs.items() if value is not None}
        return torch.as_tensor(self.model(**given, return_dict=True).last_hidden_state)


def load_remote(path: Path, device: torch.device, dtype: torch.dtype, head: Head = Head.NONE) -> RemoteEncoder:
    """Run the checkpoint's code to load it. Raises RemoteCodeError when it fails, or when a look at the loaded model
    shows that it would: a forward on garbage positions can take the CUDA device down with it."""
    try:
        model = transformers.AutoModel.from_pretrained(path, trust_remote_code=True, dtype=dtype)
    except Exception as error:
        raise RemoteCodeError(f"loading failed: {known_cause(error)}") from error
    spoilt = spoilt_buffer(model) or (untied_decoder(model) if head is Head.MASKED_LM else "")
    if spoilt:
        raise RemoteCodeError(spoilt)
    model.to(device)
    return RemoteEncoder(model.train(False))


def known_cause(error: Exception) -> str:
    """Which of the known causes an exception of the code shows; else what it says."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return next((f"{cause} ({said})" for sign, cause in _KNOWN.items() if sign in said), said)


def spoilt_buffer(model: nn.Module) -> str:
    """What is wrong with position buffers that transformers 5 never filled; "" when nothing is."""
    for name, buffer in model.named_buffers():
        if name.endswith("position_ids"):
            wanted = torch.arange(buffer.shape[-1], device=buffer.device).expand_as(buffer)
            if not torch.equal(buffer, wanted):
                found = ", ".join(str(number) for number in buffer.flatten()[:3].tolist())
                return f"its buffer {name} holds {found}, … instead of 0, 1, 2, …: transformers 5 left it uninitialised"
    return ""


def untied_decoder(model: nn.Module) -> str:
    """Whether the code's masked-LM class would leave its decoder random; "" when it would not, or there is none."""
    module = sys.modules[type(model).__module__]
    for name, member in vars(module).items():
        if name.endswith("ForMaskedLM") and isinstance(getattr(member, "_tied_weights_keys", None), list):
            return f"the decoder of {name} is left random: _tied_weights_keys is a list, which transformers 5 ignores"
    return ""
