"""What the programs of today save, each by itself: the verdict is right, and what has a cure is clean after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery import fix
from gte_surgery.surgery.edits import CURES

pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from tests.differential.really_saved import SAVES, verdict

pytestmark = pytest.mark.filterwarnings("ignore")
QUICK = ("transformers-a", "transformers-f", "transformers-h", "transformers-sharded", "transformers-v", "safetensors")
NAMES = [name if name.startswith(QUICK) else pytest.param(name, marks=pytest.mark.long) for name in SAVES]


def test_there_are_many_ways_to_save() -> None:
    assert len(SAVES) >= 45
    assert sum(not save.codes for save in SAVES.values()) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_the_verdict_on_what_was_saved_is_right(name: str, tmp_path: Path) -> None:
    path = tmp_path / "saved"
    path.mkdir()
    SAVES[name].make(path)
    assert verdict(path) == SAVES[name].codes
    if verdict(path) and verdict(path) <= {*CURES} - {"GTE004"} and name != "peft-whole":  # its adapters stay strangers
        fix(path)
        assert verdict(path) <= {"GTE230"}
