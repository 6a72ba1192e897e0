"""`prover`: runs the claims of a plan on the checkpoint before and the staged one after.

Parameters are compared number by number, then both models run the same batches, in the ids of each, on the same
attention backend: equal is equal as bits where a claim says so. What cannot be run is inconclusive, and says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.model.encoder import GteEncoder
from gte_surgery.model.load import find_device, load_encoder
from gte_surgery.smoke.prove.batches import PairedBatch, paired_batches
from gte_surgery.smoke.prove.memory import fit_together, release
from gte_surgery.smoke.prove.tensors import (
    different_parameters,
    different_rope,
    different_rows,
    different_tokens,
    parameters,
)
from gte_surgery.surgery.planning.claim import Claim, Prove, Verdict

LONGEST = {"cpu": 128, "cuda": 512}
"""Tokens of the longest row, by kind of device."""
_STORED = {"F16": "float16", "BF16": "bfloat16"}
_CHANGING = frozenset(
    ("vocab_size", "pad_token_id", "type_vocab_size", "dtype", "torch_dtype", "transformers_version", "_name_or_path",
     "architectures", "id2label", "label2id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id",
     "mask_token_id", "unk_token_id", "problem_type", "attn_implementation",
     "_attn_implementation", "rope_parameters")
)  # fmt: skip
"""Members of a native config that a surgery may change, or that do not touch the numbers; the rope is compared as the
frequencies that it gives.
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the batches of two models must agree on: pad id, token types, positions."""

    pad: int
    types: int
    positions: int

    @classmethod
    def of(cls, encoder: GteEncoder) -> Facts:
        """Those of a model."""
        config = encoder.config
        types = int(getattr(config, "type_vocab_size", 0) or 0)
        return cls(config.pad_token_id or 0, types, int(config.max_position_embeddings))


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What a model makes of a batch: hidden states of the real tokens, and what its head says, None without one."""

    states: Tensor
    logits: Tensor | None

    def on_cpu(self) -> _Outputs:
        """The same, where no model needs the room."""
        return _Outputs(self.states.cpu(), None if self.logits is None else self.logits.cpu())


class _RefutedError(Exception):
    """A claim that does not hold; the message says where."""


def prover(device: str = "cpu") -> Prove:
    """What runs claims on a device: of a checkpoint before (None for one made from nothing) and the one after.

    Raises RefusedError when the device is not here.
    """
    place = find_device(device)

    def prove(claims: Sequence[Claim], before: Checkpoint | None, after: Checkpoint) -> Verdict:
        return _Proof(claims, place, after).run(before)

    return prove


