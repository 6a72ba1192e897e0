"""Smoke runs in tests: one thread, so that tests in parallel do not wait for each other, and no time for timing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers", minversion="5.18")
    from gte_surgery.smoke import speeds

    monkeypatch.setattr(speeds, "ROUNDS", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
