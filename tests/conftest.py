"""What every test shares: how much of a table is run, visible skips, and Hypothesis profiles.

Three sizes: with --quick (`bin/test`) every test but those marked slow, of a table of cases two, of drawn inputs a
dozen; without an option (`bin/test --all`) all cases; with --long also what takes minutes, and thousands of inputs.
"""

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
    "quick", max_examples=12, deadline=None, derandomize=IS_CI, suppress_health_check=_SLOW_MACHINES_ARE_FINE
)
settings.register_profile(
    "all", max_examples=30, deadline=None, derandomize=IS_CI, suppress_health_check=_SLOW_MACHINES_ARE_FINE
)
settings.register_profile("long", max_examples=2000, deadline=None, suppress_health_check=_SLOW_MACHINES_ARE_FINE)


CASES = 2
"""Of a table of cases, so many are run with --quick: the first and the last."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="of each table of cases a few, of drawn inputs a dozen")
    parser.addoption("--long", action="store_true", help="run the tests that take minutes, and more examples of each")


def pytest_configure(config: pytest.Config) -> None:
    sizes = [size for size in ("quick", "long") if config.getoption(f"--{size}")]
    settings.load_profile(sizes[-1] if sizes else "all")


def _has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_long = config.getoption("--long")
    if config.getoption("--quick"):
        kept = sampled([item for item in items if not item.get_closest_marker("slow")], CASES)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]
    has_cuda = any(item.get_closest_marker("gpu") for item in items) and _has_cuda()
    for item in items:
        if item.get_closest_marker("long") and not is_long:
            item.add_marker(pytest.mark.skip(reason="takes minutes: run with --long"))
        if item.get_closest_marker("gpu") and not has_cuda:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def sampled(items: list[pytest.Item], cases: int) -> set[pytest.Item]:
    """Of each test function at most so many of its cases, always the same."""
    tables: dict[str, list[pytest.Item]] = {}
    for item in items:
        tables.setdefault(item.nodeid.partition("[")[0], []).append(item)
    most = {name: min(cases, len(table)) for name, table in tables.items()}
    return {
        table[at * (len(table) - 1) // max(most[name] - 1, 1)]
        for name, table in tables.items()
        for at in range(most[name])
    }


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether --long was given: a test may loop more often then."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden checkpoints; read-only, copy one before changing it."""
    return GOLDEN
