"""Real training steps on a fixed batch: loss and gradients are finite, the loss falls, the pad row stays zero.

Weights are float32; float16 and bfloat16 mean autocast, and a loss scale for float16, as one trains in practice.
Dropout is off, so that the loss is a function of the weights alone. Several processes are for `ranks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from gte_surgery.gte.kinds import Head
from gte_surgery.model.encoder import IGNORED, GteEncoder
from gte_surgery.model.native import body_of
from gte_surgery.smoke.batches import Batch, Ids, Tensors
from gte_surgery.smoke.ledger import Ledger, watched
from gte_surgery.smoke.options import Task
from gte_surgery.smoke.proofs import TOLERANCES, distance

_MASKED_SHARE = 0.15
_SHORT = 64
_RATE = 2e-5
_HEAD_RATE = 1e-4
_TIED = "as a row of the tied decoder masked-LM training moves it, like any id that is never the answer"


class Objective(nn.Module):
    """An encoder with what the task puts on top; its forward is the loss of a batch.

    embed: 1 − cosine to a fixed random direction. regression: squared error of a linear head on the CLS state, which
    says less the wider the model: AdamW's first steps move all weights alike, and a wide model so far that the error of
    a sound one grew. mlm: cross entropy at the masked positions, divided by `counted` instead of their number where
    that is given.
    """

    def __init__(self, encoder: GteEncoder, task: Task, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.task = task
        width = encoder.config.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(width, 1).to(encoder.device) if task == "regression" else None
        for parameter in self._idle():
            parameter.requires_grad_(False)

    def forward(self, tensors: Tensors, counted: float | None = None) -> Tensor:
        match self.task:
            case "embed":
                cosines = (self.encoder.embed(_inputs(tensors)) * tensors["targets"]).sum(-1)
                return 1 - cosines.mean()
            case "regression":
                first = self.encoder.encode(_inputs(tensors)).first()
                said = self.head(first).float().squeeze(-1) if self.head is not None else first
                root = self.encoder.config.hidden_size**0.5
                return functional.mse_loss(said / root, tensors["targets"][:, 0] * root)
            case "mlm":
                return self.encoder.masked_loss(_inputs(tensors), tensors["labels"], counted)

    def _idle(self) -> Iterator[nn.Parameter]:
        """Parameters of a head that the task does not use: those that would get no gradient."""
        if self.task == "mlm":
            return
        named = body_of(self.encoder.model).named_parameters()
        used = {id(parameter) for name, parameter in named if "pooler." not in name}
        yield from (parameter for parameter in self.encoder.parameters() if id(parameter) not in used)


def _inputs(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name not in ("labels", "targets")}


def training_tensors(batch: Batch, task: Task, ids: Ids, width: int, seed: int) -> Tensors:
    """The batch with labels (mlm: 15 % of the tokens, at least one, replaced by the mask id) or random targets."""
    generator = torch.Generator().manual_seed(seed)
    device = batch.tensors["input_ids"].device
    if task != "mlm":
        targets = torch.randn(batch.rows, width, generator=generator).to(device)
        return {**batch.tensors, "targets": functional.normalize(targets, dim=-1)}
    chosen = (torch.rand(batch.rows, batch.width, generator=generator).to(device) < _MASKED_SHARE) & batch.real
    chosen[0, 0] = True
    tokens = batch.tensors["input_ids"]
    mask = ids.mask if ids.mask is not None else (ids.pad + 1) % ids.vocab_size
    hidden = torch.where(chosen, mask, tokens)
    return {**batch.tensors, "input_ids": hidden, "labels": torch.where(chosen, tokens, IGNORED)}


@dataclass
class Trainer:
    """AdamW, with a loss scale where the dtype needs one. `module` is the objective, bare or spread over processes."""

    module: nn.Module
    dtype: torch.dtype
    device: torch.device

    def __post_init__(self) -> None:
        named = [(name, value) for name, value in self.module.named_parameters() if value.requires_grad]
        heads = [value for name, value in named if name.endswith(("head.weight", "head.bias"))]
        others = [value for name, value in named if not name.endswith(("head.weight", "head.bias"))]
        groups = [{"params": others, "lr": _RATE}, {"params": heads, "lr": _HEAD_RATE}]
        self.optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.01)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16, init_scale=1024.0)

    def loss(self, tensors: Tensors, counted: float | None = None) -> Tensor:
        """The loss under the dtype."""
        with autocast(self.device, self.dtype):
            return torch.as_tensor(self.module(tensors, counted))

    def backward(self, tensors: Tensors, counted: float | None = None) -> float:
        """The loss; its gradients, unscaled, are then in place."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(tensors, counted)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        return float(loss.detach())

    def take(
        self, steps: int, tensors: Tensors, inspect: Callable[[], None], counted: float | None = None
    ) -> list[float]:
        """Move the weights so many times along the gradients of a batch; its losses, the last one after all steps.

        `inspect` looks at the first gradients while they are in place.
        """
        losses = []
        for step in range(steps):
            losses.append(self.backward(tensors, counted))
            if step == 0:
                inspect()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        with torch.no_grad():
            return [*losses, float(self.loss(tensors, counted))]


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Low precision where autocast thinks it safe; nothing for float32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32)


