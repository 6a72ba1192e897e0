"""A clean batch on a CUDA device: judged with a single wait, in microseconds that `bin/bench-gpu` reports."""

from __future__ import annotations

import statistics
import time

import pytest

from gte_surgery import IdContract, check_batch

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.gpu
CONTRACT = IdContract(vocab_size=250048, pad_token_id=1, type_vocab_size=1, max_length=8192)


def clean_batch(rows: int, width: int) -> dict[str, torch.Tensor]:
    """Ids and mask [rows, width] int64 on the device, right padded."""
    lengths = torch.linspace(1, width, rows).long()
    mask = (torch.arange(width) < lengths[:, None]).long()
    ids = torch.where(mask.bool(), torch.randint(2, 250048, (rows, width)), 1)
    return {"input_ids": ids.cuda(), "attention_mask": mask.cuda()}


def test_a_clean_batch_waits_for_the_device_once() -> None:
    batch = clean_batch(64, 512)
    assert check_batch(batch, CONTRACT).findings == ()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as waits:
            check_batch(batch, CONTRACT)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == 1, [str(wait.message) for wait in waits]


def test_a_bad_id_on_the_device_is_found_where_it_is() -> None:
    batch = clean_batch(64, 512)
    batch["input_ids"][63, 5] = 250048
    found = check_batch(batch, CONTRACT).findings
    assert [finding.code for finding in found] == ["GTE414"]
    assert "row 63, column 5" in found[0].message


@pytest.mark.parametrize(("rows", "width"), [(64, 512), (1024, 8192)])
def test_what_a_clean_batch_costs(rows: int, width: int, capsys: pytest.CaptureFixture[str]) -> None:
    batch = clean_batch(rows, width)
    taken = []
    for _ in range(60):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        assert check_batch(batch, CONTRACT).findings == ()
        taken.append(time.perf_counter() - begin)
    with capsys.disabled():
        print(f"check_batch {rows} x {width}: {1e6 * statistics.median(taken[10:]):.0f} microseconds")
