"""What a smoke run needs is known before it starts: at least what it takes, and not many times as much."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gte_surgery import new
from gte_surgery.errors import UnavailableError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.smoke.options import SmokeOptions  # noqa: E402
from gte_surgery.smoke.prove import memory  # noqa: E402
from gte_surgery.smoke.run import smoke  # noqa: E402
from gte_surgery.smoke.subject import Subject  # noqa: E402

SIZES: dict[str, Any] = {"layers": 2, "hidden": 64, "heads": 4, "intermediate": 96, "vocab": 500, "pad": 0}
RUN = """
import re, sys
from gte_surgery.smoke.options import SmokeOptions
from gte_surgery.smoke.run import smoke
# In /proc, for ru_maxrss begins with what the parent had.
peak = lambda: 1024 * int(re.search("VmHWM: *(.*) kB", open("/proc/self/status").read().replace(chr(9), " "))[1])
run = lambda length, **more: smoke(sys.argv[1], SmokeOptions(device="cpu", batch=8, max_length=length, **more))
run(16, train=1)
before = peak()
assert run(int(sys.argv[2]), attention=sys.argv[3], train=int(sys.argv[4])).has_passed
print(peak() - before)
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new(tmp_path_factory.mktemp("estimate") / "toy", release="gte-base-en-v1.5", **SIZES).target


def needed(path: Path, length: int, **options: Any) -> memory.Need:
    chosen = SmokeOptions(device="cpu", max_length=length, **options)
    subject = Subject.opened(path, chosen, torch.device("cpu"), 0, lambda told: None)
    return memory.needed(subject, subject.batch.width)


def test_a_run_beyond_what_is_free_is_refused_before_it_starts_with_a_length_that_fits(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "host_bytes", lambda: 1 << 30)
    monkeypatch.setattr(memory, "host_bytes", lambda: 1 << 30)
    monkeypatch.setattr("gte_surgery.smoke.run._Run.all", lambda run: pytest.fail("it started"))
    told: list[str] = []
    with pytest.raises(UnavailableError) as refused:
        smoke(toy, SmokeOptions(device="cpu", max_length=9000), told.append)
    assert "16 rows of up to 8,192 tokens need about " in refused.value.message
    assert "1.1 GB are free on cpu" in refused.value.message
    assert told == ["max-length 9000: cut to the 8192 positions of the model"]
    option, length = refused.value.meant.split()
    assert option == "--max-length"
    assert needed(toy, int(length)).total <= 1 << 30 < needed(toy, 2 * int(length)).total


def test_a_model_whose_weights_do_not_fit_is_refused_without_a_length(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "host_bytes", lambda: 1000)
    with pytest.raises(UnavailableError) as refused:
        smoke(toy, SmokeOptions(device="cpu", max_length=64))
    assert (refused.value.meant, refused.value.hint) == ("", "take a smaller --batch, or a machine with more memory")


def test_eager_attention_is_quadratic_and_everything_else_is_not(toy: Path) -> None:
    short, long = needed(toy, 2000), needed(toy, 4000)
    assert long.scores / short.scores == pytest.approx(4, rel=0.05)
    assert long.states / short.states == pytest.approx(2, rel=0.05)
    assert long.weights == short.weights
    assert needed(toy, 2000, attention="eager").total > 1.5 * short.total


def test_more_is_needed_for_training_and_for_a_lower_dtype_and_less_in_a_comparison(toy: Path) -> None:
    plain = needed(toy, 16, batch=2)
    assert needed(toy, 16, batch=2, train=1).weights > 2 * plain.weights
    assert needed(toy, 2000, dtype="bf16").weights > needed(toy, 2000).weights
    assert needed(toy, 2000, against=toy).total < needed(toy, 2000).total


def test_a_gpu_needs_room_for_one_of_two_models_that_are_compared(toy: Path) -> None:
    subject = Subject.opened(toy, SmokeOptions(device="cpu", against=toy), torch.device("cpu"), 0, lambda told: None)
    on_gpu = replace(subject, device=torch.device("cuda"))
    assert 2 * memory.needed(on_gpu, 16).total == memory.needed(subject, 16).total


def test_what_is_free_on_this_machine_is_known() -> None:
    import os

    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < memory.host_bytes() <= whole


def test_a_control_group_bounds_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_GROUPS", ((tmp_path, "most", "used"),))
    before = memory.host_bytes()
    for most, used, left in (("5000", "1000", 4000), ("1000", "5000", 0)):
        (tmp_path / "most").write_text(most + "\n")
        (tmp_path / "used").write_text(used + "\n")
        assert memory.host_bytes() == left
    (tmp_path / "most").write_text("max\n")
    assert memory.host_bytes() == pytest.approx(before, rel=0.5)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(("length", "attention", "train"), [(1500, "sdpa", 0), (600, "eager", 2)])
def test_a_run_takes_what_was_estimated(toy: Path, length: int, attention: str, train: int) -> None:
    command = [sys.executable, "-c", RUN, str(toy), str(length), attention, str(train)]
    took = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    wanted = needed(toy, length, batch=8, attention=attention, train=train).total
    assert took / 1.2 <= wanted <= 2.5 * took
