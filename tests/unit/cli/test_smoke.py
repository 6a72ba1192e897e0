"""The command from its arguments to its output and exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gte_surgery.cli.entry import run
from gte_surgery.gte.schemas import violations

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

SHORT = ["--device", "cpu", "--batch", "3", "--max-length", "8"]


def test_a_good_checkpoint_passes_with_text_and_with_json(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["smoke", str(golden / "legacy-base"), *SHORT]) == 0
    told = capsys.readouterr()
    assert "passed  GTE512  packed equals padded" in told.out
    assert "proving fp32" in told.err
    assert run(["--quiet", "smoke", str(golden / "legacy-base"), *SHORT, "--json"]) == 0
    told = capsys.readouterr()
    assert violations(json.loads(told.out), "smoke") == []
    assert told.err == ""


def test_a_failed_proof_is_exit_code_1(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["smoke", str(golden / "legacy-rmsnorm"), *SHORT]) == 1
    assert "error GTE501" in capsys.readouterr().out


def test_a_device_that_is_not_here_is_refused_with_the_way_out(
    golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    assert run(["smoke", str(golden / "legacy-base")]) == 3
    assert "hint: --device cpu runs on the CPU" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--runtime", "remote"], ["--dtype", "int8"], ["--batch", "0"]], ids=" ".join)
def test_options_that_make_no_run_are_exit_code_2(golden: Path, options: list[str]) -> None:
    assert run(["smoke", str(golden / "legacy-base"), "--device", "cpu", *options]) == 2


def test_without_torch_the_hint_is_what_to_install(
    golden: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gte_surgery.smoke.run", None)
    assert run(["smoke", str(golden / "legacy-base"), "--device", "cpu"]) == 3
    assert "hint: `pip install 'gte-surgery[smoke]'`" in capsys.readouterr().err
