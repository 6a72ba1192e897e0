"""The contract held against the strategies: valid batches are clean, a broken one gets its code and no other."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gte_surgery.contract.batch import verdict
from gte_surgery.contract.batch.rows import offences_of
from gte_surgery.contract.batch.structure import framed
from gte_surgery.contract.batch.verdict import is_clean
from gte_surgery.contract.codes import CODES
from gte_surgery.contract.collate import collate, uncollate
from gte_surgery.contract.faults import FAULTS, Fault, faults_of
from gte_surgery.contract.spec import IdContract
from gte_surgery.contract.strategies import FAULT_NAMES, MASK_DTYPES, batches, broken_batches, token_sequences

FRAMEWORKS = ("lists", "numpy", "torch")
PLAIN = IdContract(vocab_size=128, pad_token_id=1, type_vocab_size=1, max_length=16, cls_token_id=0, hidden_size=4)
CONTRACTS = {
    "plain": PLAIN,
    "left": replace(PLAIN, padding_side="left", type_vocab_size=2),
    "wide": replace(PLAIN, vocab_size=300),
    "bare": IdContract(vocab_size=5, pad_token_id=0, type_vocab_size=0, max_length=5, ignore_label=-1),
    "large": IdContract(250048, 1, 1, 8192, cls_token_id=0, mask_token_id=250001, hidden_size=2),
}


def codes(contract: IdContract, batch: object) -> list[str]:
    return [finding.code for finding in contract.check_batch(batch).findings]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", CONTRACTS)
@given(st.data())
def test_a_valid_batch_has_no_finding(name: str, framework: Any, data: st.DataObject) -> None:
    batch = data.draw(batches(CONTRACTS[name], framework))
    assert CONTRACTS[name].check_batch(batch).findings == ()


@pytest.mark.long
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_ten_thousand_valid_batches_have_no_finding(framework: Any) -> None:
    seen = 0

    @settings(max_examples=10_000, deadline=None)
    @given(
        st.sampled_from(sorted(CONTRACTS)).flatmap(
            lambda name: st.tuples(st.just(name), batches(CONTRACTS[name], framework))
        )
    )
    def holds(drawn: tuple[str, Any]) -> None:
        nonlocal seen
        seen += 1
        assert CONTRACTS[drawn[0]].check_batch(drawn[1]).findings == ()

    holds()
    assert seen >= 10_000


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@settings(max_examples=max(3, settings().max_examples // 20))
@given(data=st.data())
def test_a_broken_batch_has_its_code_and_no_other(fault: Fault, data: st.DataObject) -> None:
    for framework in sorted(fault.frameworks):
        suited = [contract for contract in CONTRACTS.values() if contract.max_length < 100 and fault.suits(contract)]
        contract = data.draw(st.sampled_from(suited))
        broken = data.draw(broken_batches(contract, framework, fault=fault.name))
        assert (broken.fault, broken.code) == (fault.name, fault.code)
        assert codes(contract, broken.batch) == [broken.code]


@given(st.data())
def test_any_broken_batch_is_told_alike_for_every_framework(data: st.DataObject) -> None:
    """The same draws make the same batch of lists, numpy and torch; findings, places and counts agree."""
    contract = CONTRACTS[data.draw(st.sampled_from(("plain", "left", "bare")))]
    shared = [
        fault.name
        for fault in faults_of(contract, "lists")
        if fault.code not in ("GTE407", "GTE411", "GTE423", "GTE472")
    ]
    broken = data.draw(broken_batches(contract, "lists", fault=data.draw(st.sampled_from(shared))))
    wanted = told(contract, broken.batch)
    for make in (np.array, torch.tensor):
        assert told(contract, converted(broken.batch, make)) == wanted


def told(contract: IdContract, batch: object) -> list[tuple[str, str]]:
    return [(finding.code, str(finding)) for finding in contract.check_batch(batch).findings]


def converted(batch: Any, make: Any) -> Any:
    """The members as tensors; what makes none (text, ragged rows) stays."""
    if not isinstance(batch, dict):
        return [convert(value, make) for value in batch]
    return {name: convert(value, make) for name, value in batch.items()}


def convert(value: Any, make: Any) -> Any:
    try:
        if isinstance(value, str) or "str" in str(np.array(value).dtype) or np.array(value).dtype.kind == "U":
            return value
        made = np.array(value)
    except ValueError:
        return value
    made = made.astype(np.int64) if made.size == 0 else made
    return made if make is np.array else torch.from_numpy(made)


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@given(st.data())
def test_the_short_way_and_the_long_way_agree(framework: Any, data: st.DataObject) -> None:
    """Whatever a few cells become, whole tensors, in blocks of any height, are clean exactly where a walk through the
    rows finds nothing."""
    contract = CONTRACTS[data.draw(st.sampled_from(("plain", "left", "bare")))]
    batch = data.draw(batches(contract, framework))
    names = [name for name in batch if name not in ("text", "inputs_embeds") and batch[name].ndim == 2]
    names = [name for name in names if "float" not in str(batch[name].dtype)]
    for name in data.draw(st.lists(st.sampled_from(names), max_size=3)) if names else []:
        rows, columns = batch[name].shape
        place = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
        edges = (0, 1, 2, contract.pad_token_id, contract.vocab_size - 1, contract.vocab_size, contract.max_length)
        values = edges if "int64" in str(batch[name].dtype) else (0, 1)
        batch[name][place] = data.draw(st.sampled_from(values))
    frame = framed(batch, contract, allow_int32=False)
    with patch.object(verdict, "_BLOCK", data.draw(st.sampled_from((1, 16, 1 << 18)))):
        is_found_clean = is_clean(frame, contract)
    found = [finding.code for finding in offences_of(copy.copy(frame), contract)]
    assert is_found_clean is (not found)
    assert codes(contract, batch) == found


@pytest.mark.parametrize("framework", FRAMEWORKS)
@given(st.data())
def test_sequences_to_a_batch_and_back_are_the_same_sequences(framework: Any, data: st.DataObject) -> None:
    contract = CONTRACTS[data.draw(st.sampled_from(sorted(CONTRACTS)))]
    sequences = data.draw(st.lists(token_sequences(contract), min_size=1, max_size=5))
    batch = collate(sequences, contract, framework=framework, pad_to_multiple_of=data.draw(st.integers(1, 8)))
    assert uncollate(batch, contract) == sequences


@given(st.data())
def test_judging_changes_nothing_and_anything_ends_in_a_report(data: st.DataObject) -> None:
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
        max_leaves=12,
    )
    batch = data.draw(
        st.dictionaries(st.sampled_from(("input_ids", "attention_mask", "labels", "token_type_ids")), anything)
        | anything
    )
    before = repr(batch)
    PLAIN.check_batch(batch)
    assert repr(batch) == before


def test_there_are_many_faults_and_codes() -> None:
    """At least thirty faults for each framework, and each code of the table is some fault's, or needs two devices."""
    for framework in FRAMEWORKS:
        suited = {fault.name for contract in CONTRACTS.values() for fault in faults_of(contract, framework)}
        assert len(suited) >= 30
    assert len(FAULT_NAMES) == len(set(FAULT_NAMES)) >= 55
    batch_codes = {code for code in CODES if code < "GTE480"}
    assert {fault.code for fault in FAULTS} == batch_codes - {"GTE408"}
    assert len(batch_codes) >= 40


@pytest.mark.parametrize("dtype", MASK_DTYPES)
@settings(max_examples=10)
@given(st.data())
def test_a_mask_may_have_any_of_the_dtypes(dtype: str, data: st.DataObject) -> None:
    for framework in ("numpy", "torch"):
        batch = data.draw(batches(PLAIN, framework, mask_dtype=dtype))
        assert str(batch["attention_mask"].dtype).removeprefix("torch.") == dtype
        assert PLAIN.check_batch(batch).findings == ()
