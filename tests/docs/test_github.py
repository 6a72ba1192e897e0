"""What lies under .github: the composite action's shell steps are run as a runner runs them, so are those of a release
that need no network; the workflows, forms and the Dockerfile are held to what exists here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gte_surgery import __version__
from tests.builder import build, change_config
from tests.docs.sessions import ROOT

GITHUB = ROOT / ".github"
ACTION = yaml.safe_load((GITHUB / "actions/check/action.yml").read_text(encoding="utf-8"))
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (GITHUB / "workflows").glob("*.yml")
}


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A `run:` step with `shell: bash`, as GitHub documents it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PATH": path} | environment, check=False,
    )  # fmt: skip


def step(name: str) -> Any:
    (only,) = [each for each in ACTION["runs"]["steps"] if each["name"] == name]
    return only


def taken(name: str, folder: Path, inputs: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    """A step of the action with inputs, the others at their defaults."""
    given = {key: each["default"] for key, each in ACTION["inputs"].items()} | inputs
    told = {
        key: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given[m[1]], value)
        for key, value in step(name)["env"].items()
    }
    files = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "GITHUB_OUTPUT": str(folder / "outputs")}
    return shell(step(name)["run"], folder, **told, **files, **environment)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two checkpoints, the second of them broken."""
    for name in ("a", "b"):
        build(tmp_path / "project" / "runs" / name)
    change_config(tmp_path / "project" / "runs" / "b", pad_token_id=5000)
    return tmp_path / "project"


def results(project: Path) -> set[str]:
    (run,) = json.loads((project / "gte-surgery.sarif").read_text())["runs"]
    return {result["ruleId"] for result in run["results"]}


@pytest.mark.parametrize(("checkpoints", "code"), [("runs/a", 0), ("runs/*", 1), ("runs/a runs/b", 1)])
def test_the_action_annotates_leaves_sarif_and_summarises(project: Path, checkpoints: str, code: int) -> None:
    done = taken("Judge", project, {"checkpoints": checkpoints})
    assert done.returncode == code, done.stderr
    assert ("::error title=GTE110 error,file=runs/b/config.json" in done.stdout) is bool(code)
    assert ("GTE110" in results(project)) is bool(code)
    assert (project / "summary.md").read_text().startswith("### gte-surgery check: ")
    assert (project / "outputs").read_text() == "sarif=gte-surgery.sarif\n"


def test_the_action_gates_by_the_policy(project: Path) -> None:
    (project / "gte-surgery.toml").write_text('checkpoint = "runs/a"\n[expect]\nvocab = 64\n')
    done = taken("Judge", project, {"command": "gate"})
    assert (done.returncode, results(project)) == (1, {"GTE150"}), done.stderr
    assert (project / "summary.md").read_text().startswith("### gte-surgery gate: runs/a")


def test_inputs_are_words_and_never_code(project: Path) -> None:
    done = taken("Judge", project, {"checkpoints": "$(touch${IFS}taken) `touch taken` ;touch taken"})
    assert done.returncode != 0
    assert not (project / "taken").exists()
    assert taken("Judge", project, {"command": "smoke"}).returncode == 2
    assert all("${{" not in each["run"] for each in ACTION["runs"]["steps"])


def test_options_reach_the_command(project: Path) -> None:
    inputs = {"checkpoints": "runs/b", "arguments": "--ignore GTE110 --values", "fail-on": "note"}
    assert taken("Judge", project, inputs).returncode == 0


@pytest.mark.parametrize(
    ("told", "called"),
    [
        ("gte-surgery[data,fuzz] hypothesis", "gte-surgery[data,fuzz] hypothesis"),
        (ACTION["inputs"]["install"]["default"], str(ROOT)),
        ("source[data] resource sourced", f"{ROOT}[data] resource sourced"),
    ],
)
def test_the_action_installs_what_it_is_told_and_by_default_what_it_lies_in(
    project: Path, told: str, called: str
) -> None:
    (project / "python").write_text('#!/bin/sh\necho "$@" > called\n')
    (project / "python").chmod(0o755)
    script = {"PATH": f"{project}{os.pathsep}{os.environ['PATH']}", "GITHUB_ACTION_PATH": f"{GITHUB}/actions/check"}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step("Install")["run"]],
        cwd=project,
        env=os.environ | script | {"INSTALL": told},
        check=True,
    )
    assert done.returncode == 0
    assert (project / "called").read_text() == f"-m pip install --quiet {called}\n"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_do_little_names_scripts_that_exist_and_ends(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for each in job["steps"]:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[\w./-]+", each["uses"]) if "uses" in each else each["run"]
            script = each.get("run", "").split()[:1]
            assert not script or not script[0].startswith(("bin/", ".ci/")) or (ROOT / script[0]).is_file()
            assert "${{" not in each.get("run", "")


def test_every_python_that_is_promised_is_tested() -> None:
    promised = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert WORKFLOWS["ci"]["jobs"]["test"]["strategy"]["matrix"]["python-version"] == promised


def test_only_the_publishing_job_is_trusted_and_holds_no_secret() -> None:
    jobs = WORKFLOWS["release"]["jobs"]
    assert (jobs["publish"]["permissions"], jobs["publish"]["needs"]) == ({"id-token": "write"}, "build")
    assert "permissions" not in jobs["build"]
    assert "secrets." not in (GITHUB / "workflows/release.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("tag", "code"), [(f"v{__version__}", 0), ("v9.9.9", 1), (__version__, 1)])
def test_a_tag_that_is_not_the_version_is_not_released(tag: str, code: int) -> None:
    (script,) = [
        each["run"] for each in WORKFLOWS["release"]["jobs"]["build"]["steps"] if "tag" in each.get("name", "")
    ]
    assert shell(script, ROOT, GITHUB_REF_NAME=tag).returncode == code


@pytest.mark.parametrize("form", ["bug", "idea"])
def test_an_issue_form_is_one(form: str) -> None:
    value = yaml.safe_load((GITHUB / f"ISSUE_TEMPLATE/{form}.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= value.keys()
    ids = [field["id"] for field in value["body"]]
    assert len(set(ids)) == len(ids)
    assert all(field["type"] in ("input", "textarea") and field["attributes"]["label"] for field in value["body"])


def test_the_image_is_slim_runs_as_nobody_special_and_starts_the_command() -> None:
    text = (GITHUB / "Dockerfile").read_text(encoding="utf-8")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    words = [word for word, _ in lines]
    assert set(words) <= {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD"}
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert all(":" in told.split()[0] and "slim" in told for word, told in lines if word == "FROM")
    (entry,) = [json.loads(told) for word, told in lines if word == "ENTRYPOINT"]
    assert Path(entry[0]).name == "gte-surgery"
