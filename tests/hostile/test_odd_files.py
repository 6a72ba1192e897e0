"""Hundreds of odd headers, configs, indexes, tokenizers and receipts, compared with the programs that others read them
with: `tests.hostile.odd_files`. What those refuse is found; peak memory stays within 200 MB, each takes 10 s at most.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.hostile import odd_files
from tests.hostile.targets_beside import lay

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")


def _judged(kinds: str, count: int, seed: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.hostile.odd_files", kinds, str(count), str(seed)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    told: dict[str, float] = json.loads(ran.stdout)
    assert told["megabytes"] <= 200
    assert told["seconds"] <= 10
    assert 0 < told["refused"] < count * len(kinds.split(","))
    return told


def test_some_odd_files_of_each_kind_are_judged_as_others_judge_them() -> None:
    _judged(",".join(odd_files.KINDS), 6, 0)


@pytest.mark.long
@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_thousands_of_odd_files_are_judged_as_others_judge_them(kind: str) -> None:
    _judged(kind, 3_000, 0)


def test_a_laxer_judgement_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odd_files, "odd", lambda *_: b'{"a":NaN}')
    monkeypatch.setattr(odd_files, "_judged", lambda _: ())
    with pytest.raises(AssertionError, match="nothing is found"):
        odd_files.KINDS["config"](lay(tmp_path / "checkpoint"), random.Random(0))
