"""Sequences into batches: padding, refusals, and what masked-LM training hides."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gte_surgery.contract.collate import MaskedLmCollator, collate, uncollate
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import BatchError, UsageError

CONTRACT = IdContract(1000, 1, 1, 16, cls_token_id=0, mask_token_id=999, special_ids=(2,))


def test_sequences_of_every_kind_become_int64_tensors() -> None:
    sequences: list[Any] = [
        [0, 5, 2],
        (0, np.int64(6), torch.tensor(7), 8, 2),
        np.array([0, 2], dtype=np.int32),
        torch.tensor([0, 9]),
        {"input_ids": [0, 4], "text": "x"},
    ]
    batch = collate(sequences, CONTRACT)
    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == torch.int64
    assert batch["input_ids"].tolist() == [
        [0, 5, 2, 1, 1], [0, 6, 7, 8, 2], [0, 2, 1, 1, 1], [0, 9, 1, 1, 1], [0, 4, 1, 1, 1],
    ]  # fmt: skip
    assert batch["attention_mask"].sum(1).tolist() == [3, 5, 2, 2, 2]


def test_padding_goes_where_the_contract_wants_it() -> None:
    left = replace(CONTRACT, padding_side="left")
    batch = collate([[0, 5], [0, 6, 7]], left, framework="numpy")
    assert batch["input_ids"].tolist() == [[1, 0, 5], [0, 6, 7]]
    assert batch["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(("length", "multiple", "width"), [(3, 1, 3), (3, 8, 8), (8, 8, 8), (9, 8, 16), (10, 64, 16)])
def test_rows_are_rounded_up_but_not_beyond_max_length(length: int, multiple: int, width: int) -> None:
    batch = collate([[0] * length], CONTRACT, framework="numpy", pad_to_multiple_of=multiple)
    assert batch["input_ids"].shape == (1, width)


@pytest.mark.parametrize(
    ("sequences", "code"),
    [
        ([[0] * 17], "GTE415"),
        ([[0, 1000]], "GTE414"),
        ([[0, 2**70]], "GTE414"),
        ([[0, -1]], "GTE413"),
        ([[5, 6]], "GTE416"),
        ([[0, 1, 5]], "GTE427"),
        ([[0, 5], []], "GTE429"),
        ([], "GTE406"),
        ([[]], "GTE406"),
    ],
)
@pytest.mark.parametrize("framework", ["lists", "numpy", "torch"])
def test_what_breaks_the_contract_is_refused_and_nothing_is_cut(sequences: Any, code: str, framework: Any) -> None:
    with pytest.raises(BatchError) as caught:
        collate(sequences, CONTRACT, framework=framework)
    assert [finding.code for finding in caught.value.report.findings] == [code]


@pytest.mark.parametrize("sequence", [[0.5], "text", [[0, 5]], 7, None, [True], [0, 5.0], {"ids": [1]}])
def test_what_is_no_sequence_of_integers_is_a_usage_error(sequence: Any) -> None:
    with pytest.raises(UsageError, match="a sequence: "):
        collate([sequence], CONTRACT)


def test_uncollate_refuses_a_batch_that_breaks_the_contract() -> None:
    with pytest.raises(BatchError):
        uncollate({"input_ids": [[0, 1, 5]], "attention_mask": [[1, 0, 1]]}, CONTRACT)


def sequences(count: int, length: int, seed: int = 0) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [[0, *generator.integers(3, 999, length - 2).tolist(), 2] for _ in range(count)]


def hidden(batches: list[dict[str, Any]], contract: IdContract = CONTRACT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, labels and whether there is a label, of several numpy batches, flat."""
    ids = np.concatenate([batch["input_ids"].ravel() for batch in batches])
    labels = np.concatenate([batch["labels"].ravel() for batch in batches])
    return ids, labels, labels != contract.ignore_label


def test_eighty_ten_ten_of_fifteen_percent() -> None:
    collator = MaskedLmCollator(CONTRACT, framework="numpy")
    texts = [sequences(64, 16, seed) for seed in range(100)]
    batches = [collator(each) for each in texts]
    ids, labels, is_label = hidden(batches)
    original = np.concatenate([np.array(each).ravel() for each in texts])
    ordinary = (original > 2) & (original != 999)
    assert (labels[is_label] == original[is_label]).all()
    assert (ids[~is_label] == original[~is_label]).all()
    assert ordinary[is_label].all()
    assert is_label.sum() / ordinary.sum() == pytest.approx(0.15, abs=0.005)
    is_masked, is_same = ids[is_label] == 999, ids[is_label] == labels[is_label]
    assert is_masked.mean() == pytest.approx(0.8, abs=0.01)
    assert is_same.mean() == pytest.approx(0.1, abs=0.01)
    drawn = ids[is_label][~is_masked & ~is_same]
    assert set(drawn.tolist()) & {0, 1, 2, 999} == set()
    assert len(set(drawn.tolist())) > 500


def test_pads_and_special_ids_are_never_hidden() -> None:
    collator = MaskedLmCollator(CONTRACT, probability=1.0, framework="numpy")
    batch = collator([[0, 5, 6, 2], [0, 7, 2]])
    assert (batch["labels"] != -100).tolist() == [[False, True, True, False], [False, True, False, False]]


@pytest.mark.parametrize("seed", range(20))
def test_at_least_one_token_is_hidden_even_in_the_shortest_batch(seed: int) -> None:
    batch = MaskedLmCollator(CONTRACT, probability=0.01, seed=seed, framework="numpy")([[0, 5, 2]])
    assert batch["labels"].tolist() == [[-100, 5, -100]]


