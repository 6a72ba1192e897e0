"""The contract of a checkpoint guards its encoder, and the batches that smoke makes keep it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import RefusedError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.gte.families import read_config  # noqa: E402
from gte_surgery.model.load import load_encoder  # noqa: E402
from gte_surgery.smoke.batches import Ids, make_batch  # noqa: E402
from tests.conftest import GOLDEN  # noqa: E402

CASES = sorted(folder.name for folder in GOLDEN.iterdir())


def test_an_id_beyond_the_table_is_refused_before_the_forward(golden: Path) -> None:
    contract = IdContract.from_checkpoint(golden / "legacy-base")
    encoder = load_encoder(golden / "legacy-base", "cpu", "float32", guard=contract)
    ids = torch.tensor([[5, 9, 300]])
    with pytest.raises(RefusedError, match="300"):
        encoder(ids, torch.ones_like(ids))
    assert encoder(ids - 200 * (ids > 255), torch.ones_like(ids)).shape == (1, 3, 32)


@pytest.mark.parametrize("case", CASES)
def test_the_batches_of_smoke_keep_the_contract_of_every_golden_checkpoint(golden: Path, case: str) -> None:
    import json

    contract = IdContract.from_checkpoint(golden / case)
    config = read_config(json.loads((golden / case / "config.json").read_text(encoding="utf-8")))
    for seed in range(5):
        batch = make_batch(Ids.of(config, {}), 6, 20, seed)
        assert contract.check_batch(batch.tensors).findings == ()
        assert contract.check_batch(batch.reversed().tensors).findings == ()
        assert contract.check_batch(batch.wider().tensors).findings == ()
