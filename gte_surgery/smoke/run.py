"""`smoke`: one run over a checkpoint, from loading it to the result, on one device or on one a process."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import cast

import torch

from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.errors import CheckpointError, RefusedError, UsageError
from gte_surgery.findings import Finding
from gte_surgery.gte.kinds import Head
from gte_surgery.model.encoder import GteEncoder, require_compilable
from gte_surgery.model.load import DTYPES, find_device, load_encoder
from gte_surgery.model.native import require_transformers
from gte_surgery.outputs import require_output
from gte_surgery.smoke.against.run import compare
from gte_surgery.smoke.batches import Batch, make_batch
from gte_surgery.smoke.ledger import BrokenRunError, Ledger
from gte_surgery.smoke.matrix import Matrix, eager_states
from gte_surgery.smoke.options import Progress, SmokeOptions, Task
from gte_surgery.smoke.proofs import TOLERANCES, distance, prove_forward
from gte_surgery.smoke.prove.memory import release, require_memory
from gte_surgery.smoke.ranks import World, prove_ranks, world
from gte_surgery.smoke.reference import compare_reference, save_reference
from gte_surgery.smoke.remote import RemoteCodeError, known_cause, load_remote
from gte_surgery.smoke.result import Proof, SmokeResult
from gte_surgery.smoke.subject import Subject, prove_rope, prove_soundness
from gte_surgery.smoke.training import Objective, prove_compiled, prove_pad_kept, prove_training, training_tensors


def smoke(path: Path | str, options: SmokeOptions | None = None, progress: Progress | None = None) -> SmokeResult:
    """Prove the checkpoint at `path` on a device, and measure it.

    What does not hold becomes a finding of the result; raised are only RefusedError (no such device or backend, too
    little memory), UsageError (an option that does not fit) and CheckpointError (no checkpoint, or no reference).
    Under torchrun each process proves on its own device, and every process returns the findings of all.
    """
    begin = time.perf_counter()
    options = options or SmokeOptions()
    if options.save_reference is not None:
        require_output(options.save_reference, (Path(path),))
    is_cuda = options.device.startswith("cuda")
    if is_cuda:
        find_device(options.device)
    with world(is_cuda) as here:
        device = find_device(f"cuda:{here.local_rank}" if is_cuda and here.is_joined else options.device)
        subject = Subject.opened(path, options, device, here.rank, progress or (lambda told: None))
        require_transformers(subject.family.required_native())
        if progress is not None and options.max_length > subject.batch.width:
            progress(f"max-length {options.max_length}: cut to the {subject.batch.width} positions of the model")
        require_memory(subject, here.size)
        run = _Run(subject, here, Ledger(here.rank), progress or (lambda told: None))
        run.all()
        return run.result(time.perf_counter() - begin)


class _Run:
    """One process's run: loads, proves, trains, and meets the other processes at the end."""

    def __init__(self, subject: Subject, here: World, ledger: Ledger, progress: Progress) -> None:
        self.subject = subject
        self.options = subject.options
        self.here = here
        self.ledger = ledger
        self.progress = progress

    def all(self) -> None:
        """Every part; after a failure of the device nothing more is tried."""
        prove_soundness(self.subject, self.ledger)
        is_sound = True
        try:
            if (old := self.options.against) is not None:
                if self.here.rank == 0:
                    self.ledger.against = compare(self.subject, old, self.ledger, self.progress)
            elif self.options.runtime == "remote":
                self._remote()
            else:
                self._native()
        except BrokenRunError as broken:
            self.ledger.findings.append(broken.finding)
            is_sound = False
        if self.options.train and self.options.runtime == "native":
            self._train_together(is_sound)

    def _native(self) -> None:
        encoder = self._loaded("fp32")
        if encoder is None:
            return
        self._require_task(encoder)
        if self.options.compile:
            require_compilable(encoder.model, encoder.family)
        prove_rope(self.subject, encoder.model, self.ledger)
        matrix = Matrix(self.subject, self.ledger, eager_states(encoder, self.subject))
        for name in self.options.dtypes(self.subject.device.type):
            self.progress(f"proving {name}")
            proved = encoder if name == "fp32" else self._loaded(name)
            if proved is not None:
                matrix.prove_dtype(name, proved)
                self._references(proved, name)
        self.ledger.subject = "fp32"
        del proved
        for name in self.options.dtypes(self.subject.device.type) if self.options.train else ():
            for backend in matrix.serving(name, encoder):
                self._train(name, backend)
            if self.options.compile:
                self._train_compiled(name)
        if not self.options.train:
            encoder.choose_attention()
            self.ledger.subject = "fp32"
            self._step_once(encoder, self.options.task)

    def _loaded(self, name: str) -> GteEncoder | None:
        """The encoder in a dtype, or None and a finding."""
        try:
            encoder = load_encoder(self.subject.checkpoint, str(self.subject.device), name, "eager")
        except RefusedError as refused:
            self.ledger.fail("GTE501", "the native model can express the checkpoint", refused.message, refused.hint)
        except CheckpointError as error:
            self.ledger.fail("GTE500", "loads completely", error.message, error.hint)
        else:
            if not any(proof.code == "GTE500" for proof in self.ledger.proofs):
                self.ledger.prove("GTE500", "loads completely", 0, 0)
            return encoder
        return None

    def _require_task(self, encoder: GteEncoder) -> None:
        if self.options.task == "mlm" and encoder.head is not Head.MASKED_LM:
            raise UsageError(
                f"task mlm: the checkpoint's head is {encoder.head.value}, which predicts no tokens",
                "take --task embed or regression, or a checkpoint with a masked-LM head",
            )

    def _references(self, encoder: GteEncoder, name: str) -> None:
        """In the first dtype that was asked for."""
        options = self.options
        if name != options.dtypes(self.subject.device.type)[0]:
            return
        self.ledger.subject = name
        encoder.choose_attention(options.one_attention)
        if options.compare is not None:
            rows = self.subject.config.vocab_size
            compare_reference(options.compare, encoder, rows, self.subject.device, self.ledger)
        if options.save_reference is not None and self.here.rank == 0:
            save_reference(options.save_reference, self.subject.checkpoint.path, encoder, self.subject.batch)

    def _objective(self, name: str, backend: str, is_compiled: bool = False) -> Objective:
        """A freshly loaded float32 model, whose attention works in the dtype of training."""
        place = str(self.subject.device)
        encoder = load_encoder(self.subject.checkpoint, place, "float32", "eager", compile=is_compiled)
        encoder.choose_attention(backend, DTYPES[name])
        return Objective(encoder, self.options.task, self.options.seed)

    def _tensors(self, batch: Batch, task: Task) -> dict[str, torch.Tensor]:
        width = self.subject.config.hidden_size
        return training_tensors(batch, task, self.subject.ids, width, self.options.seed)

    def _train(self, name: str, backend: str) -> None:
        self.progress(f"training {name} {backend}")
        self.ledger.subject = f"{name} {backend}"
        objective = self._objective(name, backend)
        try:
            prove_training(
                objective, self.subject.batch, self._tensors(self.subject.batch, self.options.task), DTYPES[name],
                self.options.train, self.subject.config.pad_token_id, self.ledger,
            )  # fmt: skip
        except BrokenRunError as broken:
            if broken.is_fatal:
                raise
            self.ledger.findings.append(broken.finding)
        del objective
        release(self.subject.device)

    def _train_compiled(self, name: str) -> None:
        self.progress(f"training {name} compiled")
        self.ledger.subject = f"{name} compiled"
        batch, made = self.subject.batch, partial(self._objective, name, self.options.one_attention)
        prove_compiled(made, batch, self._tensors(batch, self.options.task), DTYPES[name], self.ledger)
        release(self.subject.device)

    def _step_once(self, encoder: GteEncoder, task: Task) -> None:
        objective = Objective(encoder, task, self.options.seed)
        pad = self.subject.config.pad_token_id
        prove_pad_kept(objective, self.subject.batch, self._tensors(self.subject.batch, task), pad, self.ledger)

    def _train_together(self, is_sound: bool) -> None:
        """Train on all processes, if all of them came so far."""
        came = self.here.gathered(is_sound and not any(p.code in ("GTE500", "GTE501") for p in self._failed()))
        if not all(came):
            if len(came) > 1:
                self.ledger.fail("GTE563", "all processes train together", f"process {came.index(False)} failed before")
            return
        if not self.here.is_joined:
            return
        name = self.options.dtypes(self.subject.device.type)[0]
        self.ledger.subject = f"{name} on {self.here.size} processes"
        batches = [self._batch_of(rank) for rank in range(self.here.size)]
        try:
            prove_ranks(
                self._objective(name, self.options.one_attention, self.options.compile),
                batches,
                DTYPES[name],
                self.options.train,
                self.here,
                self.ledger,
            )
        except BrokenRunError as broken:
            self.ledger.findings.append(broken.finding)

    def _batch_of(self, rank: int) -> tuple[Batch, dict[str, torch.Tensor]]:
        options = self.options
        batch = make_batch(self.subject.ids, options.batch, options.max_length, options.seed + rank)
        placed = batch.to(self.subject.device)
        return placed, self._tensors(placed, options.task)

    def _remote(self) -> None:
        """The checkpoint's own code, against the native model."""
        native = self._loaded("fp32")
        wanted = eager_states(native, self.subject) if native is not None else None
        head = native.head if native is not None else Head.NONE
        del native
        checkpoint = self.subject.checkpoint
        hint = f"{pasteable('convert', checkpoint.name, '--to', 'native')} makes it run without that code"
        for name in self.options.dtypes(self.subject.device.type):
            self.ledger.subject = f"{name} remote"
            self.progress(f"proving {name} with the checkpoint's own code")
            try:
                encoder = load_remote(checkpoint.path, self.subject.device, DTYPES[name], head)
                prove_rope(self.subject, encoder.model, self.ledger)
                states = prove_forward(encoder, self.subject.batch, self.ledger)
                # It has the face of a GteEncoder as far as embeddings go, and no other task is trained.
                self._step_once(cast(GteEncoder, encoder), "embed")
            except RemoteCodeError as error:
                self.ledger.fail("GTE550", "the checkpoint's own code runs", str(error), hint)
                continue
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                self.ledger.fail("GTE550", "the checkpoint's own code runs", known_cause(error), hint)
                continue
            if wanted is not None:
                gap = distance(states, wanted)
                self.ledger.prove("GTE551", "equals the native model", gap, TOLERANCES[DTYPES[name]])

    def _failed(self) -> list[Proof]:
        return [proof for proof in self.ledger.proofs if proof.outcome == "failed"]

    def result(self, seconds: float) -> SmokeResult:
        """This process's result, with the proofs and findings of all."""
        for member in self.ledger.unserved if self.here.rank == 0 else ():
            self.ledger.subject = member.dtype
            self.ledger.found("GTE502", f"{member.backend} {member.reason}")
        proofs = [proof for proofs in self.here.gathered(self.ledger.proofs) for proof in proofs]
        findings: list[Finding] = [found for each in self.here.gathered(self.ledger.findings) for found in each]
        batch = self.subject.batch
        return SmokeResult(
            checkpoint=self.subject.checkpoint.name,
            runtime=self.options.runtime,
            device=_device_name(self.subject.device),
            world_size=self.here.size,
            versions=tuple(_versions()),
            rows=batch.rows,
            width=batch.width,
            tokens=batch.tokens,
            asked=self.options.max_length,
            proofs=tuple(proofs),
            speeds=tuple(self.ledger.speeds),
            unserved=tuple(self.ledger.unserved),
            findings=tuple(dict.fromkeys(findings)),
            seconds=seconds,
            against=next(iter(self.here.gathered(self.ledger.against)), None),
            timed=self.ledger.timed,
        )


def _device_name(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    yield "torch", torch.__version__
    for package in ("transformers", "xformers", "nvidia-cudnn-frontend"):
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
