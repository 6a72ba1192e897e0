"""Compiled on CUDA: small batches replayed from captured graphs, and training, against the uncompiled model."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from tests import builder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.model.captured import CapturedBody  # noqa: E402
from gte_surgery.model.compiled import GRAPHS, graphs_made  # noqa: E402
from gte_surgery.model.encoder import GteEncoder  # noqa: E402
from gte_surgery.model.load import load_encoder  # noqa: E402
from gte_surgery.smoke.batches import Batch, Ids, make_batch  # noqa: E402

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
    for seed in range(3):
        for rows, longest in SIZES:
            batch = make_batch(IDS, rows, longest, seed).to(encoders[0].device)
            for encoder in encoders:
                encoder.zero_grad()
                loss_of(encoder, batch).backward()
                assert encoder.choice.packed in ("cudnn", "varlen")
            same_gradients(encoders, (seed, rows))
            made.append(graphs_made())
    assert made[0] == made[-1]
    assert isinstance(encoders[0].compiled, CapturedBody)
    assert bool(encoders[0].compiled.layers.pairs) != is_run_again


def loss_of(encoder: GteEncoder, batch: Batch) -> torch.Tensor:
    with torch.autocast("cuda", torch.bfloat16):
        return encoder.embed(batch.tensors)[:, :32].square().sum()


def same_gradients(encoders: list[GteEncoder], told: object) -> None:
    for (name, one), other in zip(encoders[0].named_parameters(), encoders[1].parameters(), strict=True):
        if other.grad is not None:
            assert one.grad is not None, name
            assert (one.grad - other.grad).norm() < 0.1 * other.grad.norm() + 1e-4, (name, told)


def test_replayed_training_heeds_forwards_that_wait_and_gradients_that_are_kept(folder: Path) -> None:
    encoders = [load_encoder(folder, "cuda", "float32", compile=is_compiled).train() for is_compiled in (True, False)]
    batches = alike(make_batch(IDS, 8, 100, 0).to(encoders[0].device))
    for batch in batches[:2]:
        loss_of(encoders[0], batch).backward()
    for encoder in encoders:
        encoder.zero_grad()
        (loss_of(encoder, batches[2]) + loss_of(encoder, batches[3])).backward()  # the second while the first waits
        loss_of(encoder, batches[0])  # its backward never comes
        loss_of(encoder, batches[1]).backward()  # onto gradients that are there
    assert isinstance(encoders[0].compiled, CapturedBody)
    assert encoders[0].compiled.layers.pairs
    same_gradients(encoders, "waiting")


def alike(batch: Batch) -> list[Batch]:
    """Batches of the same lengths with other ids."""
    ids = batch.tensors["input_ids"]
    moved = [torch.where(batch.real, 2 + (ids + step) % 100, ids) for step in range(4)]
    return [replace(batch, tensors=batch.tensors | {"input_ids": each}) for each in moved]


def test_every_replay_drops_other_places(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_attention_heads": 2, "hidden_dropout_prob": 0.3}
    encoder = load_encoder(builder.build(tmp_path / "x", builder.remote_config(**sizes)), "cuda", compile=True).train()
    batch = make_batch(IDS, 8, 100, 0).to(encoder.device)
    said = []
    for _ in range(5):
        said.append(encoder.embed(batch.tensors).detach())
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(said))
