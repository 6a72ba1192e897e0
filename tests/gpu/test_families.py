"""Full-size BERT and ModernBERT on one GPU: every backend, three dtypes, three steps of training, sliding windows.

`python -m pytest -q tests/gpu/test_families.py`; about 2 GB of disk and five minutes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery import load_encoder, new, smoke  # noqa: E402
from gte_surgery.model.attention import BACKENDS  # noqa: E402
from gte_surgery.smoke.batches import Ids, make_batch  # noqa: E402
from gte_surgery.smoke.options import SmokeOptions  # noqa: E402

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("release", ["gte-base", "gte-modernbert-base"])
def test_a_full_size_release_is_proved_by_every_backend_in_three_dtypes(release: str, tmp_path: Path) -> None:
    made = new(tmp_path / release, release=release, dtype="F32").target
    longest = 512 if release == "gte-base" else 2048
    result = smoke(made, SmokeOptions(dtype="fp32,fp16,bf16", attention="all", train=3, batch=8, max_length=longest))
    assert [proof for proof in result.proofs if proof.outcome == "failed"] == []
    # varlen has no dropout, which gte-base trains with
    assert [finding for finding in result.findings if finding.code != "GTE502"] == []


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_backend_heeds_a_sliding_window(dtype: str, tmp_path: Path) -> None:
    sizes = {"layers": 6, "hidden": 128, "heads": 2, "intermediate": 192, "vocab": 640, "pad": 3}
    made = new(tmp_path / "sliding", release="gte-modernbert-base", dtype="F32", **sizes).target  # type: ignore[arg-type]
    encoder = load_encoder(made, "cuda", dtype, "eager")
    batch = make_batch(Ids(vocab_size=640, pad=3, type_vocab_size=0, max_length=700), 6, 700, 0).to(encoder.device)
    with torch.no_grad():
        wanted = encoder(**batch.tensors, unpad_inputs=False)[batch.real].float()
        refused = encoder.choose_attention().refused
        for backend in (name for name in BACKENDS if name not in refused):
            encoder.choose_attention(backend)
            for unpad in (True, False):
                found = encoder(**batch.tensors, unpad_inputs=unpad)[batch.real].float()
                assert (found - wanted).norm() / wanted.norm() < 0.05, (backend, unpad)
