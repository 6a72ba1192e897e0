"""The native model reproduces the reference implementation on every golden checkpoint that it can express."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.errors import RefusedError
from tests.conftest import GOLDEN

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")
from safetensors.torch import load_file  # noqa: E402

from gte_surgery.model.load import load_encoder  # noqa: E402

INEXPRESSIBLE = {"legacy-absolute", "legacy-rmsnorm"}
TOLERANCE = 5e-5
CASES = sorted(folder.name for folder in GOLDEN.iterdir() if folder.name not in INEXPRESSIBLE)


@pytest.mark.parametrize("unpad", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize("case", CASES)
def test_the_reference_outputs_are_reproduced(golden: Path, case: str, unpad: bool) -> None:
    reference = load_file(golden / case / "reference.safetensors")
    encoder = load_encoder(golden / case, device="cpu", dtype="float32", unpad=unpad)
    batch = {name: reference[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        if "logits" in reference:
            found, wanted = encoder.logits(batch), reference["logits"]
        else:
            found, wanted = encoder(**batch), reference["last_hidden_state"]
    if wanted.dim() == 3:
        found, wanted = (tensor[batch["attention_mask"] == 1] for tensor in (found, wanted))
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < TOLERANCE


@pytest.mark.parametrize("case", sorted(INEXPRESSIBLE))
def test_what_the_native_model_cannot_express_is_refused(golden: Path, case: str) -> None:
    with pytest.raises(RefusedError):
        load_encoder(golden / case, device="cpu", dtype="float32")
