"""Speeds are medians of warm runs in turns, on a batch that fills the device."""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch")

from gte_surgery.smoke import speeds  # noqa: E402
from gte_surgery.smoke.batches import Batch, Ids  # noqa: E402
from gte_surgery.smoke.ledger import BrokenRunError  # noqa: E402
from gte_surgery.smoke.result import Speed  # noqa: E402
from gte_surgery.smoke.speeds import Way, full_batch, measure  # noqa: E402

CPU = torch.device("cpu")
IDS = Ids(vocab_size=100, pad=0, type_vocab_size=0, max_length=8192)


def way(name: str, ran: list[str]) -> Way:
    return Way(name, "packed", 0.5, lambda batch: ran.append(name))


def test_at_least_five_runs_are_the_rule() -> None:
    import ast
    from pathlib import Path

    tree = ast.parse(Path(speeds.__file__).read_text())
    stated = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)
              and isinstance(node.targets[0], ast.Name)}  # fmt: skip
    assert ast.literal_eval(stated["ROUNDS"]) >= 5


def test_ways_run_in_turns_and_the_first_two_rounds_only_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speeds, "ROUNDS", 5)
    ran: list[str] = []
    clock = iter([0.0, 9.0] * 4 + [*(moment for took in (1, 2, 1, 4, 1, 8, 3, 2, 1, 2) for moment in (0.0, took))])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    batch = full_batch(IDS, CPU, 512, 0)
    one, other = measure("fp32", [way("one", ran), way("other", ran)], batch, CPU)
    assert ran == ["one", "other"] * 7
    assert isinstance(one, Speed)
    assert isinstance(other, Speed)
    assert (one.dtype, one.backend, one.path, one.error) == ("fp32", "one", "packed", 0.5)
    assert (one.tokens_per_second, one.spread, one.speedup, other.speedup) == (batch.tokens, 2.0, 1.0, 0.5)
    assert (other.tokens_per_second, other.spread, other.peak_bytes) == (batch.tokens / 2, 3.0, None)


def test_a_way_that_breaks_is_told_and_the_others_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speeds, "ROUNDS", 5)
    ran: list[str] = []

    def broken(batch: Batch) -> None:
        ran.append("broken")
        raise torch.OutOfMemoryError

    ways = [Way("eager", "padded", 0.0, broken), way("sdpa", ran)]
    found = measure("fp32", ways, full_batch(IDS, CPU, 64, 0), CPU)
    assert isinstance(found[0], BrokenRunError)
    assert found[0].finding.code == "GTE520"
    assert found[0].finding.message.startswith("fp32 eager timing: ")
    assert isinstance(found[1], Speed)
    assert found[1].speedup is None
    assert ran == ["broken", *["sdpa"] * 7]


@pytest.mark.parametrize(("most", "shortest", "longest"), [(512, 16, 128), (64, 16, 64), (8, 8, 8)])
def test_the_batch_on_a_cpu_has_eight_rows_no_longer_than_asked(most: int, shortest: int, longest: int) -> None:
    batch = full_batch(IDS, CPU, most, 0)
    assert (batch.rows, min(batch.lengths), max(batch.lengths)) == (8, shortest, longest)
    assert len(set(batch.lengths)) == (8 if shortest < longest else 1)
    assert full_batch(Ids(100, 0, 0, 40), CPU, 512, 0).width == 40


def test_the_batch_on_cuda_has_64_rows_of_16_to_512_tokens() -> None:
    assert (speeds.ROWS["cuda"], speeds.SHORTEST, speeds.LONGEST["cuda"]) == (64, 16, 512)
