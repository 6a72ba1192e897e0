"""What every test shares: the option --long, visible skips, and Hypothesis profiles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "checkpoints"

_SLOW_MACHINES_ARE_FINE = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
# In CI the same examples every time, so that a change is judged by what it changed; elsewhere new ones, to find more.
IS_CI = bool(os.environ.get("CI"))
settings.register_profile(
    "quick", max_examples=60, deadline=None, derandomize=IS_CI, suppress_health_check=_SLOW_MACHINES_ARE_FINE
)
settings.register_profile("long", max_examples=2000, deadline=None, suppress_health_check=_SLOW_MACHINES_ARE_FINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests that take minutes, and more examples of each")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("long" if config.getoption("--long") else "quick")


def _has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_long = config.getoption("--long")
    has_cuda = any(item.get_closest_marker("gpu") for item in items) and _has_cuda()
    for item in items:
        if item.get_closest_marker("long") and not is_long:
            item.add_marker(pytest.mark.skip(reason="takes minutes: run with --long"))
        if item.get_closest_marker("gpu") and not has_cuda:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether --long was given: a test may loop more often then."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden checkpoints; read-only, copy one before changing it."""
    return GOLDEN
