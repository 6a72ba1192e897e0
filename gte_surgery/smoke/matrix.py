"""The table of backends and dtypes: each combination that can serve is proved and timed against eager attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gte_surgery.model.attention import BACKENDS, Backend
from gte_surgery.model.availability import Choice
from gte_surgery.model.compiled import GRAPHS, graphs_made
from gte_surgery.model.encoder import GteEncoder
from gte_surgery.model.load import DTYPES, load_encoder
from gte_surgery.smoke import speeds
from gte_surgery.smoke.batches import Batch, make_batch
from gte_surgery.smoke.ledger import BrokenRunError, Ledger, watched
from gte_surgery.smoke.proofs import TOLERANCES, distance, prove_forward
from gte_surgery.smoke.result import Path, Timed, Unserved
from gte_surgery.smoke.speeds import Way, full_batch, measure
from gte_surgery.smoke.subject import Subject

EAGER = Choice("eager", "eager", {})


@dataclass(frozen=True, slots=True)
class Matrix:
    """Combination by combination; `wanted` are the float32 eager states that all others are held against."""

    subject: Subject
    ledger: Ledger
    wanted: Tensor

    def prove_dtype(self, name: str, encoder: GteEncoder) -> None:
        """Every backend asked for, in one dtype, then the speeds of those that held."""
        padded = eager_states(encoder, self.subject)
        ways = [_way("eager", "padded", encoder, EAGER, distance(padded, self.wanted))]
        for backend in self.serving(name, encoder):
            self.ledger.subject = f"{name} {backend}"
            encoder.choice = Choice(backend, backend, {})
            try:
                states = prove_forward(encoder, self.subject.batch, self.ledger)
            except BrokenRunError as broken:
                if broken.is_fatal:
                    raise
                self.ledger.findings.append(broken.finding)
                continue
            self._prove_closeness(encoder, states, padded)
            ways.append(_way(backend, "packed", encoder, encoder.choice, distance(states, self.wanted)))
        if self.subject.options.compile:
            ways.append(self._prove_compiled(name))
        self._time(name, ways)

    def _time(self, name: str, ways: Sequence[Way]) -> None:
        """All ways in turns on the batch that fills the device; eager comes first, and the others are times as fast."""
        subject, options = self.subject, self.subject.options
        batch = full_batch(subject.ids, subject.device, options.max_length, options.seed)
        shortest, longest = min(batch.lengths), max(batch.lengths)
        self.ledger.timed = Timed(batch.rows, shortest, longest, batch.tokens, speeds.ROUNDS)
        for found in measure(name, ways, batch, subject.device):
            if isinstance(found, BrokenRunError):
                self.ledger.findings.append(found.finding)
            else:
                self.ledger.speeds.append(found)

    def serving(self, name: str, encoder: GteEncoder) -> list[Backend]:
        """The backends to prove in a dtype; those that cannot serve are noted with their reasons."""
        asked = self.subject.options.attention
        choice = encoder.choose_attention(self.subject.options.one_attention, DTYPES[name])
        for backend, reason in choice.refused.items():
            if asked in ("auto", "all") and Unserved(name, backend, reason) not in self.ledger.unserved:
                self.ledger.unserved.append(Unserved(name, backend, reason))
        if asked == "all":
            return [backend for backend in BACKENDS if backend not in choice.refused]
        return [choice.packed] if choice.short is None else [choice.packed, choice.short]

    def _prove_closeness(self, encoder: GteEncoder, states: Tensor, eager: Tensor) -> None:
        tolerance = TOLERANCES[encoder.dtype]
        self.ledger.prove("GTE519", "agrees with eager attention", distance(states, eager), tolerance)
        if encoder.dtype is not torch.float32:
            self.ledger.prove("GTE515", "close to float32", distance(states, self.wanted), tolerance)

    def _prove_compiled(self, name: str) -> Way:
        """The packed path compiled: same states, and the same graphs for batches of other sizes."""
        options, device = self.subject.options, self.subject.device
        encoder = load_encoder(self.subject.checkpoint, str(device), name, options.one_attention, compile=True)
        self.ledger.subject = f"{name} {encoder.choice.packed} compiled"
        before = graphs_made()
        with watched(self.subject.batch, self.ledger.subject), torch.no_grad():
            states = encoder(**self.subject.batch.tensors)[self.subject.batch.real].float()
            for rows, longest in ((options.batch + 3, options.max_length // 2 + 1), (1, 5), (5, options.max_length)):
                other = make_batch(self.subject.ids, rows, longest, options.seed + rows).to(device)
                encoder(**other.tensors)
        self.ledger.prove("GTE570", "the same graphs serve all batches", graphs_made() - before, GRAPHS)
        gap = distance(states, self.wanted)
        self.ledger.prove("GTE519", "agrees with eager attention", gap, TOLERANCES[encoder.dtype])
        return _way(f"{encoder.choice.packed} compiled", "packed", encoder, encoder.choice, gap)


@torch.no_grad()
def eager_states(encoder: GteEncoder, subject: Subject) -> Tensor:
    """States of the real tokens by eager attention on the padded batch, float32."""
    encoder.choice = EAGER
    with watched(subject.batch, "eager forward"):
        states = encoder(**subject.batch.tensors, unpad_inputs=False)[subject.batch.real]
    return torch.as_tensor(states).float()


def _way(backend: str, path: Path, encoder: GteEncoder, choice: Choice, error: float) -> Way:
    def run(batch: Batch) -> None:
        encoder.choice = choice
        encoder.encode(batch.tensors, unpad_inputs=path == "packed")

    return Way(backend, path, error, run)
