"""Compiled on CUDA: small batches replayed from captured graphs, and training, against the uncompiled model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import builder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.model.captured import CapturedBody  # noqa: E402
from gte_surgery.model.compiled import GRAPHS, graphs_made  # noqa: E402
from gte_surgery.model.encoder import GteEncoder  # noqa: E402
from gte_surgery.model.load import load_encoder  # noqa: E402
from gte_surgery.smoke.batches import Ids, make_batch  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")]
IDS = Ids(vocab_size=128, pad=1, type_vocab_size=1, max_length=128)
SIZES = ((8, 100), (3, 40), (20, 128), (2, 5), (60, 90))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"hidden_size": 64, "num_attention_heads": 2, "hidden_dropout_prob": 0.0}
    config = builder.remote_config(initializer_range=0.1, **sizes)
    return builder.build(tmp_path_factory.mktemp("gpu") / "x", config)


def gap(encoder: GteEncoder, rows: int, longest: int, seed: int) -> float:
    """How far the encoder is from its own model on a padded batch; relative norm over the real tokens."""
    batch = make_batch(IDS, rows, longest, seed).to(encoder.device)
    found = encoder(**batch.tensors)[batch.real].float()
    wanted = encoder(**batch.tensors, unpad_inputs=False)[batch.real].float()
    return float((found - wanted).norm() / wanted.norm())


@torch.no_grad()
def test_small_batches_are_replayed_whatever_their_size_and_weights(folder: Path) -> None:
    encoder = load_encoder(folder, "cuda", "float16", "varlen", compile=True)
    before = graphs_made()
    assert isinstance(encoder.compiled, CapturedBody)
    for seed in range(4):
        assert max(gap(encoder, rows, longest, seed) for rows, longest in SIZES) < 1e-2
    assert graphs_made() - before == GRAPHS
    assert len(encoder.compiled.graphs) >= len(SIZES)
    for parameter in encoder.parameters():
        parameter.mul_(1.5)
    assert gap(encoder, 8, 100, 0) < 1e-2
    for module in encoder.model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight = torch.nn.Parameter(-module.weight.detach())
    assert max(gap(encoder, 8, 100, seed) for seed in range(3)) < 1e-2


@pytest.mark.parametrize("is_run_again", [False, True], ids=["kept", "checkpointed"])
def test_compiled_training_gives_the_gradients_of_the_uncompiled(folder: Path, is_run_again: bool) -> None:
    encoders = [load_encoder(folder, "cuda", "float32", compile=is_compiled).train() for is_compiled in (True, False)]
    if is_run_again:
        encoders[0].model.gradient_checkpointing_enable()
    made = []
    for rows, longest in SIZES:
        batch = make_batch(IDS, rows, longest, 0).to(encoders[0].device)
        for encoder in encoders:
            encoder.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                encoder.embed(batch.tensors)[:, :32].square().sum().backward()
            assert encoder.choice.packed == "varlen"
        for (name, one), other in zip(encoders[0].named_parameters(), encoders[1].parameters(), strict=True):
            if other.grad is not None:
                assert one.grad is not None, name
                assert (one.grad - other.grad).norm() < 0.1 * other.grad.norm() + 1e-4, (name, rows)
        made.append(graphs_made())
    assert made[0] == made[-1]
