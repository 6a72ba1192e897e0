"""From sequences of ids to a batch that keeps the contract, and back.

Nothing is cut or repaired on the way: what breaks the contract raises. Making ids from text is the encoder's part,
joining an encoder to a contract that of `adapter`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gte_surgery.contract.batch.check import check_batch
from gte_surgery.contract.batch.structure import IDS, LABELS, MASK
from gte_surgery.contract.frameworks import Framework, UnreadableError, load, member, plain, tensor
from gte_surgery.contract.spec import IdContract
from gte_surgery.contract.terms import whole
from gte_surgery.errors import UsageError

Batch = dict[str, Any]


def collate(
    sequences: Iterable[Any],
    contract: IdContract,
    *,
    framework: Framework = "torch",
    device: object = None,
    pad_to_multiple_of: int = 1,
) -> Batch:
    """Pad sequences of ids into `{"input_ids", "attention_mask"}`, int64 tensors [rows, columns] on `device`.

    A sequence is a list, tuple, array or tensor of integers, or a mapping that holds one as input_ids. Rows are as wide
    as the longest sequence, rounded up to `pad_to_multiple_of` where max_length allows. Raises UsageError for what are
    no integers, BatchError where the contract is broken: an id beyond the table, a sequence that is empty or too long.

    >>> from gte_surgery import IdContract, collate
    >>> contract = IdContract(vocab_size=128, pad_token_id=0, type_vocab_size=1, max_length=8)
    >>> collate([[5, 6, 7], (8,)], contract, framework="lists")
    {'input_ids': [[5, 6, 7], [8, 0, 0]], 'attention_mask': [[1, 1, 1], [1, 0, 0]]}
    """
    return checked(padded(map(ids_of, sequences), contract, pad_to_multiple_of), contract, framework, device)


def uncollate(batch: Mapping[str, Any], contract: IdContract) -> list[list[int]]:
    """The sequences of a batch without their padding: `collate` undone. Raises BatchError for a batch that breaks the
    contract, UsageError for one that has vectors in place of ids.

    >>> from gte_surgery import IdContract, uncollate
    >>> contract = IdContract(vocab_size=128, pad_token_id=0, type_vocab_size=1, max_length=8)
    >>> uncollate({"input_ids": [[5, 6, 7], [8, 0, 0]], "attention_mask": [[1, 1, 1], [1, 0, 0]]}, contract)
    [[5, 6, 7], [8]]
    """
    check_batch(batch, contract, raise_on_error=True)
    if batch.get(IDS) is None:
        raise UsageError("input_ids: none, a batch without ids has no sequences")
    return [[number for number in row if number != contract.pad_token_id] for row in plain(batch[IDS])]


@dataclass(frozen=True)
class MaskedLmCollator:
    """Collates sequences and hides tokens for masked-LM training: call it with a list of sequences.

    Of the tokens that are not pads or special, each is chosen with `probability`, at least one in a batch; 80 % of the
    chosen become the mask id, 10 % a random ordinary id, 10 % stay [Devlin et al. 2019, section 3.1]. `labels` are
    their former ids there and ignore_label elsewhere. The same seed and calls give the same batches. In a worker of
    torch's DataLoader the stream is drawn from `seed` and the seed that the loader gives each worker, anew whenever it
    makes workers: no two hide the same, nor two epochs, and with torch, or the loader's generator, seeded a run can be
    repeated. Raises UsageError for a contract without mask id.

    >>> from gte_surgery import IdContract, MaskedLmCollator
    >>> contract = IdContract(vocab_size=128, pad_token_id=0, type_vocab_size=1, max_length=8, mask_token_id=103)
    >>> batch = MaskedLmCollator(contract, probability=0.5, framework="lists")([[5, 6, 7, 8], [9, 10]])
    >>> batch["input_ids"], batch["labels"]
    ([[5, 110, 7, 103], [9, 10, 0, 0]], [[-100, 6, 7, 8], [-100, -100, -100, -100]])
    """

    contract: IdContract
    probability: float = 0.15
    seed: int = 0
    framework: Framework = "torch"
    device: object = None
    pad_to_multiple_of: int = 1
    _random: Any = field(init=False, repr=False, compare=False)
    _worker: int | None = field(default=None, init=False, repr=False, compare=False)
    _ordinary: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.contract.mask_token_id is None:
            raise UsageError("mask_token_id: none, masked-LM training needs one", "set it in the contract")
        if not 0 < self.probability <= 1:
            raise UsageError(f"probability: {self.probability}, must be above 0 and at most 1")
        numpy = load("numpy")
        ordinary = numpy.setdiff1d(numpy.arange(self.contract.vocab_size), sorted(self.contract.kept_ids))
        if not len(ordinary):
            raise UsageError("vocab_size: every id is special, an ordinary one is needed")
        object.__setattr__(self, "_ordinary", ordinary)
        object.__setattr__(self, "_random", numpy.random.default_rng(self.seed))

    def __call__(self, sequences: Iterable[Any]) -> Batch:
        """The next batch: input_ids, attention_mask and labels. Raises as `collate` does."""
        batch = padded(map(ids_of, sequences), self.contract, self.pad_to_multiple_of)
        checked(batch, self.contract, "numpy", None)
        batch[IDS], batch[LABELS] = self._hidden(load("numpy").array(batch[IDS], dtype="int64"))
        return checked(batch, self.contract, self.framework, self.device)

    def _enter_worker(self) -> None:
        """In a worker of a DataLoader, a stream of its own: what was copied there is the same in all of them."""
        torch = sys.modules.get("torch")
        worker = torch.utils.data.get_worker_info() if torch is not None else None
        if worker is not None and worker.seed != self._worker:
            object.__setattr__(self, "_worker", worker.seed)
            object.__setattr__(self, "_random", load("numpy").random.default_rng((self.seed, worker.seed)))

    def _hidden(self, ids: Any) -> tuple[Any, Any]:
        """The ids with tokens hidden, and the labels; both [rows, columns]."""
        numpy = load("numpy")
        self._enter_worker()
        candidates = numpy.isin(ids, self._ordinary)
        chosen = candidates & (self._random.random(ids.shape) < self.probability)
        if candidates.any() and not chosen.any():
            chosen.flat[self._random.choice(numpy.flatnonzero(candidates))] = True
        labels = numpy.where(chosen, ids, self.contract.ignore_label)
        lot = self._random.random(ids.shape)
        drawn = self._random.choice(self._ordinary, size=ids.shape)
        hidden = numpy.where(chosen & (lot < 0.8), self.contract.mask_token_id, ids)
        return numpy.where(chosen & (lot >= 0.9), drawn, hidden), labels


def ids_of(sequence: Any) -> list[int]:
    """One sequence as Python integers. Raises UsageError for anything else."""
    ids = sequence.get(IDS) if isinstance(sequence, Mapping) else sequence
    try:
        each = member(IDS, ids)
    except UnreadableError as error:
        raise UsageError(f"a sequence: {error}") from None
    if each.kind != "integers" or len(each.shape) != 1:
        raise UsageError(f"a sequence: {each.dtype} of {len(each.shape)} dimensions, must be one row of integers")
    found: list[int] = plain(each.value)
    return found


def padded(sequences: Iterable[list[int]], contract: IdContract, pad_to_multiple_of: int) -> Batch:
    """Nested lists of ids and their mask, padded on the contract's side."""
    if whole("pad_to_multiple_of", pad_to_multiple_of) < 1:
        raise UsageError(f"pad_to_multiple_of: {pad_to_multiple_of}, must be at least 1")
    rows = list(sequences)
    longest = max(map(len, rows), default=0)
    width = max(longest, min(-(-longest // pad_to_multiple_of) * pad_to_multiple_of, contract.max_length))
    return filled(with_mask(rows), width, contract)


def with_mask(rows: list[list[int]]) -> Batch:
    """Rows of ids without padding, and their mask."""
    return {IDS: rows, MASK: [[1] * len(row) for row in rows]}


def filled(members: Mapping[str, list[list[int]]], width: int, contract: IdContract) -> Batch:
    """The rows of members filled up to the width on the contract's side: ids with the pad, all else with 0."""
    batch: Batch = {}
    for name, rows in members.items():
        filling = contract.pad_token_id if name == IDS else 0
        pairs = [(row, [filling] * (width - len(row))) for row in rows]
        batch[name] = [row + rest if contract.padding_side == "right" else rest + row for row, rest in pairs]
    return batch


def checked(batch: Mapping[str, Any], contract: IdContract, framework: Framework, device: object) -> Batch:
    """Nested lists or arrays as int64 tensors of a framework, once they keep the contract. Raises BatchError."""
    try:
        tensors = {name: tensor(framework, value, device=device) for name, value in batch.items()}
    except (OverflowError, ValueError):
        tensors = dict(batch)  # no tensor can hold these; the check says why
    check_batch(tensors, contract, raise_on_error=True)
    return tensors
