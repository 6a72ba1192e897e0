"""`prover`: runs the claims of a plan on the checkpoint before and the staged one after.

Parameters are compared number by number, then both models run the same batches, in the ids of each, on the same
attention backend: equal is equal as bits where a claim says so. What cannot be run is inconclusive, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checks.subject import config_of
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.model.encoder import GteEncoder
from gte_surgery.model.load import DTYPES, find_device, load_encoder
from gte_surgery.smoke.batches import Batch, Ids, paired
from gte_surgery.smoke.ledger import BrokenRunError, watched
from gte_surgery.smoke.proofs import TOLERANCES, distance
from gte_surgery.smoke.prove.memory import fit_together, release
from gte_surgery.smoke.prove.tensors import (
    different_parameters,
    different_rope,
    different_rows,
    different_tokens,
    parameters,
)
from gte_surgery.smoke.speeds import LONGEST
from gte_surgery.surgery.planning.claim import Claim, Prove, Verdict

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


class _Run(NamedTuple):
    """A batch of a claim about hidden states: in the ids after and in those before; `new` and `old` mean the same."""

    claim: Claim
    number: int
    after: Batch
    before: Batch
    new: Sequence[int]
    old: Sequence[int]


class _Outputs(NamedTuple):
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
        except BrokenRunError as broken:
            return self._verdict("inconclusive", f"it cannot be run: {broken.finding.message}")
        except OSError as error:
            return self._verdict("inconclusive", f"it cannot be run: {error.strerror or error}")
        except torch.OutOfMemoryError as error:
            return self._verdict("inconclusive", f"it cannot be run: {' '.join(str(error).split())[:300]}")
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
            if before is None:
                self._prove_alone(dtype)
            elif fit_together((before, self.after), self.device, dtype):
                self._prove_together(before, dtype)
            else:
                self._prove_apart(before, dtype)

    def _prove_alone(self, dtype: str) -> None:
        after = self._loaded(self.after, dtype)
        if dtype == "float32":
            self._prove_numbers(None, after)
        self._prove_finite(after)

    def _prove_together(self, before: Checkpoint, dtype: str) -> None:
        one, other = self._loaded(before, dtype), self._loaded_after(dtype)
        if dtype == "float32":
            self._prove_numbers(one, other)
        self._prove_outputs(before, lambda run: _outputs(one, run.before, run.old), other, dtype)

    def _prove_apart(self, before: Checkpoint, dtype: str) -> None:
        """One model after the other on the device, which has no room for both; their numbers meet on the CPU."""
        if dtype == "float32":
            cpu = torch.device("cpu")
            self._prove_numbers(self._loaded(before, dtype, cpu), self._loaded_after(dtype, cpu))
        one = self._loaded(before, dtype)
        wanted = iter([_outputs(one, run.before, run.old).on_cpu() for run in self._runs(before)])
        del one
        release(self.device)
        self._prove_outputs(before, lambda run: next(wanted), self._loaded_after(dtype), dtype)
        release(self.device)

    def _prove_outputs(
        self, before: Checkpoint, said: Callable[[_Run], _Outputs], after: GteEncoder, dtype: str
    ) -> None:
        """Hold what both make of each batch, the one before as it `said`, against the claims on states and outputs."""
        if self._of("drawn"):
            self._prove_finite(after)
        for run in self._runs(before):
            found, was = _outputs(after, run.after, run.new), said(run)
            self.batches += 1
            self.tokens += run.after.tokens
            gap = self._require(run.claim, run.number, found.states, was.states, dtype)
            self.largest = max(self.largest or 0.0, gap)
            for claim in self._of("outputs"):
                if found.logits is not None and was.logits is not None:
                    self._require(claim, run.number, found.logits, was.logits, dtype)

    def _runs(self, before: Checkpoint) -> Iterator[_Run]:
        ids, former = (Ids.of(config_of(each), {}) for each in (self.after, before))
        longest = min(LONGEST[self.device.type], ids.max_length, former.max_length)
        types = min(ids.type_vocab_size, former.type_vocab_size)
        for claim in self._of("states"):
            new, old = claim.pairs()
            batches = paired(new, old, (ids.pad, former.pad), longest, types) if new else ()
            for number, (one, other) in enumerate(batches):
                yield _Run(claim, number, one.to(self.device), other.to(self.device), new, old)

    def _prove_tokens(self, before: Checkpoint | None) -> None:
        for claim in self._of("tokens"):
            for fault in different_tokens(before, self.after, *claim.pairs()) if before is not None else ():
                raise _RefutedError(f"{claim.sentence}: {fault}")

    def _dtypes(self) -> tuple[str, ...]:
        stored = {tensor.dtype for tensor in self.after.tensors.values()} & _STORED.keys()
        return ("float32", *(_STORED[dtype] for dtype in sorted(stored) if self.device.type == "cuda"))

    def _loaded_after(self, dtype: str, place: torch.device | None = None) -> GteEncoder:
        """The checkpoint after; that it cannot be run any more, where the one before can, refutes the plan."""
        try:
            return self._loaded(self.after, dtype, place)
        except RefusedError as error:
            raise _RefutedError(f"it cannot be run any more: {error.message}") from None

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

    def _require(self, claim: Claim, number: int, found: Tensor, wanted: Tensor, dtype: str) -> float:
        """How far the two are apart; raises `_RefutedError` unless they are as near as the claim says."""
        found = found.to(wanted.device)
        tolerance = claim.tolerance
        if tolerance and dtype != "float32":
            tolerance = max(tolerance, TOLERANCES[DTYPES[dtype]])
        gap = distance(found, wanted)
        holds = torch.equal(found, wanted) if not tolerance else gap <= tolerance
        if not holds:
            place = (found != wanted).nonzero()[0].tolist()
            raise _RefutedError(
                f"{claim.sentence}: batch {number} ({dtype}) differs by {gap:.3g}, first at {place} of its real tokens"
            )
        return gap

    @torch.no_grad()
    def _prove_finite(self, after: GteEncoder) -> None:
        """Where numbers are drawn, or nothing was before."""
        ids = Ids.of(config_of(self.after), {})
        kept = [number for number in range(min(ids.vocab_size, 4096)) if number != ids.pad]
        for made, _ in paired(kept, kept, (ids.pad, ids.pad), min(64, ids.max_length), ids.type_vocab_size):
            batch = made.to(self.device)
            self.batches += 1
            self.tokens += batch.tokens
            with watched(batch, "a forward of random ids"):
                vectors = after.embed(batch.tensors)
            if not bool(vectors.isfinite().all()):
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
def _outputs(encoder: GteEncoder, batch: Batch, ids: Sequence[int]) -> _Outputs:
    with watched(batch, "a forward of ids that keep their meaning"):
        return _Outputs(encoder(**batch.tensors)[batch.real], _logits(encoder, batch, ids))


def _logits(encoder: GteEncoder, batch: Batch, ids: Sequence[int]) -> Tensor | None:
    """What the head says of the real tokens or the rows; of a masked LM for the kept ids alone; None without one."""
    if encoder.head.value == "none":
        return None
    said = encoder.logits(batch.tensors)
    said = said[batch.real] if said.dim() == 3 else said
    if said.shape[-1] == len(encoder.input_table()):
        said = said[:, torch.tensor(ids, device=said.device)]
    return said


def _type_row(encoder: GteEncoder) -> Tensor | None:
    found = [value for name, value in encoder.model.named_parameters() if "token_type_embeddings" in name]
    return found[0].detach()[0] if found else None
