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
from gte_surgery.gte.config import GteConfig
from gte_surgery.gte.family import Family, Naming
from gte_surgery.gte.kinds import Head, Layout
from gte_surgery.gte.tensors import TensorSpec
from gte_surgery.gte.wording import listed

_ALIGNMENT = 64
"""Bytes to which torch's allocator for the CPU aligns [c10/core/alignment.h]."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a parameter comes from: rows `begin` to `end` of a stored tensor, or all of it where `end` is None."""

    parameter: str
    stored: StoredTensor
    begin: int = 0
    end: int | None = None


def find_sources(
    checkpoint: Checkpoint, family: Family, layout: Layout, config: GteConfig, head: Head
) -> tuple[Source, ...]:
    """One source for each parameter of the native model; raises CheckpointError naming what does not fit."""
    naming = family.naming
    stored = {naming.canonical(name, layout) or name: tensor for name, tensor in checkpoint.tensors.items()}
    wanted = family.inventory(config, family.required_native().layout(head), head)
    holders = {spec.canonical: _holder(naming, spec.canonical, stored) for spec in wanted}
    missing = [f"`{naming.stored(name, layout)}`" for name, _, _ in holders.values() if name not in stored]
    spare = {spec.canonical for spec in family.optional(config, layout, head)}
    used = {name for name, _, _ in holders.values()} | spare
    unexpected = [f"`{tensor.name}`" for name, tensor in stored.items() if name not in used]
    sources = [_source(spec, stored, holders[spec.canonical]) for spec in wanted] if not missing else []
    parts = [count for _, _, count in holders.values()]
    misshapen = [told for told in map(_misshapen, sources, wanted, parts) if told]
    problems = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    _refuse(checkpoint, {kind: list(dict.fromkeys(names)) for kind, names in problems.items() if names})
    return tuple(sources)


def _holder(naming: Naming, canonical: str, stored: Collection[str]) -> tuple[str, int, int]:
    """(canonical name of the stored tensor, which part of it, of how many)."""
    if canonical in stored:
        return canonical, 0, 1
    whole, part = naming.place_in_packed(canonical)
    return whole, part, len(naming.parts_of(whole))


def _source(spec: TensorSpec, stored: Mapping[str, StoredTensor], holder: tuple[str, int, int]) -> Source:
    name, part, parts = holder
    if parts == 1:
        return Source(spec.name, stored[name])
    return Source(spec.name, stored[name], part * spec.shape[0], (part + 1) * spec.shape[0])


def _misshapen(source: Source, spec: TensorSpec, parts: int) -> str:
    wanted = [parts * spec.shape[0], *spec.shape[1:]]
    if list(source.stored.shape) == wanted:
        return ""
    return f"`{source.stored.name}`: shape {list(source.stored.shape)}, config needs {wanted}"


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
            if source.end is None:
                yield source.parameter, opened[path].get_tensor(source.stored.name)
            else:
                yield source.parameter, opened[path].get_slice(source.stored.name)[source.begin : source.end]
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: {error}") from None
