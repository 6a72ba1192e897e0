"""What only a CUDA device can show: kernels agree, one wait a batch, and a broken run is a finding."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import builder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.model.attention import BACKENDS  # noqa: E402
from gte_surgery.model.load import load_encoder  # noqa: E402
from gte_surgery.smoke.batches import Ids, make_batch  # noqa: E402
from gte_surgery.smoke.ledger import BrokenRunError, watched  # noqa: E402
from tests.gpu.waits import waits_of  # noqa: E402

pytestmark = pytest.mark.gpu
IDS = Ids(vocab_size=128, pad=1, type_vocab_size=1, max_length=128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = builder.remote_config(initializer_range=0.1, hidden_size=64, num_attention_heads=2)
    return builder.build(tmp_path_factory.mktemp("gpu") / "x", config)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_backend_agrees_with_eager_packed_and_padded(folder: Path, dtype: str) -> None:
    encoder = load_encoder(folder, "cuda", dtype, "eager")
    batch = make_batch(IDS, 8, 100, 0).to(encoder.device)
    with torch.no_grad():
        wanted = encoder(**batch.tensors, unpad_inputs=False)[batch.real].float()
        refused = encoder.choose_attention().refused
        served = [name for name in BACKENDS if name not in refused]
        for backend in served:
            encoder.choose_attention(backend)
            for unpad in (True, False):
                found = encoder(**batch.tensors, unpad_inputs=unpad)[batch.real].float()
                assert (found - wanted).norm() / wanted.norm() < 0.05, (backend, unpad)
    assert ("varlen" in refused) == (dtype == "float32")
    assert "cudnn" in refused or dtype != "float32"


@pytest.mark.parametrize("backend", ["cudnn", "xformers", "varlen", "sdpa"])
def test_a_batch_waits_for_the_device_once_and_with_its_mask_on_the_cpu_never(folder: Path, backend: str) -> None:
    encoder = load_encoder(folder, "cuda", "float16", "sdpa")
    refused = encoder.choose_attention().refused
    if backend in refused:
        pytest.skip(refused[backend])
    encoder.choose_attention(backend)
    batch = make_batch(IDS, 8, 100, 0).to(encoder.device)
    with torch.no_grad():
        encoder.encode(batch.tensors)
        waits = waits_of(lambda: encoder.encode(batch.tensors))
        assert len(waits) == 1, waits
        wanted = encoder(**batch.tensors)
        beside = batch.tensors | {"attention_mask": batch.tensors["attention_mask"].cpu()}
        assert torch.equal(encoder(**beside), wanted)
        assert torch.equal(
            encoder(**beside, unpad_inputs=False)[batch.real], encoder(**batch.tensors, unpad_inputs=False)[batch.real]
        )
        waits = waits_of(lambda: encoder.encode(beside))
    assert not waits


def test_without_pads_the_padded_path_is_taken(folder: Path) -> None:
    encoder = load_encoder(folder, "cuda", "float16", "auto")
    full = torch.randint(2, 100, (4, 16), device="cuda")
    assert not encoder.encode({"input_ids": full}).is_packed
    mask = torch.ones_like(full)
    mask[0, 8:] = 0
    assert encoder.encode({"input_ids": full, "attention_mask": mask}).is_packed


def test_memory_that_is_not_there_is_a_finding_with_the_batch() -> None:
    batch = make_batch(IDS, 4, 10, 0)
    with pytest.raises(BrokenRunError) as broken, watched(batch, "asking for too much"):
        torch.empty(1 << 50, device="cuda", dtype=torch.uint8)
    assert broken.value.finding.code == "GTE520"
    assert "batch of 4 rows × 10" in broken.value.finding.message


ASSERT = """
import json, sys, torch
from gte_surgery.model.load import load_encoder
from gte_surgery.smoke.batches import Ids, make_batch
from gte_surgery.smoke.ledger import BrokenRunError, watched
encoder = load_encoder(sys.argv[1], "cuda", "float16", "sdpa")
batch = make_batch(Ids(5000, 1, 1, 64), 4, 10, 0).to(encoder.device)
try:
    with watched(batch, "a forward"):
        encoder(**batch.tensors)
except BrokenRunError as broken:
    print(json.dumps([broken.finding.code, broken.finding.message, broken.is_fatal]))
"""


def test_an_id_out_of_range_is_a_finding_with_the_batch_and_ends_the_process(folder: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", ASSERT, str(folder)], capture_output=True, text=True, check=False)
    code, message, is_fatal = json.loads(ran.stdout.splitlines()[-1])
    assert code == "GTE521"
    assert "batch of 4 rows × 10" in message
    assert is_fatal
