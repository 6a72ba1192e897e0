"""What is under proof: a checkpoint, its effective config, the ids that it takes, the batch, the device.

What can be judged before any forward is proved here: that the checkpoint is sound, that the tokenizer's ids fit, and
that the model's rotary frequencies are the formula's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from gte_surgery.checkpoint.directory import Checkpoint, open_found, open_near
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checks.maths import require_published
from gte_surgery.checks.run import run as run_checks
from gte_surgery.checks.subject import config_of
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.findings import Severity
from gte_surgery.gte.families import family_of
from gte_surgery.gte.family import Family
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.rope import inv_freq
from gte_surgery.smoke.batches import Batch, Ids, make_batch
from gte_surgery.smoke.ledger import Ledger
from gte_surgery.smoke.options import Progress, SmokeOptions
from gte_surgery.vocabulary.tokenizer import Tokenizer, read_tokenizer
from gte_surgery.vocabulary.trimming.framing import reached

_JUDGED_FIRST = ("GTE1", "GTE2")
_LEFT_BEHIND = "GTE316"
_SAME_FREQUENCY = 1e-5
"""Relative; float32 rounds to 6e-8, and powers in float32 to a few times that."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything that the proofs share."""

    checkpoint: Checkpoint
    family: Family
    config: GteConfig
    ids: Ids
    device: torch.device
    batch: Batch
    options: SmokeOptions

    @classmethod
    def opened(
        cls, path: Path | str, options: SmokeOptions, device: torch.device, rank: int, progress: Progress
    ) -> Subject:
        """Raises CheckpointError for a checkpoint whose config.json cannot be read."""
        checkpoint = open_found(path, lambda place: open_near(place, progress))
        if options.runtime != "remote":
            require_published(checkpoint)
        config = config_of(checkpoint)
        ids = Ids.of(config, dict(read_tokenizer(checkpoint).ids))
        if ids.vocab_size < 2:
            raise UsageError(f"{checkpoint.name}: a vocabulary of one row has no id beside the pad")
        batch = make_batch(ids, options.batch, options.max_length, options.seed + rank)
        return cls(checkpoint, family_of(checkpoint.values), config, ids, device, batch.to(device), options)


def prove_soundness(subject: Subject, ledger: Ledger) -> None:
    """The rules for config and tensors find no error, and the tokenizer fits the table."""
    report = run_checks(subject.checkpoint, select=(*_JUDGED_FIRST, _LEFT_BEHIND))
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    detail = f"{errors[0].code} {errors[0]}" if errors else ""
    ledger.prove("GTE504", "`gte-surgery check` finds no error", len(errors), 0, detail)
    for finding in report.findings:
        if finding.code == _LEFT_BEHIND:
            ledger.found("GTE506", "the tokenizer is the one of before", finding.message, finding.hint)
    if ledger.rank == 0:
        _prove_ids(subject, ledger)


def _prove_ids(subject: Subject, ledger: Ledger) -> None:
    """The ids that the tokenizer's files name, and those that it really gives, lie within the table."""
    most = subject.config.vocab_size - 1
    named = _named(read_tokenizer(subject.checkpoint))
    if named:
        largest, name = max(named, key=lambda pair: pair[0])
        told = f"{name} is {largest}, the table has {most + 1} rows"
        ledger.prove("GTE503", "the tokenizer's ids are in the table", largest, most, told)
    try:
        found = reached(subject.checkpoint)
    except RefusedError as error:
        ledger.fail("GTE503", "the tokenizer encodes texts", error.message, error.hint)
        return
    if found is not None:
        largest, token, text = found
        called = f", `{shown(token)}`" if token else ""
        told = f"the text `{shown(text)}` gives {largest}{called}; the table has {most + 1} rows"
        ledger.prove("GTE503", "what the tokenizer encodes is in the table", largest, most, told)


def _named(tokenizer: Tokenizer) -> list[tuple[int, str]]:
    """The ids that the files of a tokenizer name, each with what it is of."""
    roles = [(number, role) for role, number in tokenizer.ids.items()]
    around = [(each.id, each.token) for each in tokenizer.emitted]
    last = [(tokenizer.rows - 1, "the last of its vocabulary")] if tokenizer.rows else []
    return [*roles, *tokenizer.tokens.items(), *around, *last]


def prove_rope(subject: Subject, model: torch.nn.Module, ledger: Ledger) -> None:
    """The model's frequencies are those of the effective rope, by the formula and in double precision."""
    config = subject.config
    ropes = {
        "rotary_emb.inv_freq": config.rope,
        "rotary_emb.full_attention_inv_freq": config.rope,
        "rotary_emb.sliding_attention_inv_freq": config.local_rope,
    }
    named = dict(model.named_buffers()).items()
    found = [(buffer, rope) for name, buffer in named for end, rope in ropes.items() if name.endswith(end)]
    if config.rope.kind in ("none", "unsupported") or not found:
        ledger.skip("GTE505", "rotary frequencies are the formula's", "no rope whose formula is known")
        return
    gaps = []
    for buffer, rope in found:
        wanted = torch.tensor(inv_freq(rope or config.rope, config.head_size), dtype=torch.float64)
        gaps.append(float(((buffer.double().cpu() - wanted) / wanted).abs().max()))
    ledger.prove("GTE505", "rotary frequencies are the formula's", max(gaps), _SAME_FREQUENCY)
