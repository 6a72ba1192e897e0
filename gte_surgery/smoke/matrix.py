"""The table of backends and dtypes: each combination that can serve is proved and timed against eager attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from gte_surgery.model.attention import BACKENDS, Backend
from gte_surgery.model.availability import Choice
from gte_surgery.model.compiled import GRAPHS, graphs_made
from gte_surgery.model.encoder import GteEncoder
from gte_surgery.model.load import DTYPES, load_encoder
from gte_surgery.smoke.batches import Batch, make_batch
from gte_surgery.smoke.ledger import Ledger
from gte_surgery.smoke.proofs import TOLERANCES, distance, prove_forward
from gte_surgery.smoke.result import Path, Speed, Unserved
from gte_surgery.smoke.speeds import Timing, Way, full_batch, measure
from gte_surgery.smoke.subject import Subject
from gte_surgery.smoke.trouble import BrokenRunError, watched

EAGER = Choice("eager", "eager", {})


@dataclass(frozen=True, slots=True)
class _Way:
    """A backend that is timed: packed or padded, by an encoder with a choice of backends; its error against float32."""

    backend: str
    path: Path
    encoder: GteEncoder
    choice: Choice
    error: float

    def run(self, batch: Batch) -> None:
        """One forward."""
        self.encoder.choice = self.choice
        self.encoder.encode(batch.tensors, unpad_inputs=self.path == "packed")


@dataclass
class Matrix:
    """Grows combination by combination; `wanted` are the float32 eager states that all others are held against."""

    subject: Subject
    ledger: Ledger
    wanted: Tensor
    speeds: list[Speed] = field(default_factory=list)
    unserved: list[Unserved] = field(default_factory=list)
    timed: Batch | None = None

    def prove_dtype(self, name: str, encoder: GteEncoder) -> None:
        """Every backend asked for, in one dtype, then the speeds of those that held."""
        padded = eager_states(encoder, self.subject)
        ways = [_Way("eager", "padded", encoder, EAGER, distance(padded, self.wanted))]
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
            ways.append(_Way(backend, "packed", encoder, encoder.choice, distance(states, self.wanted)))
        if self.subject.options.compile:
            ways.append(self._prove_compiled(name))
        self._time(name, ways)

    def _time(self, name: str, ways: Sequence[_Way]) -> None:
        """All ways in turns on the batch that fills the device; eager comes first, and the others are times as fast."""
        self.timed = full_batch(
            self.subject.ids, self.subject.device, self.subject.options.max_length, self.subject.options.seed
        )
        run = [Way(f"{name} {way.backend}", partial(way.run, self.timed)) for way in ways]
        timings = measure(run, self.timed, self.subject.device)
        eager = timings[0].tokens_per_second if isinstance(timings[0], Timing) else None
        for way, timing in zip(ways, timings, strict=True):
            if isinstance(timing, BrokenRunError):
                self.ledger.findings.append(timing.finding)
                continue
            rate = timing.tokens_per_second
            times = rate / eager if eager else None
            self.speeds.append(
                Speed(name, way.backend, way.path, rate, timing.peak_bytes, way.error, times, timing.spread)
            )

    def serving(self, name: str, encoder: GteEncoder) -> list[Backend]:
        """The backends to prove in a dtype; those that cannot serve are noted with their reasons."""
        asked = self.subject.options.attention
        choice = encoder.choose_attention(self.subject.options.one_attention, DTYPES[name])
        for backend, reason in choice.refused.items():
            if asked in ("auto", "all") and Unserved(name, backend, reason) not in self.unserved:
                self.unserved.append(Unserved(name, backend, reason))
        if asked == "all":
            return [backend for backend in BACKENDS if backend not in choice.refused]
        return [choice.packed] if choice.short is None else [choice.packed, choice.short]

    def _prove_closeness(self, encoder: GteEncoder, states: Tensor, eager: Tensor) -> None:
        tolerance = TOLERANCES[encoder.dtype]
        self.ledger.prove("GTE519", "agrees with eager attention", distance(states, eager), tolerance)
        if encoder.dtype is not torch.float32:
            self.ledger.prove("GTE515", "close to float32", distance(states, self.wanted), tolerance)

    def _prove_compiled(self, name: str) -> _Way:
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
        return _Way(f"{encoder.choice.packed} compiled", "packed", encoder, encoder.choice, gap)


@torch.no_grad()
def eager_states(encoder: GteEncoder, subject: Subject) -> Tensor:
    """States of the real tokens by eager attention on the padded batch, float32."""
    encoder.choice = EAGER
    with watched(subject.batch, "eager forward"):
        states = encoder(**subject.batch.tensors, unpad_inputs=False)[subject.batch.real]
    return torch.as_tensor(states).float()


def _long(name: str) -> str:
    return str(DTYPES[name]).removeprefix("torch.")
