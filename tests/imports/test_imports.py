"""What each command may import, seen from outside: a fresh interpreter runs it and tells what it loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "numpy", "jsonschema", "safetensors"}
CORE = ("gte_surgery.findings", "gte_surgery.checkpoint", "gte_surgery.checks", "gte_surgery.surgery.planning")
TELL = """
import json, sys
from gte_surgery.cli.entry import run
code = run(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump([code, sorted(sys.modules)], file)
"""


def loaded(tmp_path: Path, *arguments: str) -> set[str]:
    """Modules that a command line loads; it must end with exit code 0 or 1."""
    told = tmp_path / "told.json"
    subprocess.run([sys.executable, "-c", TELL, str(told), *arguments], check=True, capture_output=True)
    code, packages = json.loads(told.read_text())
    assert code in (0, 1)
    return set(packages)


@pytest.fixture
def checkpoint(golden: Path, tmp_path: Path) -> Path:
    return shutil.copytree(golden / "legacy-multilingual", tmp_path / "checkpoint")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["resize", "--help"], ["check", "--help"]], ids=" ".join
)
def test_help_loads_nothing_heavy_and_none_of_the_core(tmp_path: Path, arguments: list[str]) -> None:
    found = loaded(tmp_path, *arguments)
    assert found & HEAVY == set()
    assert [name for name in found if name.startswith(CORE)] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect"],
        ["check"],
        ["history"],
        ["resize", "--vocab", "160", "--pad", "0"],
        ["resize", "--vocab", "160", "--pad", "0", "--dry-run"],
        ["remap", "--keep", "KEPT"],
        ["remap", "--keep", "KEPT", "--vocab", "300", "--init", "zeros"],
    ],
    ids=" ".join,
)
def test_reading_judging_and_shrinking_load_no_array_library(
    tmp_path: Path, checkpoint: Path, arguments: list[str]
) -> None:
    verb, *options = arguments
    kept = tmp_path / "kept.txt"
    kept.write_text("".join(f"{row}\n" for row in range(199, 0, -3)))
    options = [str(kept) if option == "KEPT" else option for option in options]
    assert (
        loaded(tmp_path, verb, str(checkpoint), *options) & {"torch", "transformers", "numpy", "safetensors"} == set()
    )


def test_comparing_loads_no_array_library_unless_numbers_are_asked_for(
    tmp_path: Path, checkpoint: Path, golden: Path
) -> None:
    other = str(golden / "legacy-multilingual.resized-160-pad0")
    assert "numpy" not in loaded(tmp_path, "diff", str(checkpoint), other)
    assert "numpy" in loaded(tmp_path, "diff", str(checkpoint), other, "--values")


def test_only_reading_the_values_loads_numpy_for_a_check(tmp_path: Path, checkpoint: Path) -> None:
    programs = ("--for", "tei", "--for", "vllm")
    assert "numpy" not in loaded(tmp_path, "check", str(checkpoint), *programs)
    told = loaded(tmp_path, "check", str(checkpoint), "--values")
    assert "numpy" in told
    assert not told & {"torch", "transformers", "safetensors"}


def test_growing_by_drawing_does_load_numpy(tmp_path: Path, checkpoint: Path) -> None:
    assert "numpy" in loaded(tmp_path, "resize", str(checkpoint), "--vocab", "320", "--pad", "0")


def test_importing_the_package_loads_none_of_its_rooms() -> None:
    script = "import sys, gte_surgery; print([name for name in sys.modules if name.startswith('gte_surgery.')])"
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"
