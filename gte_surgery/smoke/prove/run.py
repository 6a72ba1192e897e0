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
from gte_surgery.gte.families import family_of
from gte_surgery.model.encoder import GteEncoder
from gte_surgery.model.load import find_device, load_encoder
from gte_surgery.smoke.prove.batches import PairedBatch, paired_batches
from gte_surgery.smoke.prove.tensors import different_parameters, different_rope, different_rows
from gte_surgery.smoke.prove.tokens import different_tokens
from gte_surgery.surgery.planning.claim import Claim, Prove, Verdict

LONGEST = {"cpu": 128, "cuda": 512}
"""Tokens of the longest row, by kind of device."""
_STORED = {"F16": "float16", "BF16": "bfloat16"}
_CHANGING = frozenset(
    ("vocab_size", "pad_token_id", "type_vocab_size", "dtype", "torch_dtype", "transformers_version", "_name_or_path",
     "architectures", "id2label", "label2id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id",
     "mask_token_id", "unk_token_id", "attn_implementation", "_attn_implementation", "rope_parameters")
)  # fmt: skip
"""Members of a native config that a surgery may change, or that do not touch the numbers; the rope is compared as the
frequencies that it gives.
"""


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
            one = self._loaded(before, dtype) if before is not None else None
            other = self._loaded_after(dtype, one is not None)
            if dtype == "float32":
                self._prove_numbers(one, other)
            self._prove_states(one, other, dtype)

    def _prove_tokens(self, before: Checkpoint | None) -> None:
        for claim in self._of("tokens"):
            for fault in different_tokens(before, self.after, *claim.pairs()) if before is not None else ():
                raise _RefutedError(f"{claim.sentence}: {fault}")

    def _dtypes(self) -> tuple[str, ...]:
        stored = {tensor.dtype for tensor in self.after.tensors.values()} & _STORED.keys()
        return ("float32", *(_STORED[dtype] for dtype in sorted(stored) if self.device.type == "cuda"))

    def _loaded_after(self, dtype: str, was_possible: bool) -> GteEncoder:
        """The checkpoint after; that it cannot be run any more refutes the plan where the one before can."""
        try:
            return self._loaded(self.after, dtype)
        except RefusedError as error:
            if was_possible:
                raise _RefutedError(f"it cannot be run any more: {error.message}") from None
            raise

    def _loaded(self, checkpoint: Checkpoint, dtype: str) -> GteEncoder:
        return load_encoder(checkpoint, str(self.device), dtype, "sdpa", unpad=False)

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
            left_out = set(_left_out(claim, self.after, before, after))
            yield from different_parameters(before, after, left_out, claim.rounded, claim.may_lose)
            yield from different_rope(before, after)
            yield from _different_config(before, after)
        elif claim.kind == "rows":
            added = _type_row(before) if claim.adds_type else None
            yield from different_rows(before, after, new, old, claim.rounded, added)

    @torch.no_grad()
    def _prove_states(self, before: GteEncoder | None, after: GteEncoder, dtype: str) -> None:
        states, outputs = self._of("states"), self._of("outputs")
        if before is None or self._of("drawn"):
            self._prove_runs(after)
        if before is None:
            return
        for claim in states:
            new, old = claim.pairs()
            for number, batch in enumerate(self._batches(claim, new, old, before, after)):
                self.batches += 1
                self.tokens += batch.tokens
                pair = self._run(before, after, batch)
                self._require(claim, number, batch, *pair, is_states=True, dtype=dtype)
                for other in outputs:
                    found = _logits(after, batch.after, new), _logits(before, batch.before, old)
                    if found[0] is not None and found[1] is not None:
                        self._require(other, number, batch, found[0], found[1], is_states=False, dtype=dtype)

    def _batches(
        self, claim: Claim, new: Sequence[int], old: Sequence[int], before: GteEncoder, after: GteEncoder
    ) -> Iterator[PairedBatch]:
        if not new:
            return
        longest = min(LONGEST[self.device.type], *(_positions(encoder) for encoder in (before, after)))
        pads = (_pad_of(after), _pad_of(before))
        types = min(_types(before), _types(after))
        for batch in paired_batches(new, old, pads, longest, types):
            yield PairedBatch(_placed(batch.after, self.device), _placed(batch.before, self.device))

    def _run(self, before: GteEncoder, after: GteEncoder, batch: PairedBatch) -> tuple[Tensor, Tensor]:
        return after(**batch.after)[batch.real], before(**batch.before)[batch.real]

    def _require(
        self, claim: Claim, number: int, batch: PairedBatch, found: Tensor, wanted: Tensor, is_states: bool, dtype: str
    ) -> None:
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
    def _prove_runs(self, after: GteEncoder) -> None:
        """A checkpoint made from nothing: finite outputs, and unit embeddings."""
        rows = len(after.input_table())
        ids = [number for number in range(min(rows, 4096)) if number != _pad_of(after)]
        for batch in paired_batches(ids, ids, (_pad_of(after),) * 2, min(64, _positions(after)), _types(after)):
            placed = _placed(batch.after, self.device)
            self.batches += 1
            self.tokens += batch.tokens
            if not bool(after.embed(placed).isfinite().all()):
                raise _RefutedError("a forward of random ids gives numbers that are not finite")


def _left_out(claim: Claim, after: Checkpoint, *encoders: GteEncoder) -> Iterator[str]:
    """The parameters that a claim about all others leaves out, by their names in the models."""
    family = family_of(after.values)
    for encoder in encoders:
        layout = family.required_native().layout(encoder.head)
        for name, _ in encoder.model.named_parameters():
            canonical = family.naming.canonical(name, layout) or name
            if {canonical, family.naming.place_in_packed(canonical)[0]} & set(claim.tensors):
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


def _pad_of(encoder: GteEncoder) -> int:
    return encoder.config.pad_token_id or 0


def _types(encoder: GteEncoder) -> int:
    return int(getattr(encoder.config, "type_vocab_size", 0) or 0)


def _positions(encoder: GteEncoder) -> int:
    return int(encoder.config.max_position_embeddings)


def _placed(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in batch.items()}