def prove_training(
    objective: Objective,
    batch: Batch,
    tensors: Tensors,
    dtype: torch.dtype,
    steps: int,
    pad: int | None,
    ledger: Ledger,
) -> None:
    """Take `steps` steps and record what they prove. The weights are others afterwards."""
    trainer = Trainer(objective, dtype, objective.encoder.device)
    with autocast(objective.encoder.device, dtype):
        prove_pad_gradient(objective.encoder, batch, pad, ledger)
    with watched(batch, f"{ledger.subject} training"):
        losses = trainer.take(steps, tensors, partial(prove_gradients, objective, ledger))
    prove_losses(losses, ledger)
    prove_pad_row(objective, pad, ledger)


def prove_pad_kept(objective: Objective, batch: Batch, tensors: Tensors, pad: int | None, ledger: Ledger) -> None:
    """One plain gradient step in float32, where no training was asked for: what it does to the pad row."""
    prove_pad_gradient(objective.encoder, batch, pad, ledger)
    optimizer = torch.optim.SGD((value for value in objective.parameters() if value.requires_grad), lr=_RATE)
    with watched(batch, "one gradient step"):
        objective(tensors).backward()
        prove_gradients(objective, ledger)
        optimizer.step()
    prove_pad_row(objective, pad, ledger)


def prove_compiled(
    made: Callable[[bool], Objective], batch: Batch, tensors: Tensors, dtype: torch.dtype, ledger: Ledger
) -> None:
    """The gradient of a step is the same compiled, and once more: small batches on CUDA are replayed from then on.

    `made` loads the objective, compiled or not.
    """
    with watched(batch, f"{ledger.subject} training"):
        (wanted,) = gradients(made(False), [tensors], dtype)
        gap = max(distance(found, wanted) for found in gradients(made(True), [tensors] * 2, dtype))
    ledger.prove("GTE571", "gradients are the uncompiled model's", gap, TOLERANCES[dtype])


def gradients(
    objective: Objective, given: Iterable[Tensors], dtype: torch.dtype, counted: float | None = None
) -> Iterator[Tensor]:
    """All gradients in one row, for each of the batches; no step is taken, and nothing is left in place."""
    trainer = Trainer(objective, dtype, objective.encoder.device)
    for tensors in given:
        trainer.backward(tensors, counted)
        trainer.scaler.update()
        yield gradient_of(objective)
    trainer.optimizer.zero_grad(set_to_none=True)


def gradient_of(objective: Objective) -> Tensor:
    """The gradients that are in place, in one row."""
    return torch.cat([value.grad.flatten() for value in objective.parameters() if value.grad is not None])


def prove_losses(losses: list[float], ledger: Ledger) -> None:
    """Finite at every step, and lower at the end than at the beginning."""
    unsound = sum(not torch.tensor(loss).isfinite() for loss in losses)
    told = "losses " + " ".join(f"{loss:.6g}" for loss in losses)
    ledger.prove("GTE530", "the loss is finite", unsound, 0, told if unsound else "")
    ledger.prove("GTE532", "the loss falls", (losses[-1] - losses[0]) / losses[0] if losses[0] else 0, -1e-7, told)


def prove_gradients(objective: Objective, ledger: Ledger) -> None:
    """Every parameter that should train has a finite gradient."""
    trained = [(name, value) for name, value in objective.named_parameters() if value.requires_grad]
    unsound = [name for name, value in trained if value.grad is None or not value.grad.isfinite().all()]
    told = ", ".join(unsound[:3]) + (f" and {len(unsound) - 3} more" if len(unsound) > 3 else "")
    ledger.prove("GTE531", "every gradient is there and finite", len(unsound), 0, told)


def prove_pad_gradient(encoder: GteEncoder, batch: Batch, pad: int | None, ledger: Ledger) -> None:
    """The pad row gets no gradient even where the mask lets a pad through: where it does not, nothing could get any."""
    claim = "the pad row gets no gradient"
    if pad is None:
        ledger.skip("GTE516", claim, "config.json has no pad_token_id")
        return
    width = min(batch.width, _SHORT)
    ids = batch.tensors["input_ids"][:1, :width].clone()
    ids[0, -1] = pad
    with watched(batch, "a gradient through a pad"):
        encoder(input_ids=ids, unpad_inputs=False)[0, 0, 0].float().backward()
    gradient = encoder.input_table().grad
    largest = float("nan") if gradient is None else float(gradient[pad].abs().max())
    ledger.prove("GTE516", claim, largest, 0)
    encoder.zero_grad(set_to_none=True)


def prove_pad_row(objective: Objective, pad: int | None, ledger: Ledger) -> None:
    """The pad row is zero after the steps, unless masked-LM training, now or before, moved it with the tied decoder."""
    if pad is None:
        ledger.skip("GTE517", "the pad row stays zero", "config.json has no pad_token_id")
        return
    encoder = objective.encoder
    largest = float(encoder.input_table()[pad].detach().abs().max())
    if largest and encoder.head is Head.MASKED_LM and encoder.config.tie_word_embeddings:
        ledger.skip("GTE517", "the pad row stays zero", _TIED)
    else:
        ledger.prove("GTE517", "the pad row stays zero", largest, 0)
