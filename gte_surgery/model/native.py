"""The native transformers model of a checkpoint, with its weights: no remote code, no from_pretrained, no disk written.

The config is converted in memory, the modules are built without storage, and every parameter is then the tensor that
was read. Buffers that no checkpoint holds, the rotary frequencies, are computed in float32 whatever the model's dtype.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import transformers
from torch import nn

from gte_surgery.checkpoint.directory import CONFIG_NAME, Checkpoint
from gte_surgery.checkpoint.printable import pasteable, shown
from gte_surgery.checkpoint.sidecars import pooling
from gte_surgery.errors import CheckpointError, UnavailableError
from gte_surgery.gte.families import family_of, read_config
from gte_surgery.gte.family import Family, Native
from gte_surgery.gte.kinds import Head
from gte_surgery.model.weights import find_sources, read_parameters

_POOLINGS: dict[str, Literal["cls", "mean"]] = {"cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean"}


def build_model(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> tuple[transformers.PreTrainedModel, Family, Head]:
    """The native model with the checkpoint's weights, in eval mode, its family, and the head that it has.

    Raises RefusedError for a network that is not native, CheckpointError for a checkpoint that is not whole.
    """
    told = f"{pasteable('check', checkpoint.name)} tells why"
    values = checkpoint.config.value if checkpoint.config is not None else None
    if not isinstance(values, dict):
        raise CheckpointError(f"{checkpoint.name}: no readable {CONFIG_NAME}", told)
    family = family_of(values)
    native, naming = family.required_native(), family.naming
    layout = naming.detect(checkpoint.tensors)
    if layout is None:
        raise CheckpointError(f"{checkpoint.name}: the weights are not a GTE's", told)
    names = (naming.canonical(name, layout) for name in checkpoint.tensors)
    head = family.head_of([name for name in names if name is not None], values)
    members = family.in_dialect("native")(values, head, False)
    config = read_config(members)
    if config.pad_token_id is not None and not 0 <= config.pad_token_id < config.vocab_size:
        found = f"config.json: pad_token_id: {config.pad_token_id}, must be below vocab_size {config.vocab_size}"
        raise CheckpointError(f"{checkpoint.name}: {found}", "`gte-surgery explain GTE110`")
    sources = find_sources(checkpoint, family, layout, config, head)
    model = _empty_model(native, members, head)
    parameters = {name: nn.Parameter(tensor) for name, tensor in read_parameters(sources, device, dtype).items()}
    own = native.layout(head)
    tied = {naming.stored(name, own): naming.stored(source, own) for name, source in family.facts.copies.items()}
    asked = model.state_dict().keys() - parameters.keys()
    parameters |= {name: parameters[tied[name]] for name in asked if name in tied}
    try:
        model.load_state_dict(parameters, strict=True, assign=True)
    except RuntimeError as error:
        raise _refused("the weights do not fit the model that", error, told) from None
    _renew_buffers(model)
    model.to(device=device)
    return model.train(False), family, head


def pooling_of(checkpoint: Checkpoint, family: Family) -> Literal["cls", "mean"]:
    """How the states of a text become one vector: as 1_Pooling/config.json says, which is what a user of the checkpoint
    gets elsewhere, or as the family does it where that file is absent or names neither of the two, or several.
    """
    stated = pooling(checkpoint)
    modes = stated.modes if stated is not None else ()
    return _POOLINGS.get(modes[0], family.facts.pooling) if len(modes) == 1 else family.facts.pooling


def body_of(model: nn.Module) -> nn.Module:
    """The encoder inside a model with a head, or the bare model itself."""
    return getattr(model, str(getattr(model, "base_model_prefix", "")), model)


def require_transformers(native: Native) -> None:
    """Raises UnavailableError where the transformers that is installed has no such model."""
    name = native.architecture(Head.NONE)
    if not hasattr(transformers, name):
        there, wanted = transformers.__version__, f"{native.oldest} or newer has"
        found = f"transformers: {there} has no native {native.stem.upper()}, {wanted}"
        raise UnavailableError(found, f"`pip install --upgrade 'transformers>={native.oldest}'`")


def _empty_model(native: Native, members: dict[str, object], head: Head) -> transformers.PreTrainedModel:
    """The model of a native config, on the meta device: shapes without storage. Raises CheckpointError for what
    transformers makes none of, such as an unknown activation.
    """
    require_transformers(native)
    known: dict[str, Any] = {key: value for key, value in members.items() if key not in ("dtype", "torch_dtype")}
    for key in ("hidden_act", "hidden_activation"):
        if isinstance(name := known.get(key), str) and name not in transformers.activations.ACT2FN:
            raise CheckpointError(
                f"{CONFIG_NAME}: {key}: {shown(name)}, is no activation of transformers {transformers.__version__}",
                "write the one that it was trained with, most often gelu",
            )
    options = native.options if head is Head.NONE else {}
    try:
        config = getattr(transformers, f"{native.stem}Config")(**known)
        with torch.device("meta"):
            model = getattr(transformers, native.architecture(head))(config, **options)
    except Exception as error:  # noqa: BLE001 - a config is input, and what its classes raise for one is theirs
        raise _refused("no model is what", error, "write what it asks for, or take the member out") from None
    if not isinstance(model, transformers.PreTrainedModel):
        raise TypeError(type(model).__name__)
    return model


def _refused(what: str, error: Exception, hint: str) -> CheckpointError:
    said = shown(" ".join(str(error).split())[:300])
    made = f"{what} transformers {transformers.__version__} makes of {CONFIG_NAME}"
    return CheckpointError(f"{made}: {type(error).__name__}: {said}", hint)


def _renew_buffers(model: transformers.PreTrainedModel) -> None:
    """What no checkpoint holds, rotary frequencies and position numbers, as the model's own initialisation has it."""
    for module in model.modules():
        buffers = dict(module.named_buffers(recurse=False))
        if buffers:
            for name, buffer in buffers.items():
                module.register_buffer(name, torch.empty_like(buffer, device="cpu"), persistent=False)
            model._init_weights(module)
