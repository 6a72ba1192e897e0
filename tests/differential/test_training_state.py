"""A training that goes on after a surgery, from disk, against one in memory whose moments were indexed by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from gte_surgery import convert, remap, resize  # noqa: E402
from gte_surgery.errors import RefusedError  # noqa: E402

KEPT = [1, 0, *range(40, 140), 7]
Optimizer = Callable[[list[dict[str, Any]]], Any]

OPTIMIZERS: dict[str, Optimizer] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-3),
    "amsgrad": lambda groups: torch.optim.AdamW(groups, lr=1e-3, amsgrad=True),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9),
    "adafactor": lambda groups: transformers.Adafactor(groups, lr=1e-3, relative_step=False, scale_parameter=False),
    "torch-adafactor": lambda groups: torch.optim.Adafactor(groups, lr=1e-3),
}
SURGERIES: dict[str, tuple[Callable[[Path], object], int, dict[int, int]]] = {
    "shrink": (lambda path: resize(path, vocab=160, pad=0, **FOLLOW), 160, {new: new for new in range(1, 160)}),
    "grow": (lambda path: resize(path, vocab=300, pad=0, **FOLLOW), 300, {new: new for new in range(1, 256)}),
    "remap": (
        lambda path: remap(path, keep=KEPT, pad=1, round_to=64, **FOLLOW),
        128,
        {new: old for new, old in enumerate(KEPT) if new != 1},
    ),
}
FOLLOW: dict[str, Any] = {"training_state": "follow"}


def model_in(path: Path) -> Any:
    return transformers.AutoModelForMaskedLM.from_pretrained(path, dtype=torch.float32).eval()


def groups_of(model: Any) -> list[dict[str, Any]]:
    """As transformers' Trainer parts them: biases and norms without decay."""
    named = list(model.named_parameters())
    plain = [value for name, value in named if name.endswith("bias") or "norm" in name.lower()]
    others = [value for name, value in named if not (name.endswith("bias") or "norm" in name.lower())]
    return [{"params": others, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]


def batches(vocabulary: int) -> Iterator[tuple[Any, Any]]:
    generator = torch.Generator().manual_seed(5)
    while True:
        ids = torch.randint(2, vocabulary, (4, 12), generator=generator)
        yield ids, torch.where(torch.rand(4, 12, generator=generator) < 0.3, ids, -100)


def train(model: Any, optimizer: Any, steps: int, vocabulary: int) -> None:
    for ids, labels in islice(batches(vocabulary), steps):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def trained(golden: Path, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Optimizer]:
    make = OPTIMIZERS[request.param]
    path = shutil.copytree(golden / "legacy-mlm", tmp_path / "checkpoint-3")
    convert(path, to="native", layout="f")
    model = model_in(path)
    optimizer = make(groups_of(model))
    train(model, optimizer, 3, 100)
    model.save_pretrained(path, save_original_format=False)
    torch.save(optimizer.state_dict(), path / "optimizer.pt")
    return path, make


def by_hand(path: Path, make: Optimizer, rows: int, origins: dict[int, int], finished: Path) -> tuple[Any, Any]:
    """Model and optimizer after the surgery as a user would make them in memory; rows that are new come from disk."""
    old, state = model_in(path), torch.load(path / "optimizer.pt", weights_only=True)
    model = model_in(finished)
    optimizer = make(groups_of(model))
    vocabulary = old.config.vocab_size
    with torch.no_grad():
        former = dict(old.named_parameters())
        for name, value in model.named_parameters():
            if former[name].shape[0] != vocabulary:
                assert torch.equal(value, former[name])
                continue
            for new, before in origins.items():
                value[new] = former[name][before]
    for kept in state["state"].values():
        tensors = [value for value in kept.values() if torch.is_tensor(value)]
        is_table = any(value.ndim == 2 and value.shape[0] == vocabulary for value in tensors)
        for key, value in kept.items():
            if torch.is_tensor(value) and value.ndim and value.shape[0] == vocabulary:
                moved = torch.zeros(rows, *value.shape[1:], dtype=value.dtype)
                pad = {} if is_table or "row" in key else {model.config.pad_token_id: PADS_BIAS(origins, rows, model)}
                for new, before in {**origins, **pad}.items():
                    moved[new] = value[before]
                kept[key] = moved
    optimizer.load_state_dict(state)
    return model, optimizer


def PADS_BIAS(origins: dict[int, int], rows: int, model: Any) -> int:
    """The old row of the pad's bias: biases of a pad follow like any other."""
    pad = model.config.pad_token_id
    return KEPT[pad] if rows == 128 else pad


@pytest.mark.parametrize("surgery", SURGERIES)
@pytest.mark.parametrize("trained", OPTIMIZERS, indirect=True)
def test_ten_more_steps_from_disk_are_those_of_moments_indexed_by_hand(
    trained: tuple[Path, Optimizer], surgery: str, tmp_path: Path
) -> None:
    path, make = trained
    operate, rows, origins = SURGERIES[surgery]
    before = shutil.copytree(path, tmp_path / "before")
    operate(path)
    wanted, reference = by_hand(before, make, rows, origins, path)
    found = model_in(path)
    optimizer = make(groups_of(found))
    optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True))
    train(wanted, reference, 10, 100)
    train(found, optimizer, 10, 100)
    for (name, one), (_, other) in zip(found.named_parameters(), wanted.named_parameters(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("trained", ["adamw"], indirect=True)
def test_without_a_word_about_it_a_surgery_that_moves_rows_is_refused(
    trained: tuple[Path, Optimizer], tmp_path: Path
) -> None:
    path, _ = trained
    before = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
    with pytest.raises(RefusedError, match=r"optimizer\.pt: its moments are of the rows before"):
        resize(path, vocab=160, pad=0)
    assert {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()} == before
    resize(path, vocab=160, pad=0, training_state="drop")
    assert not (path / "optimizer.pt").exists()
    assert json.loads((path / "config.json").read_text())["vocab_size"] == 160


class Texts(torch.utils.data.Dataset):
    """Rows for a Trainer, the same at every call."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, place: int) -> dict[str, Any]:
        ids = torch.randint(2, 100, (12,), generator=torch.Generator().manual_seed(place))
        labels = torch.where(torch.arange(12) % 3 == 0, ids, -100)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def trainer_in(folder: Path, model: Any, steps: int) -> Any:
    arguments = transformers.TrainingArguments(
        str(folder), max_steps=steps, save_steps=3, per_device_train_batch_size=4, learning_rate=1e-3, use_cpu=True,
        report_to=[], disable_tqdm=True, logging_strategy="no", save_total_limit=None, seed=4,
    )  # fmt: skip
    return transformers.Trainer(model, arguments, train_dataset=Texts())


def resumed(checkpoint: Path) -> dict[str, Any]:
    """The weights after a Trainer has gone on from a checkpoint for ten more steps."""
    model = model_in(checkpoint).train()
    trainer_in(checkpoint.parent, model, 13).train(resume_from_checkpoint=str(checkpoint))
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.slow
def test_a_trainer_resumes_ten_steps_as_from_a_checkpoint_made_by_hand(golden: Path, tmp_path: Path) -> None:
    path = shutil.copytree(golden / "legacy-mlm", tmp_path / "start")
    convert(path, to="native", layout="f")
    trainer_in(tmp_path / "run", model_in(path).train(), 3).train()
    saved = tmp_path / "run" / "checkpoint-3"
    convert(saved, layout="f")
    by_tool = shutil.copytree(saved, tmp_path / "tool" / "checkpoint-3")
    remap(by_tool, keep=KEPT, pad=1, round_to=64, training_state="follow")
    origins = SURGERIES["remap"][2]
    model, optimizer = by_hand(saved, lambda groups: torch.optim.AdamW(groups, lr=1e-3), 128, origins, by_tool)
    hand = shutil.copytree(saved, tmp_path / "hand" / "checkpoint-3")
    model.save_pretrained(hand, save_original_format=False)
    stored = torch.load(saved / "optimizer.pt", weights_only=True)
    torch.save({**optimizer.state_dict(), "param_groups": stored["param_groups"]}, hand / "optimizer.pt")
    found, wanted = resumed(by_tool), resumed(hand)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert not torch.equal(found[next(iter(found))], dict(model_in(by_tool).named_parameters())[next(iter(found))])
