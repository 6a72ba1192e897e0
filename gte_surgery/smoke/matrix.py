"""The table of backends and dtypes: each combination that can serve is proved and timed against eager attention."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gte_surgery.model.attention import BACKENDS, Backend
from gte_surgery.model.availability import Choice
from gte_surgery.model.compiled import GRAPHS, graphs_made
from gte_surgery.model.encoder import GteEncoder
from gte_surgery.model.load import DTYPES, load_encoder
from gte_surgery.smoke.batches import make_batch
from gte_surgery.smoke.ledger import Ledger
from gte_surgery.smoke.proofs import TOLERANCES, distance, prove_forward
from gte_surgery.smoke.result import Path, Speed, Unserved
from gte_surgery.smoke.speeds import measure
from gte_surgery.smoke.subject import Subject
from gte_surgery.smoke.trouble import BrokenRunError, watched

EAGER = Choice("eager", "eager", {})


@dataclass
class Matrix:
    """Grows combination by combination; `wanted` are the float32 eager states that all others are held against."""

    subject: Subject
    ledger: Ledger
    wanted: Tensor
    speeds: list[Speed] = field(default_factory=list)
    unserved: list[Unserved] = field(default_factory=list)

    def prove_dtype(self, name: str, encoder: GteEncoder) -> None:
        """Every backend asked for, in one dtype."""
        eager_speed, eager_peak = self._eager(name, encoder)
        padded = eager_states(encoder, self.subject)
        self._add_speed(name, "eager", "padded", (eager_speed, eager_peak), padded, eager_speed)
        for backend in self.serving(name, encoder):
            self.ledger.subject = f"{name} {backend}"
            encoder.choice = Choice(backend, backend, {})
            try:
                states = prove_forward(encoder, self.subject.batch, self.ledger)
                self._prove_closeness(encoder, states, padded)
                speed = measure(encoder, self.subject.batch, True, self.ledger.subject)
                self._add_speed(name, backend, "packed", speed, states, eager_speed)
            except BrokenRunError as broken:
                if broken.is_fatal:
                    raise
                self.ledger.findings.append(broken.finding)
        if self.subject.options.compile:
            self._prove_compiled(name, eager_speed)

    def serving(self, name: str, encoder: GteEncoder) -> list[Backend]:
        """The backends to prove in a dtype; those that cannot serve are noted with their reasons."""
        asked = self.subject.options.attention
        choice = encoder.choose_attention(self.subject.options.one_attention, DTYPES[name])
        for backend, reason in choice.refused.items():
            if asked in ("auto", "all") and Unserved(name, backend, reason) not in self.unserved:
                self.unserved.append(Unserved(name, backend, reason))
        if asked == "all":
            return [backend for backend in BACKENDS if backend not in choice.refused]
        return [choice.packed]

    def _eager(self, name: str, encoder: GteEncoder) -> tuple[float, int | None]:
        encoder.choice = EAGER
        return measure(encoder, self.subject.batch, False, f"{name} eager")

    def _prove_closeness(self, encoder: GteEncoder, states: Tensor, eager: Tensor) -> None:
        tolerance = TOLERANCES[encoder.dtype]
        self.ledger.prove("GTE519", "agrees with eager attention", distance(states, eager), tolerance)
        if encoder.dtype is not torch.float32:
            self.ledger.prove("GTE515", "close to float32", distance(states, self.wanted), tolerance)

    def _prove_compiled(self, name: str, eager_speed: float) -> None:
        """The packed path compiled: same states, and the same graphs for batches of other sizes."""
        options, device = self.subject.options, self.subject.device
        encoder = load_encoder(self.subject.checkpoint, str(device), _long(name), options.one_attention, compile=True)
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
        speed = measure(encoder, self.subject.batch, True, self.ledger.subject)
        self._add_speed(name, f"{encoder.choice.packed} compiled", "packed", speed, states, eager_speed)

    def _add_speed(
        self, name: str, backend: str, path: Path, speed: tuple[float, int | None], states: Tensor, eager: float
    ) -> None:
        rate, peak = speed
        self.speeds.append(Speed(name, backend, path, rate, peak, distance(states, self.wanted), rate / eager))


@torch.no_grad()
def eager_states(encoder: GteEncoder, subject: Subject) -> Tensor:
    """States of the real tokens by eager attention on the padded batch, float32."""
    encoder.choice = EAGER
    with watched(subject.batch, "eager forward"):
        states = encoder(**subject.batch.tensors, unpad_inputs=False)[subject.batch.real]
    return torch.as_tensor(states).float()


def _long(name: str) -> str:
    return str(DTYPES[name]).removeprefix("torch.")
