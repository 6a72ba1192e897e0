"""GteEncoder: a GTE model that takes ordinary padded batches and works on packed tokens inside.

It decides per batch between the packed and the padded path, and keeps attention backends apart; what the weights are,
and where they came from, is for `native`, reading a checkpoint for `load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.findings import Report, Severity
from gte_surgery.gte.family import Family
from gte_surgery.gte.kinds import Head
from gte_surgery.model.attention import Backend, implementation, keywords
from gte_surgery.model.availability import Choice, Use, choose
from gte_surgery.model.captured import CapturedBody
from gte_surgery.model.compiled import CompiledBody, cross_entropy, is_compilable
from gte_surgery.model.native import body_of
from gte_surgery.model.packing import Packing, pack_full, pack_mask, sent

IGNORED = -100
"""The label of a place that was not hidden."""
_TOKENS = {"input_ids": ("rows", "width"), "inputs_embeds": ("rows", "width", "hidden")}
MOST_LOGITS = 1 << 28
"""Of a masked LM at once; 1 GiB in float32. Compiled, where none are copied to float32, four times as many."""


class Guard(Protocol):
    """What looks at a batch before the model does, such as an `IdContract`."""

    def check_batch(self, batch: Mapping[str, object], /) -> Report:
        """All that is wrong with the batch."""
        ...


@dataclass(frozen=True, slots=True)
class Hidden:
    """The encoder's output: packed [1, tokens, hidden], or padded [rows, width, hidden] as it came in."""

    states: Tensor
    packing: Packing
    is_packed: bool

    def padded(self) -> Tensor:
        """[rows, width, hidden]; where the mask is 0, zeros on the packed path and anything on the padded one."""
        return self.packing.unpack(self.states) if self.is_packed else self.states

    def first(self) -> Tensor:
        """The first token of each row, the CLS position: [rows, hidden]."""
        if self.is_packed:
            return self.packing.first(self.states)
        return self.states.flatten(0, 1).index_select(0, self.packing.indices[self.packing.cu_seqlens[:-1].long()])

    def mean(self) -> Tensor:
        """The mean over the tokens of each row, summed in float32: [rows, hidden]."""
        tokens = self.states[0] if self.is_packed else self.states.flatten(0, 1).index_select(0, self.packing.indices)
        ends = self.packing.cu_seqlens[1:].long()
        rows = torch.bucketize(torch.arange(len(tokens), device=ends.device), ends, right=True)
        total = tokens.new_zeros(len(ends), tokens.shape[-1], dtype=torch.float32).index_add(0, rows, tokens.float())
        return total / torch.diff(self.packing.cu_seqlens).unsqueeze(1)

    def pooled(self, by: str) -> Tensor:
        """One vector a row, [rows, hidden]: the first token's state, or the mean."""
        return self.mean() if by == "mean" else self.first()


class Encoder(nn.Module):
    """A model of transformers that is called with padded batches."""

    head: Head = Head.NONE
    can_unpad: bool = True
    """Whether it also works on packed tokens."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def config(self) -> Any:
        """The config as the model reads it."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def input_table(self) -> Tensor:
        """The word embeddings [vocabulary, hidden]."""
        return torch.as_tensor(self.model.get_input_embeddings().weight)  # type: ignore[operator]

    def embed(self, batch: Mapping[str, Tensor | None]) -> Tensor:
        """The CLS states of length 1, [rows, hidden] float32."""
        return functional.normalize(self(**batch)[:, 0].float(), dim=-1)


