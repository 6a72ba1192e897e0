"""The recipes of the pages run as they stand, and do what they say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.sessions import README, read, recipes, run, steps

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery import check, load_encoder, open_checkpoint  # noqa: E402
from gte_surgery.findings import Severity  # noqa: E402

MAKING = r"ln |printf '2|gte-surgery (remap|resize .*--out|reinit|convert) "


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints that README's sessions make."""
    folder = tmp_path_factory.mktemp("made")
    for step in steps(read(README)):
        if re.match(MAKING, step.command):
            run(step.command, folder)
    assert {"base", "mine", "reset"} <= {path.name for path in folder.iterdir()}
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of one recipe."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "folder", symlinks=True))
    return tmp_path / "folder"


def cook(title: str) -> dict[str, object]:
    """Run one recipe; what it leaves in its variables."""
    torch.manual_seed(0)
    (recipe,) = (text for told, text in recipes().items() if told.startswith(title))
    left: dict[str, object] = {}
    exec(compile(recipe, title, "exec"), left)  # noqa: S102
    return left


def is_sound(folder: str) -> bool:
    report = check(open_checkpoint(folder))
    return not any(finding.severity is Severity.ERROR for finding in report.findings)


def test_there_are_four() -> None:
    assert len(recipes()) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_fine_tuning_moves_the_weights_and_leaves_a_sound_checkpoint() -> None:
    left = cook("Fine-tune")
    assert torch.isfinite(left["loss"])
    assert is_sound("tuned")
    before, after = (load_encoder(folder, "cpu", "float32").state_dict() for folder in ("mine", "tuned"))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert "model.gte.layers.0.self_attn.q_proj.weight" in moved
    assert not after["model.gte.embeddings.word_embeddings.weight"][0].any()


@pytest.mark.usefixtures("folder")
def test_pre_training_leaves_a_sound_checkpoint() -> None:
    left = cook("Pre-train a masked")
    assert torch.isfinite(left["loss"])
    assert is_sound("pretrained")
    assert load_encoder("pretrained", "cpu", "float32").head.value == "mlm"


@pytest.mark.usefixtures("folder")
@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_the_trainer_of_transformers_takes_what_was_resized_reset_and_converted() -> None:
    cook("Pre-train with")
    assert is_sound("pretrained")
    before, after = (load_encoder(name, "cpu", "float32") for name in ("reset", "pretrained"))
    assert after.head.value == "mlm"
    name = "model.gte.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(before.state_dict()[name], after.state_dict()[name])


@pytest.mark.usefixtures("folder")
def test_an_external_table_is_used_and_gets_gradients() -> None:
    left = cook("Feed vectors")
    vectors, gradient = left["vectors"], left["table"].weight.grad  # type: ignore[attr-defined]
    assert vectors.shape == (2, 32)  # type: ignore[attr-defined]
    assert torch.allclose(vectors.norm(dim=-1).cpu(), torch.ones(2))  # type: ignore[attr-defined]
    assert gradient[[3, 17, 42, 4999]].any(dim=-1).all()
    assert not gradient[0].any()
