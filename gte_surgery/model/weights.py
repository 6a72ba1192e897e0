"""The tensors of a checkpoint as the native model's parameters, read from disk straight to the device.

Any layout, split or packed, in any sharding: a packed tensor is read piece by piece. A tensor that is missing,
unexpected or misshapen is an error here, never a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gte_surgery.checkpoint.directory import Checkpoint, StoredTensor
from gte_surgery.checkpoint.source import path_of
from gte_surgery.errors import CheckpointError
from gte_surgery.gte.family import Family, Naming
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Head, Layout
from gte_surgery.gte.tensors import TensorSpec
from gte_surgery.gte.wording import listed

_ALIGNMENT = 64
"""Bytes to which torch's allocator for the CPU aligns [c10/core/alignment.h]."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a parameter comes from: a stored tensor, or one of the equal `parts` that it is packed of."""

    spec: TensorSpec
    stored: StoredTensor
    part: int = 0
    parts: int = 1


def find_sources(
    checkpoint: Checkpoint, family: Family, layout: Layout, config: GteConfig, head: Head
) -> tuple[Source, ...]:
    """One source for each parameter of the native model; raises CheckpointError naming what does not fit."""
    naming = family.naming
    stored = {naming.canonical(name, layout) or name: tensor for name, tensor in checkpoint.tensors.items()}
    wanted = family.inventory(config, family.required_native().layout(head), head)
    holders = [_holder(naming, spec.canonical, stored) for spec in wanted]
    missing = [f"`{naming.stored(name, layout)}`" for name, _, _ in holders if name not in stored]
    used = {name for name, _, _ in holders} | {spec.canonical for spec in family.optional(config, layout, head)}
    unexpected = [f"`{tensor.name}`" for name, tensor in stored.items() if name not in used]
    found = zip(wanted, holders, strict=True) if not missing else ()
    sources = [Source(spec, stored[name], part, parts) for spec, (name, part, parts) in found]
    misshapen = [told for told in map(_misshapen, sources) if told]
    problems = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    _refuse(checkpoint, {kind: list(dict.fromkeys(names)) for kind, names in problems.items() if names})
    return tuple(sources)


def _holder(naming: Naming, canonical: str, stored: Collection[str]) -> tuple[str, int, int]:
    """(canonical name of the stored tensor, which part of it, of how many)."""
    if canonical in stored:
        return canonical, 0, 1
    whole, part = naming.place_in_packed(canonical)
    return whole, part, len(naming.parts_of(whole))


def _misshapen(source: Source) -> str:
    stored, (rows, *others) = source.stored, source.spec.shape
    wanted = [source.parts * rows, *others]
    return "" if list(stored.shape) == wanted else f"`{stored.name}`: shape {list(stored.shape)}, config needs {wanted}"


def _refuse(checkpoint: Checkpoint, problems: Mapping[str, list[str]]) -> None:
    if problems:
        told = "; ".join(f"{len(names)} {kind}: {listed(names)}" for kind, names in problems.items())
        raise CheckpointError(
            f"{checkpoint.name}: tensors and config do not fit: {told}", "`gte-surgery check` tells more"
        )


def read_parameters(sources: Iterable[Source], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """The parameters by name, on the device and in the dtype; raises CheckpointError for a file that does not open."""
    with ExitStack() as files:
        return {name: _aligned(tensor.to(dtype)) for name, tensor in _read(sources, device, files)}


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor as torch allocates it, not where its file has it: how a product adds up depends on the place, so that
    the same weights behind another header gave other last digits [oneDNN and MKL on AVX-512, torch 2.13].
    """
    return tensor if tensor.data_ptr() % _ALIGNMENT == 0 else tensor.clone()


def _read(sources: Iterable[Source], device: torch.device, files: ExitStack) -> Iterator[tuple[str, Tensor]]:
    opened = {}
    for source in sources:
        path = str(path_of(source.stored.shard.file.place))
        try:
            if path not in opened:
                opened[path] = files.enter_context(safe_open(path, framework="pt", device=str(device)))
            if source.parts == 1:
                yield source.spec.name, opened[path].get_tensor(source.stored.name)
            else:
                rows, packed = source.spec.shape[0], opened[path].get_slice(source.stored.name)
                yield source.spec.name, packed[source.part * rows : (source.part + 1) * rows]
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: {error}") from None