class GteEncoder(Encoder):
    """A GTE encoder over padded batches, unpadded inside.

    `model` is the native transformers model, `choice` the attention backends in use, `head` what is on top. A `guard`
    checks every batch before the forward, and RefusedError tells what it found. Made by `load_encoder`.
    """

    choice: Choice

    def __init__(
        self,
        model: nn.Module,
        family: Family,
        head: Head,
        attention: str = "auto",
        unpad: bool = True,
        is_compiled: bool = False,
        guard: Guard | None = None,
        pooling: Literal["cls", "mean"] = "cls",
    ) -> None:
        super().__init__(model)
        self.family = family
        self.head = head
        self.pooling = pooling
        self.unpad = unpad
        if is_compiled:
            require_compilable(model, family)
        self.compiled = CapturedBody(CompiledBody(body_of(model))) if is_compiled else None
        self.guard = guard
        self.choose_attention(attention)

    @property
    def _types(self) -> int:
        return int(getattr(self.config, "type_vocab_size", 0))

    def choose_attention(self, attention: str = "auto", dtype: torch.dtype | None = None) -> Choice:
        """Take other attention backends, for tokens in `dtype` where autocast makes that another than the weights'.

        "auto" is chosen anew by itself where autocast begins or ends. Raises as `load_encoder` does for a backend that
        is not known or does not work here.
        """
        heads = self.config.num_attention_heads
        size = self.config.hidden_size // heads
        dropouts = (getattr(self.config, name, None) for name in ("attention_probs_dropout_prob", "attention_dropout"))
        dropout = next((found for found in dropouts if found is not None), 0.0)
        use = Use(self.device, dtype or self.dtype, heads, size, dropout, self.compiled is not None)
        self.choice = choose(attention, use)
        self._automatic = (self.choice, use.dtype) if attention == "auto" else None
        return self.choice

    def _choice_now(self) -> Choice:
        if self._automatic is not None and self._automatic[0] is self.choice:
            kind = self.device.type
            working = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.dtype
            if working is not self._automatic[1]:
                self.choose_attention("auto", working)
        return self.choice

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        unpad_inputs: bool | None = None,
    ) -> Tensor:
        """`last_hidden_state`, [rows, width, hidden]; on the packed path it is zero where the mask is 0."""
        if isinstance(input_ids, Mapping):
            raise UsageError("encoder: given a batch as a whole, must be given its members", "write encoder(**batch)")
        batch = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "inputs_embeds": inputs_embeds,
        }
        return self.encode(batch, unpad_inputs).padded()

    def embed(self, batch: Mapping[str, Tensor | None], dim: int | None = None) -> Tensor:
        """The text embeddings [rows, hidden], float32: pooled states, cut to `dim` numbers if given, of length 1."""
        width = self.config.hidden_size
        if dim is not None and not 1 <= dim <= width:
            raise UsageError(f"dim: {dim}, must be from 1 to {width}")
        return functional.normalize(self.encode(batch).pooled(self.pooling).float()[:, :dim], dim=-1)

    def logits(self, batch: Mapping[str, Tensor | None]) -> Tensor:
        """What the head says: [rows, width, vocabulary or labels], or [rows, labels] of a sequence classifier.

        Raises UsageError when there is no head.
        """
        hidden, is_of_rows = self.encode(batch), self.head is Head.SEQUENCE_CLASSIFICATION
        if not is_of_rows:
            return Hidden(self.through_head(hidden.states), hidden.packing, hidden.is_packed).padded()
        pooled = hidden.pooled(getattr(self.config, "classifier_pooling", "cls")).to(hidden.states.dtype)
        said = self.through_head(pooled.unsqueeze(1))
        return said if said.dim() == 2 else said[:, 0]

    def through_head(self, states: Tensor) -> Tensor:
        """What the modules of the head make of hidden states [rows, …, hidden]; raises UsageError without a head."""
        stages = self.family.required_native().stages.get(self.head)
        if not stages:
            raise UsageError(f"logits: the checkpoint's head is {self.head.value}, which gives none")
        for name in stages:
            states = self.model.get_submodule(name)(states)
        return states

    def masked_loss(self, batch: Mapping[str, Tensor | None], labels: Tensor, counted: float | None = None) -> Tensor:
        """The cross-entropy of a masked LM, in float32: its sum over `counted`, or over how many labels there are.

        `labels` [rows, width] int64: the ids that were hidden, -100 elsewhere; as the mask they may stay on the CPU.
        Logits are made of hidden places only, in portions that are made again in the backward where there are several.
        Raises UsageError for another head than a masked LM's.
        """
        if self.head is not Head.MASKED_LM:
            raise UsageError(f"masked_loss: the checkpoint's head is {self.head.value}, must be {Head.MASKED_LM.value}")
        hidden = self.encode(batch)
        _refuse_misfit("labels", labels, batch)
        flat = _as_states(labels, hidden, batch.get("attention_mask"))
        places = (flat != IGNORED).nonzero()[:, 0]
        places, wanted = (sent(each, hidden.states.device) for each in (places, flat.index_select(0, places)))
        states = hidden.states.flatten(0, 1).index_select(0, places)
        most = MOST_LOGITS if self.compiled is None else 4 * MOST_LOGITS
        portions = max(-(-len(places) * len(self.input_table()) // most), 1)
        parts = list(zip(states.chunk(portions), wanted.chunk(portions), strict=True))
        if len(parts) == 1:
            total = self._cross_entropy(states, wanted)
        else:
            made = [checkpoint(self._cross_entropy, *part, use_reentrant=False) for part in parts]
            total = torch.stack(made).sum()
        return total / (len(places) if counted is None else counted)

    def _cross_entropy(self, states: Tensor, wanted: Tensor) -> Tensor:
        summed = cross_entropy if self.compiled is None else self.compiled.compiled.cross_entropy
        return summed(self.through_head(states), wanted)

    def encode(self, batch: Mapping[str, Tensor | None], unpad_inputs: bool | None = None) -> Hidden:
        """The hidden states, packed or padded as they were worked on.

        `attention_mask` may stay on the CPU; then nothing here waits for the device, unless there is a guard.
        """
        _require_tensors(batch)
        if self.guard is not None:
            given = {key: value.to(self.device) for key, value in batch.items() if value is not None}
            _refuse_bad(self.guard.check_batch(given))
        tokens = _tokens(batch, self.device)
        rows, width = tokens.shape[:2]
        mask = batch.get("attention_mask")
        unpads = self.unpad if unpad_inputs is None else unpad_inputs
        packing = pack_full(rows, width, tokens.device) if mask is None else pack_mask(mask, tokens.device)
        choice = self._choice_now()
        backend = choice.backend(packing)
        is_packed = unpads and not (packing.is_full and choice.full != choice.packed)
        return Hidden(self._run(batch, packing, backend, is_packed), packing, is_packed)

    def _run(self, batch: Mapping[str, Tensor | None], packing: Packing, backend: Backend, is_packed: bool) -> Tensor:
        names = ("input_ids", "inputs_embeds", *(("token_type_ids",) if self._types > 1 else ()))
        inputs = {name: tensor for name in names if (tensor := batch.get(name)) is not None}
        attention, needed = implementation(backend, is_packed), keywords(backend, packing, is_packed)
        if is_packed and self.compiled is not None and self.compiled.can_run(packing):
            return self.compiled(inputs, packing, attention, needed)
        mask = batch.get("attention_mask")
        mask = None if is_packed or packing.is_full or mask is None else mask.to(packing.indices.device)
        if is_packed:
            inputs = {name: packing.pack(tensor) for name, tensor in inputs.items()}
            inputs |= {"position_ids": packing.position_ids}
        before, self.config._attn_implementation = self.config._attn_implementation, attention
        try:
            return torch.as_tensor(body_of(self.model)(**inputs, attention_mask=mask, **needed).last_hidden_state)
        finally:  # the model inside stays usable on its own, which knows nothing of packed tokens
            self.config._attn_implementation = before


def require_compilable(model: nn.Module, family: Family) -> None:
    """Raises RefusedError for a model whose layers there is no graph for."""
    if not is_compilable(body_of(model)):
        raise RefusedError(
            f"compile: a {family.name} model is not compiled here", "it runs without --compile, or with compile=False"
        )


def _as_states(labels: Tensor, hidden: Hidden, mask: Tensor | None) -> Tensor:
    """The labels in one row, in the order of the hidden states, where they lie."""
    if not hidden.is_packed or mask is None:
        return labels.flatten()
    if labels.device == hidden.states.device:
        return hidden.packing.pack(labels).flatten()
    return labels[mask.to(labels.device) != 0]


def _require_tensors(batch: object) -> None:
    if not isinstance(batch, Mapping):
        wanted = 'write {"input_ids": ids, "attention_mask": mask}'
        raise UsageError(f"batch: {type(batch).__name__}, must be tensors by name", wanted)
    for name in (*_TOKENS, "attention_mask", "token_type_ids"):
        if (found := batch.get(name)) is not None and not isinstance(found, Tensor):
            told = f"{name}: {type(found).__name__}, must be a torch tensor"
            raise UsageError(told, "gte_surgery.collate makes them of lists")


def _tokens(batch: Mapping[str, Tensor | None], device: torch.device) -> Tensor:
    """input_ids or inputs_embeds, for an encoder on `device`; raises UsageError unless all the batch goes with them."""
    given = {name: tensor for name in _TOKENS if (tensor := batch.get(name)) is not None}
    if len(given) != 1:
        raise UsageError("batch: exactly one of input_ids and inputs_embeds must be given")
    ((name, tokens),) = given.items()
    if tokens.dim() != len(_TOKENS[name]):
        raise UsageError(f"{name}: shape {list(tokens.shape)}, must be [{', '.join(_TOKENS[name])}]")
    if name == "input_ids" and (tokens.is_floating_point() or tokens.dtype is torch.bool):
        raise UsageError(f"input_ids: {str(tokens.dtype).removeprefix('torch.')}, must be integers")
    if tokens.device.type == "cpu" and device.type != "cpu":
        raise UsageError(f"{name}: on the CPU, the encoder is on {device}", "only the mask and labels may stay there")
    for other in ("attention_mask", "token_type_ids"):
        _refuse_misfit(other, batch.get(other), batch)
    return tokens


def _refuse_misfit(name: str, tensor: Tensor | None, batch: Mapping[str, Tensor | None]) -> None:
    of, tokens = next((each, found) for each in _TOKENS if (found := batch.get(each)) is not None)
    if tensor is not None and tensor.shape != tokens.shape[:2]:
        raise UsageError(f"{name}: shape {list(tensor.shape)}, must be {list(tokens.shape[:2])} as {of}")


def _refuse_bad(report: Report) -> None:
    wrong = [str(finding) for finding in report.findings if finding.severity is Severity.ERROR]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise RefusedError(f"batch: {wrong[0]}{more}", "the guard refused it before the model saw it")
