"""What becomes of the training state beside the weights, and what is refused because nobody can be sure."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from gte_surgery import convert, resize  # noqa: E402
from gte_surgery.errors import RefusedError  # noqa: E402
from gte_surgery.gte.schemas import violations  # noqa: E402

V, H, I = 256, 32, 48  # noqa: E741


def adam(*shapes: tuple[int, ...]) -> dict[str, Any]:
    """An AdamW state of parameters of these shapes, each number its own."""
    state = {
        number: {
            "step": torch.tensor(3.0),
            "exp_avg": torch.arange(float(torch.Size(shape).numel())).reshape(shape) + number,
            "exp_avg_sq": torch.rand(shape),
        }
        for number, shape in enumerate(shapes)
    }
    return {"state": state, "param_groups": [{"lr": 1e-3, "params": list(range(len(shapes)))}]}


def state_of(**kept: Any) -> dict[str, Any]:
    return {"state": {0: kept}, "param_groups": [{"params": [0]}]}


@pytest.fixture
def checkpoint(golden: Path, tmp_path: Path) -> Callable[[dict[str, Any] | None], Path]:
    def make(state: dict[str, Any] | None) -> Path:
        path = shutil.copytree(golden / "legacy-multilingual", tmp_path / "checkpoint-500")
        if state is not None:
            torch.save(state, path / "optimizer.pt")
        return path

    return make


def loaded(path: Path) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = torch.load(path / "optimizer.pt", weights_only=True)["state"]
    return found


def test_the_moments_of_the_table_follow_and_all_else_is_carried(checkpoint: Any) -> None:
    path = checkpoint(adam((V, H), (3 * H, H), (H,)))
    before = loaded(path)
    outcome = resize(path, vocab=160, pad=5, training_state="follow")
    after = loaded(path)
    for key in ("exp_avg", "exp_avg_sq"):
        wanted = before[0][key][:160].clone()
        wanted[5] = 0
        assert torch.equal(after[0][key], wanted)
        assert all(torch.equal(after[number][key], before[number][key]) for number in (1, 2))
    assert outcome.plan.meaning[-1].startswith("optimizer.pt follows: the moments of 1 parameter move with the rows")
    assert [sentence for sentence in outcome.plan.meaning if "optimizer.pt" in sentence] == [outcome.plan.meaning[-1]]
    assert "optimizer.pt" in [each["name"] for each in outcome.receipt["written"]]  # type: ignore[index]
    assert violations({"receipts": [outcome.receipt]}, "receipt") == []


def test_a_pad_that_moves_takes_no_momentum_along(checkpoint: Any) -> None:
    path = checkpoint(adam((V, H)))
    resize(path, vocab=V, pad=9, training_state="follow")
    assert not loaded(path)[0]["exp_avg"][9].any()
    assert loaded(path)[0]["exp_avg"][8].any()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (adam((300, H), (H,)), r"moments of shape \[300, 32\], the model has no such tensor; its table is \[256, 32\]"),
        (adam((V, H), (V, H)), r"more than one parameter has the shape \[256, 32\]"),
        (adam((8, H), (H, 8)), r"moments of shape \[8, 32\], the model has no such tensor"),
        (state_of(state1=torch.zeros(V, H, dtype=torch.uint8)), "`state1`: 8-bit moments are stored in blocks"),
        (state_of(exp_avg=torch.zeros(V, H), odd=torch.zeros(7)), "moments of parameter 0 have shapes of their own"),
        (state_of(exp_avg=torch.zeros(H, V).T), "`exp_avg` of parameter 0 is a view of another"),
        (state_of(exp_avg=torch.zeros(2 * V, H)[:V]), "`exp_avg` of parameter 0 is a view of another"),
        ({"model": 1}, r"not an optimizer's state"),
    ],
)  # fmt: skip
def test_what_cannot_follow_for_certain_is_refused_by_name(checkpoint: Any, state: dict[str, Any], reason: str) -> None:
    path = checkpoint(state)
    before = (path / "optimizer.pt").read_bytes(), (path / "model.safetensors").read_bytes()
    with pytest.raises(RefusedError, match=rf"^optimizer\.pt: .*{reason}.*; it cannot follow the rows$") as refused:
        resize(path, vocab=160, pad=0, training_state="follow")
    assert "--training-state drop" in refused.value.hint
    assert ((path / "optimizer.pt").read_bytes(), (path / "model.safetensors").read_bytes()) == before


@pytest.mark.parametrize("name", ["global_step500/mp_rank_00_model_states.pt", "zero_to_fp32.py", "state/0_0.distcp"])
@pytest.mark.parametrize("mode", ["follow", "refuse"])
def test_formats_of_others_are_refused_with_what_to_run_instead(checkpoint: Any, name: str, mode: Any) -> None:
    path = checkpoint(None)
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_bytes(b"?")
    with pytest.raises(RefusedError, match=r"zero_to_fp32\.py \. merged|dcp_to_torch DIR optimizer\.pt"):
        resize(path, vocab=160, pad=0, training_state=mode)
    resize(path, vocab=160, pad=0, training_state="drop")
    assert not (path / name).exists()


RENUMBERING = {
    "dialect": lambda path, mode: convert(path, to="native", training_state=mode),
    "type table": lambda path, mode: resize(path, vocab=V, pad=1, type_vocab=0, training_state=mode),
}


@pytest.mark.parametrize("operate", RENUMBERING.values(), ids=RENUMBERING)
def test_parameters_that_are_numbered_anew_let_nothing_follow(checkpoint: Any, operate: Any) -> None:
    path = checkpoint(adam((V, H)))
    for mode in ("refuse", "follow"):
        with pytest.raises(RefusedError, match=r"optimizer\.pt: .*, its moments cannot follow"):
            operate(path, mode)
    operate(path, "drop")
    assert not (path / "optimizer.pt").exists()


@pytest.mark.parametrize("state", [adam((H,), (3 * H, H)), state_of(momentum_buffer=None)])
def test_a_state_without_moments_of_the_table_stays(checkpoint: Any, state: dict[str, Any]) -> None:
    path = checkpoint(state)
    before = (path / "optimizer.pt").read_bytes()
    plan = resize(path, vocab=160, pad=0, training_state="follow").plan
    assert plan.meaning[-1] == "optimizer.pt stays: it keeps no moments of the rows that move"
    assert (path / "optimizer.pt").read_bytes() == before


def test_what_moves_no_row_needs_no_word(checkpoint: Any) -> None:
    path = checkpoint(adam((V, H)))
    before = (path / "optimizer.pt").read_bytes()
    convert(path, dtype="BF16")
    assert (path / "optimizer.pt").read_bytes() == before


def test_types_that_change_alone_take_their_moments_along(checkpoint: Any) -> None:
    path = checkpoint(None)
    resize(path, vocab=V, pad=1, type_vocab=3)
    torch.save(adam((V, H), (3, H)), path / "optimizer.pt")
    before = loaded(path)
    with pytest.raises(RefusedError, match=r"^optimizer\.pt: its moments are of the rows before"):
        resize(path, vocab=V, pad=1, type_vocab=5)
    resize(path, vocab=V, pad=1, type_vocab=5, training_state="follow")
    after = loaded(path)
    for key in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(after[0][key][2:], before[0][key][2:])
        assert torch.equal(after[1][key], torch.cat([before[1][key], torch.zeros(2, H)]))


def test_a_copy_elsewhere_has_what_follows_and_the_original_stays(checkpoint: Any, tmp_path: Path) -> None:
    path = checkpoint(adam((V, H)))
    (path / "scheduler.pt").write_bytes(b"a Trainer's")
    resize(path, vocab=160, pad=0, training_state="follow", out=tmp_path / "small")
    assert loaded(tmp_path / "small")[0]["exp_avg"].shape == (160, H)
    assert loaded(path)[0]["exp_avg"].shape == (V, H)
    assert (tmp_path / "small" / "scheduler.pt").read_bytes() == b"a Trainer's"