@dataclass
class _Proof:
    """One run of the claims; counts what it ran as it goes."""

    claims: Sequence[Claim]
    device: torch.device
    after: Checkpoint
    dtypes: list[str] = field(default_factory=list)
    batches: int = 0
    tokens: int = 0
    largest: float | None = None

    def run(self, before: Checkpoint | None) -> Verdict:
        try:
            self._prove_tokens(before)
            self._prove(before)
        except _RefutedError as refuted:
            return self._verdict("refuted", str(refuted))
        except RefusedError as error:
            return self._verdict("inconclusive", f"it cannot be run: {error.message}")
        except OSError as error:
            return self._verdict("inconclusive", f"it cannot be run: {error.strerror or error}")
        except CheckpointError as error:
            return self._verdict("refuted", f"it cannot be loaded: {error.message}")
        if not self.batches:
            return self._verdict("inconclusive", "the plan claims nothing that can be run")
        return self._verdict("proved", "")

    def _verdict(self, outcome: Literal["proved", "refuted", "inconclusive"], told: str) -> Verdict:
        dtypes = tuple(self.dtypes)
        return Verdict(outcome, str(self.device), dtypes, self.batches, self.tokens, self.largest, told)

    def _of(self, *kinds: str) -> list[Claim]:
        return [claim for claim in self.claims if claim.kind in kinds]

    def _prove(self, before: Checkpoint | None) -> None:
        for dtype in self._dtypes():
            self.dtypes.append(dtype)
            if before is not None and not fit_together((before, self.after), self.device, dtype):
                self._prove_apart(before, dtype)
                continue
            one = self._loaded(before, dtype) if before is not None else None
            other = self._loaded_after(dtype, one is not None)
            if dtype == "float32":
                self._prove_numbers(one, other)
            self._prove_runs(one, other)
            if one is None:
                continue
            for claim in self._of("states"):
                new, old = claim.pairs()
                for number, batch in enumerate(self._batches(claim, Facts.of(one), Facts.of(other))):
                    found = _outputs(other, batch.after, batch.real, new)
                    self._hold(claim, number, batch, found, _outputs(one, batch.before, batch.real, old), dtype)

    def _prove_apart(self, before: Checkpoint, dtype: str) -> None:
        """One model after the other on the device, which has no room for both; their numbers meet on the CPU."""
        facts = self._prove_numbers_apart(before)
        one = self._loaded(before, dtype)
        wanted = [
            [
                _outputs(one, batch.before, batch.real, claim.pairs()[1]).on_cpu()
                for batch in self._batches(claim, *facts)
            ]
            for claim in self._of("states")
        ]
        del one
        release(self.device)
        other = self._loaded_after(dtype, was_possible=True)
        if self._of("drawn"):
            self._prove_runs(None, other)
        for claim, kept in zip(self._of("states"), wanted, strict=True):
            for number, (batch, was) in enumerate(zip(self._batches(claim, *facts), kept, strict=True)):
                found = _outputs(other, batch.after, batch.real, claim.pairs()[0]).on_cpu()
                self._hold(claim, number, batch, found, was, dtype)
        del other
        release(self.device)

    def _prove_numbers_apart(self, before: Checkpoint) -> tuple[Facts, Facts]:
        cpu = torch.device("cpu")
        one, other = self._loaded(before, "float32", cpu), self._loaded_after("float32", True, cpu)
        if len(self.dtypes) == 1:
            self._prove_numbers(one, other)
        return Facts.of(one), Facts.of(other)

    def _prove_tokens(self, before: Checkpoint | None) -> None:
        for claim in self._of("tokens"):
            for fault in different_tokens(before, self.after, *claim.pairs()) if before is not None else ():
                raise _RefutedError(f"{claim.sentence}: {fault}")

    def _dtypes(self) -> tuple[str, ...]:
        stored = {tensor.dtype for tensor in self.after.tensors.values()} & _STORED.keys()
        return ("float32", *(_STORED[dtype] for dtype in sorted(stored) if self.device.type == "cuda"))

    def _loaded_after(self, dtype: str, was_possible: bool, place: torch.device | None = None) -> GteEncoder:
        """The checkpoint after; that it cannot be run any more refutes the plan where the one before can."""
        try:
            return self._loaded(self.after, dtype, place)
        except RefusedError as error:
            if was_possible:
                raise _RefutedError(f"it cannot be run any more: {error.message}") from None
            raise

    def _loaded(self, checkpoint: Checkpoint, dtype: str, place: torch.device | None = None) -> GteEncoder:
        return load_encoder(checkpoint, str(place or self.device), dtype, "sdpa", unpad=False)

    def _prove_numbers(self, before: GteEncoder | None, after: GteEncoder) -> None:
        for claim in self.claims:
            for fault in self._faults(claim, before, after):
                raise _RefutedError(f"{claim.sentence}: {fault}")

    def _faults(self, claim: Claim, before: GteEncoder | None, after: GteEncoder) -> Iterator[str]:
        new, old = claim.pairs() if claim.kind in ("rows", "pad") else ((), ())
        if claim.kind == "pad":
            pad = new[0]
            if not pad < len(after.input_table()) or bool(after.input_table()[pad].any()):
                yield f"row {pad} is not zero"
        elif claim.kind == "drawn":
            yield from _unlikely(after)
        elif before is None:
            return
        elif claim.kind == "tensors":
            left_out = set(_left_out(claim, before, after))
            yield from different_parameters(before, after, left_out, claim.rounded, claim.may_lose)
            yield from different_rope(before, after)
            yield from _different_config(before, after)
        elif claim.kind == "rows":
            added = _type_row(before) if claim.adds_type else None
            yield from different_rows(before, after, new, old, claim.rounded, added)

    def _hold(
        self, claim: Claim, number: int, batch: PairedBatch, found: _Outputs, wanted: _Outputs, dtype: str
    ) -> None:
        """Hold what both made of a batch against the claim about hidden states, and those about outputs."""
        self.batches += 1
        self.tokens += batch.tokens
        self._require(claim, number, found.states, wanted.states, is_states=True, dtype=dtype)
        for other in self._of("outputs"):
            if found.logits is not None and wanted.logits is not None:
                self._require(other, number, found.logits, wanted.logits, is_states=False, dtype=dtype)

    def _batches(self, claim: Claim, before: Facts, after: Facts) -> Iterator[PairedBatch]:
        new, old = claim.pairs()
        if not new:
            return
        longest = min(LONGEST[self.device.type], before.positions, after.positions)
        for batch in paired_batches(new, old, (after.pad, before.pad), longest, min(before.types, after.types)):
            yield PairedBatch(_placed(batch.after, self.device), _placed(batch.before, self.device))

    def _require(self, claim: Claim, number: int, found: Tensor, wanted: Tensor, is_states: bool, dtype: str) -> None:
        """Raises `_RefutedError` unless the two are as near as the claim says."""
        tolerance = claim.tolerance
        if tolerance and dtype != "float32":
            tolerance = max(tolerance, {"float16": 1e-2, "bfloat16": 6e-2}[dtype])
        gap = float((found.double() - wanted.double()).norm() / wanted.double().norm().clamp_min(1e-30))
        if is_states:
            self.largest = max(self.largest or 0.0, gap)
        holds = torch.equal(found, wanted) if not tolerance else gap <= tolerance
        if not holds:
            place = (found != wanted).nonzero()[0].tolist() if found.shape == wanted.shape else []
            raise _RefutedError(
                f"{claim.sentence}: batch {number} ({dtype}) differs by {gap:.3g}, first at {place} of its real tokens"
            )

    @torch.no_grad()
    def _prove_runs(self, before: GteEncoder | None, after: GteEncoder) -> None:
        """Where numbers are drawn, or nothing was before: finite outputs."""
        if before is not None and not self._of("drawn"):
            return
        rows = len(after.input_table())
        facts = Facts.of(after)
        ids = [number for number in range(min(rows, 4096)) if number != facts.pad]
        for batch in paired_batches(ids, ids, (facts.pad,) * 2, min(64, facts.positions), facts.types):
            placed = _placed(batch.after, self.device)
            self.batches += 1
            self.tokens += batch.tokens
            if not bool(after.embed(placed).isfinite().all()):
                raise _RefutedError("a forward of random ids gives numbers that are not finite")


