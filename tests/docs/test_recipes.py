"""The recipes of the pages run as they stand, and do what they say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.sessions import recipes

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery import check, load_encoder, open_checkpoint  # noqa: E402
from gte_surgery.findings import Severity  # noqa: E402


def cook(title: str, folder: Path, golden: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Run one recipe in a folder with a checkpoint called ckpt; what it leaves in its variables."""
    monkeypatch.chdir(folder)
    shutil.copytree(golden / "legacy-base", folder / "ckpt")
    torch.manual_seed(0)
    (recipe,) = (text for told, text in recipes().items() if told.startswith(title))
    left: dict[str, object] = {}
    exec(compile(recipe, title, "exec"), left)  # noqa: S102
    return left


def is_sound(folder: str) -> bool:
    report = check(open_checkpoint(folder))
    return not any(finding.severity is Severity.ERROR for finding in report.findings)


def test_there_are_three() -> None:
    assert len(recipes()) == 3


def test_fine_tuning_moves_the_weights_and_leaves_a_sound_checkpoint(
    tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = cook("Fine-tune", tmp_path, golden, monkeypatch)
    assert torch.isfinite(left["loss"])
    assert is_sound("tuned")
    before, after = (load_encoder(folder, "cpu", "float32").state_dict() for folder in ("ckpt", "tuned"))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert "model.layers.0.self_attn.q_proj.weight" in moved
    assert not after["model.embeddings.word_embeddings.weight"][1].any()


def test_pre_training_leaves_a_sound_checkpoint(tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = cook("Pre-train", tmp_path, golden, monkeypatch)
    assert torch.isfinite(left["loss"])
    assert is_sound("pretrained")
    assert load_encoder("pretrained", "cpu", "float32").head.value == "mlm"


def test_an_external_table_is_used_and_gets_gradients(
    tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = cook("Feed vectors", tmp_path, golden, monkeypatch)
    vectors, gradient = left["vectors"], left["table"].weight.grad  # type: ignore[attr-defined]
    assert vectors.shape == (2, 32)  # type: ignore[attr-defined]
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(2))  # type: ignore[attr-defined]
    assert gradient[[3, 17, 42, 4999]].any(dim=-1).all()
    assert not gradient[0].any()
