"""The contract beside the model that it speaks for: what it lets pass, transformers' own model computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from gte_surgery.contract.faults import FAULTS
from gte_surgery.contract.spec import IdContract
from gte_surgery.contract.strategies import batches, broken_batches
from tests.builder import build, native_config

TYPES = (0, 1, 2)
TAKEN = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
STOPS_THE_MODEL = {
    "id-of-vocab-size",
    "huge-id",
    "negative-id",
    "type-beyond-table",
    "ids-and-embeds",
    "no-ids",
    "float-ids",
}
"""Faults for which the model cannot but raise on a CPU; others it computes, wrongly."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[IdContract, Any]]:
    """A tiny native model and its contract for each size of the type vocabulary."""
    made = {}
    for types in TYPES:
        path = build(tmp_path_factory.mktemp("native"), native_config(type_vocab_size=types))
        model = AutoModel.from_pretrained(path).eval()
        assert type(model).__name__ == "GteModel"
        made[types] = IdContract.from_checkpoint(Path(path)), model
    return made


def computed(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return model(**{name: value for name, value in batch.items() if name in TAKEN}).last_hidden_state


@pytest.mark.parametrize("types", TYPES)
@settings(max_examples=40)
@given(data=st.data())
def test_the_native_model_takes_every_valid_batch(models: Any, types: int, data: st.DataObject) -> None:
    contract, model = models[types]
    batch = data.draw(batches(contract, "torch", max_length=32))
    mask = batch.get("attention_mask")
    hidden = computed(model, batch)
    shape = (batch.get("input_ids", batch.get("inputs_embeds"))).shape[:2]
    assert hidden.shape == (*shape, 32)
    kept = torch.ones(shape, dtype=torch.bool) if mask is None else mask.bool()
    assert hidden[kept].isfinite().all()


@pytest.mark.parametrize("fault", sorted(STOPS_THE_MODEL))
@settings(max_examples=5)
@given(data=st.data())
def test_what_stops_the_native_model_is_found(models: Any, fault: str, data: st.DataObject) -> None:
    contract, model = models[2]
    broken = data.draw(broken_batches(contract, "torch", fault=fault))
    assert [finding.code for finding in contract.check_batch(broken.batch).findings] == [broken.code]
    with pytest.raises((IndexError, ValueError, RuntimeError)):
        computed(model, broken.batch)


def test_the_faults_named_here_are_there() -> None:
    assert {fault.name for fault in FAULTS} >= STOPS_THE_MODEL


def test_a_batch_without_label_makes_the_loss_nan() -> None:
    """Why GTE454 is an error: the mean over no label."""
    loss = torch.nn.functional.cross_entropy(torch.zeros(4, 8), torch.full((4,), -100))
    assert loss.isnan()