def _left_out(claim: Claim, *encoders: GteEncoder) -> Iterator[str]:
    """The canonical names of the parameters that a claim about all others leaves out."""
    for encoder in encoders:
        for name in parameters(encoder):
            if {name, encoder.family.naming.place_in_packed(name)[0]} & set(claim.tensors):
                yield name


def _different_config(before: GteEncoder, after: GteEncoder) -> Iterator[str]:
    one, other = before.config.to_dict(), after.config.to_dict()
    for key in sorted((one.keys() | other.keys()) - _CHANGING):
        if one.get(key) != other.get(key):
            yield f"config.json: /{key}: {other.get(key)!r}, and was {one.get(key)!r}"


def _unlikely(encoder: GteEncoder) -> Iterator[str]:
    for name, parameter in encoder.model.named_parameters():
        if not bool(parameter.isfinite().all()):
            yield f"`{name}` holds numbers that are not finite"


@torch.no_grad()
def _outputs(encoder: GteEncoder, batch: Mapping[str, Tensor], real: Tensor, ids: Sequence[int]) -> _Outputs:
    return _Outputs(encoder(**batch)[real], _logits(encoder, batch, ids))


def _logits(encoder: GteEncoder, batch: Mapping[str, Tensor], ids: Sequence[int]) -> Tensor | None:
    """What the head says of the real tokens or the rows; of a masked LM for the kept ids alone; None without one."""
    if encoder.head.value == "none":
        return None
    said = encoder.logits(batch)
    said = said[batch["attention_mask"] == 1] if said.dim() == 3 else said
    if said.shape[-1] == len(encoder.input_table()):
        said = said[:, torch.tensor(ids, device=said.device)]
    return said


def _type_row(encoder: GteEncoder) -> Tensor | None:
    found = [value for name, value in encoder.model.named_parameters() if "token_type_embeddings" in name]
    return found[0].detach()[0] if found else None


def _placed(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in batch.items()}