def test_a_batch_of_special_ids_alone_has_nothing_to_learn() -> None:
    with pytest.raises(BatchError, match="GTE454"):
        MaskedLmCollator(CONTRACT)([[0, 2], [0]])


def test_the_same_seed_hides_the_same_and_each_call_anew() -> None:
    texts = sequences(8, 16)
    first, second = MaskedLmCollator(CONTRACT, seed=3), MaskedLmCollator(CONTRACT, seed=3)
    for _ in range(3):
        one, other = first(texts), second(texts)
        assert torch.equal(one["input_ids"], other["input_ids"])
        assert torch.equal(one["labels"], other["labels"])
    assert not torch.equal(first(texts)["labels"], one["labels"])
    assert not torch.equal(
        MaskedLmCollator(CONTRACT, seed=4)(texts)["labels"], MaskedLmCollator(CONTRACT)(texts)["labels"]
    )


@pytest.mark.parametrize(
    ("contract", "options", "message"),
    [
        (replace(CONTRACT, mask_token_id=None), {}, "mask_token_id: none, masked-LM training needs one"),
        (CONTRACT, {"probability": 0.0}, "probability: 0.0, must be above 0 and at most 1"),
        (CONTRACT, {"probability": 1.5}, "probability: 1.5, must be above 0 and at most 1"),
        (IdContract(2, 0, 1, 8, mask_token_id=1), {}, "vocab_size: every id is special, an ordinary one is needed"),
    ],
)
def test_a_collator_that_could_hide_nothing_is_refused(contract: IdContract, options: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        MaskedLmCollator(contract, **options)
    assert raised.value.message == message
    assert raised.value.hint == ("set it in the contract" if contract.mask_token_id is None else "")


def test_a_collator_goes_to_the_workers_of_a_data_loader() -> None:
    import pickle

    collator = MaskedLmCollator(CONTRACT, seed=5)
    copy = pickle.loads(pickle.dumps(collator))
    texts = sequences(4, 8)
    assert torch.equal(copy(texts)["labels"], collator(texts)["labels"])


def test_what_is_no_sequence_says_what_it_is() -> None:
    for sequence, message in (
        ([0.5], "a sequence: float of 1 dimensions, must be one row of integers"),
        ([[0, 5]], "a sequence: int of 2 dimensions, must be one row of integers"),
        (7, "a sequence: int, must be a tensor, an array or nested lists of numbers"),
    ):
        with pytest.raises(UsageError) as raised:
            collate([sequence], CONTRACT)
        assert raised.value.message == message
    with pytest.raises(UsageError, match=r"^pad_to_multiple_of: 0, must be at least 1$"):
        collate([[0]], CONTRACT, pad_to_multiple_of=0)
    with pytest.raises(UsageError, match=r"^pad_to_multiple_of: 8.0, must be an integer$"):
        collate([[0]], CONTRACT, pad_to_multiple_of=8.0)  # type: ignore[arg-type]
    assert collate([[0, 5]], CONTRACT, pad_to_multiple_of=1)["input_ids"].shape == (1, 2)


def test_tensors_go_to_the_device_that_is_asked_for() -> None:
    with pytest.raises(BatchError, match="meta"):
        collate([[0, 5]], CONTRACT, device="meta")
    with pytest.raises(BatchError, match="meta"):
        MaskedLmCollator(CONTRACT, device="meta")([[0, 5, 6, 7]])


def test_masked_rows_are_rounded_up_as_others_are() -> None:
    batch = MaskedLmCollator(CONTRACT, framework="numpy", pad_to_multiple_of=8)([[0, 5, 2]])
    assert batch["input_ids"].shape == batch["labels"].shape == (1, 8)


@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_a_framework_that_is_not_installed_is_named(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError) as raised:
        collate([[0, 5]], CONTRACT, framework=name)
    assert raised.value.message == f"{name}: not installed, it is asked for as output"
    assert raised.value.hint == f"`pip install {name}`"


def test_a_framework_that_is_none_is_told_which_there_are() -> None:
    jax: Any = "jax"
    masking = MaskedLmCollator(CONTRACT, framework=jax)
    for make in (lambda: collate([[0, 5]], CONTRACT, framework=jax), lambda: masking([[0, 5]])):
        with pytest.raises(UsageError) as raised:
            make()
        assert raised.value.message == 'framework: \'jax\', must be "torch", "numpy" or "lists"'


def test_a_batch_of_vectors_has_no_sequences_to_give_back() -> None:
    with pytest.raises(UsageError, match=r"^input_ids: none, a batch without ids has no sequences$"):
        uncollate({"inputs_embeds": [[[0.5, 0.5]]]}, CONTRACT)


class Texts:
    """A data set of sequences, without torch."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, at: int) -> list[int]:
        return sequences(32, 16)[at]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("workers", "is_persistent"), [(0, False), (2, False), (2, True)])
def test_no_worker_and_no_epoch_hides_the_same_and_a_run_can_be_repeated(workers: int, is_persistent: bool) -> None:
    """Of four batches in each of two epochs all differ in what they hide; the second run is the first."""

    def run() -> list[bytes]:
        loader = torch.utils.data.DataLoader(
            Texts(), batch_size=8, num_workers=workers, persistent_workers=is_persistent,  # type: ignore[arg-type]
            collate_fn=MaskedLmCollator(CONTRACT, seed=5), generator=torch.Generator().manual_seed(1),
            multiprocessing_context="fork" if workers else None,
        )  # fmt: skip
        return [(batch["labels"] != -100).numpy().tobytes() for _ in range(2) for batch in loader]

    first = run()
    assert len(set(first)) == 8
    assert run() == first
