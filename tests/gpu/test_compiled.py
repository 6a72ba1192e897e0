"""Compiled on CUDA: small batches replayed from captured graphs, and training, against the uncompiled model."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests import builder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery import new  # noqa: E402
from gte_surgery.model import encoder as room  # noqa: E402
from gte_surgery.model.captured import CapturedBody  # noqa: E402
from gte_surgery.model.compiled import GRAPHS, graphs_made  # noqa: E402
from gte_surgery.model.encoder import GteEncoder  # noqa: E402
from gte_surgery.model.load import load_encoder  # noqa: E402
from gte_surgery.smoke.batches import Batch, Ids, make_batch  # noqa: E402
from tests.gpu.waits import waits_of  # noqa: E402

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


@pytest.mark.parametrize("most", [1 << 28, 1 << 14], ids=["at once", "in portions"])
def test_the_loss_of_a_masked_lm_is_the_uncompiled_ones_wherever_its_labels_lie(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST_LOGITS", most)
    sizes = {"layers": 2, "hidden": 64, "heads": 2, "intermediate": 96, "vocab": 128}
    made = new(tmp_path / "x", release="gte-en-mlm-base", dtype="F32", **sizes).target  # type: ignore[arg-type]
    encoders = [load_encoder(made, "cuda", "float32", compile=is_compiled) for is_compiled in (True, False)]
    for rows, longest in SIZES:
        batch = make_batch(IDS, rows, longest, 0).to(encoders[0].device)
        given = batch.tensors | {"attention_mask": batch.tensors["attention_mask"].cpu()}
        labels = torch.where(batch.real & (batch.tensors["input_ids"] % 3 == 0), batch.tensors["input_ids"], -100)
        wanted = encoders[1].masked_loss(batch.tensors, labels).item()
        for where in (labels, labels.cpu()):
            for encoder in encoders:
                encoder.zero_grad()
                assert abs(masked_step(encoder, given, where) - wanted) < 2e-2 * wanted
            same_gradients(encoders, (rows, where.device))
    where = labels.cpu()
    if most > 1 << 14:  # portions keep the state of the generators, which lies on the device
        assert not waits_of(lambda: masked_step(encoders[0], given, where))


def masked_step(encoder: GteEncoder, given: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cuda", torch.bfloat16):
        loss = encoder.masked_loss(given, labels)
    loss.backward()
    return loss.detach()


WRONG = """
import sys, torch
from gte_surgery import load_encoder
encoder = load_encoder(sys.argv[1], "cuda", "float16", compile=True)
ids = torch.arange(2, 22, device="cuda").view(2, 10)
for given in (ids, ids, ids, torch.where(ids == 7, int(sys.argv[2]), ids)):
    with torch.no_grad():
        print(encoder.embed({"input_ids": given}).isfinite().all().item())
"""


@pytest.mark.parametrize("wrong", [-1, 128])
def test_an_id_that_the_table_has_not_ends_a_compiled_forward_too(folder: Path, wrong: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WRONG, str(folder), str(wrong)], capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == ["True"] * 3
    assert "index out of bounds" in ran.stderr
