"""The wheel is whole: built, installed elsewhere, it checks a checkpoint and finds its schemas. So is what the release
workflow builds by its own line.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip = run(
        sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile",
        "--target", str(folder), str(wheel),
    )  # fmt: skip
    assert pip.returncode == 0, pip.stderr
    return folder


def gte_surgery(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the installed copy, not the source tree, from a folder that has neither."""
    return run(
        sys.executable,
        "-m",
        "gte_surgery",
        *arguments,
        cwd=installed.parent,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )


def test_the_installed_copy_is_the_one_that_runs(installed: Path) -> None:
    script = "import gte_surgery; print(gte_surgery.__file__)"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    ran = run(sys.executable, "-c", script, cwd=installed.parent, env=environment)
    assert Path(ran.stdout.strip()).parent == installed / "gte_surgery"


def test_check_runs_from_the_wheel(installed: Path, golden: Path) -> None:
    ran = gte_surgery(installed, "check", str(golden / "legacy-multilingual"))
    assert (ran.returncode, ran.stderr) == (0, "")


def test_every_schema_is_in_the_wheel(installed: Path) -> None:
    wanted = sorted(path.name.removesuffix(".schema.json") for path in (ROOT / "schemas").glob("*.schema.json"))
    listed = gte_surgery(installed, "schema").stdout.split()
    assert wanted
    assert listed == wanted
    for name in wanted:
        assert gte_surgery(installed, "schema", name).stdout.startswith("{")


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "gte_surgery/py.typed" in names
    templates = {
        f"gte_surgery/render/templates/{path.name}" for path in (ROOT / "gte_surgery/render/templates").iterdir()
    }
    assert len(templates) >= 4
    assert templates <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    beside = wheel.name.split("-py3")[0]
    manual = f"{beside}.data/data/share/man/man1/gte-surgery.1"
    outside = {name for name in names if name.partition("/")[0] not in ("gte_surgery", f"{beside}.dist-info")}
    assert outside == {manual}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The sources as a checkout has them, so that nothing is built into the tree."""
    made_here = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "dist")
    return shutil.copytree(ROOT, tmp_path / "source", ignore=made_here, symlinks=True)


@pytest.mark.slow
def test_the_line_of_the_release_workflow_builds_what_it_uploads(source: Path) -> None:
    """In isolation as it stands there; without a network, which that asks for its backend, without isolation."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    steps = {step.get("name"): step for step in workflow["jobs"]["build"]["steps"]}
    python, *line = shlex.split(steps["Build"]["run"])
    assert (python, line[:2]) == ("python", ["-m", "build"])
    built = run(sys.executable, *line, cwd=source)
    if built.returncode and "No matching distribution" in built.stdout + built.stderr:
        built = run(sys.executable, *line, "--no-isolation", cwd=source)
    assert built.returncode == 0, built.stdout + built.stderr
    wheel, archived = sorted((source / "dist").iterdir(), key=lambda path: path.suffix, reverse=True)
    assert (wheel.suffix, archived.name.endswith(".tar.gz")) == (".whl", True)
    with tarfile.open(archived) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "gte_surgery/__init__.py"} <= names
    assert not any(name.startswith(("tests/golden/", ".ci/")) for name in names)
