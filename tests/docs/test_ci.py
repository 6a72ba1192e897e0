"""The CI snippets of the pages and the pre-commit hooks: their command lines are run, on a checkpoint that passes and
on one that does not.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import parse

import pytest
import yaml

from tests.builder import build, change_config
from tests.docs.sessions import PAGES, README, ROOT, read
from tests.docs.test_github import taken

HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}


def snippets() -> list[Any]:
    """The YAML blocks of the pages, parsed."""
    text = "\n".join(map(read, PAGES))
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [yaml.safe_load(block) for block in blocks]


def snippet(key: str) -> Any:
    """The one block that has this key at its top."""
    (only,) = [block for block in snippets() if key in block]
    return only


def ran(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line as a CI shell runs it; `gte-surgery` is the one of this interpreter."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, shell=True, cwd=folder, env=os.environ | {"PATH": path} | environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with a sound checkpoint in mine/."""
    build(tmp_path / "repository" / "mine")
    return tmp_path / "repository"


@pytest.mark.parametrize(("pad", "code"), [(1, 0), (5000, 1)])
def test_the_github_workflow_annotates_uploads_and_summarises(folder: Path, pad: int, code: int) -> None:
    change_config(folder / "mine", pad_token_id=pad)
    (folder / "gte-surgery.toml").write_text('checkpoint = "mine"\n')
    steps = snippet("jobs")["jobs"]["gte-gate"]["steps"]
    (ours,) = [step["with"] for step in steps if "gte-surgery" in step["uses"]]
    found = taken("Judge", folder, ours, GITHUB_ACTIONS="true")
    assert found.returncode == code, found.stderr
    assert ("::error title=GTE110" in found.stdout) is bool(code)
    (upload,) = [step for step in steps if "upload-sarif" in step["uses"]]
    assert upload["if"] == "always()"
    results = json.loads((folder / upload["with"]["sarif_file"]).read_text())["runs"][0]["results"]
    assert ("GTE110" in {result["ruleId"] for result in results}) is bool(code)
    assert (folder / "summary.md").read_text().startswith("### gte-surgery gate: mine")


def test_what_the_snippets_refer_to_is_here_or_called_a_placeholder() -> None:
    """No tag is promised before there is one; the action's path is one of this repository."""
    (action,) = [
        step["uses"] for step in snippet("jobs")["jobs"]["gte-gate"]["steps"] if "gte-surgery/" in step["uses"]
    ]
    path, _, commit = action.removeprefix("OWNER/gte-surgery/").partition("@")
    assert (ROOT / path / "action.yml").is_file()
    (repository,) = snippet("repos")["repos"]
    assert {commit, repository["rev"]} == {"COMMIT"}
    told = README.read_text(encoding="utf-8")
    assert "`OWNER`, `ADDRESS` and `COMMIT` are placeholders" in " ".join(told.split())
    addresses = re.findall(r"(?:git\+|clone |repo: )(https://\S+?\.git)", "\n".join(map(read, PAGES)))
    assert len(addresses) >= 4
    assert set(addresses) == {"https://ADDRESS/gte-surgery.git"}


@pytest.mark.parametrize(("pad", "code"), [(1, 0), (5000, 1)])
def test_the_gitlab_job_leaves_its_report(folder: Path, pad: int, code: int) -> None:
    change_config(folder / "mine", pad_token_id=pad)
    job = snippet("gte-check")["gte-check"]
    install, line = job["script"]
    assert install.startswith('pip install "gte-surgery @ git+https://ADDRESS/')
    found = ran(line, folder)
    assert found.returncode == code, found.stderr
    assert "mine: " in found.stdout
    assert int(parse(folder / job["artifacts"]["reports"]["junit"]).getroot().attrib["failures"]) == code


def test_the_pre_commit_snippet_names_hooks_that_exist(folder: Path) -> None:
    (repository,) = snippet("repos")["repos"]
    assert {hook["id"] for hook in repository["hooks"]} == set(HOOKS)
    for hook in repository["hooks"]:
        found = ran(shlex.join([*shlex.split(HOOKS[hook["id"]]["entry"]), *hook["args"]]), folder)
        assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(("pad", "code"), [(1, 0), (5000, 1)])
def test_a_hook_judges_the_repository_itself_unless_told_otherwise(
    folder: Path, hook: str, pad: int, code: int
) -> None:
    change_config(folder / "mine", pad_token_id=pad)
    found = ran(shlex.join([*shlex.split(HOOKS[hook]["entry"]), *HOOKS[hook]["args"]]), folder / "mine")
    assert found.returncode == code, found.stdout + found.stderr


def test_the_config_hook_needs_no_weights(folder: Path) -> None:
    (folder / "mine" / "model.safetensors").unlink()
    codes = [ran(f"{HOOKS[hook]['entry']} mine", folder).returncode for hook in ("gte-check", "gte-check-config")]
    assert codes == [1, 0]
    change_config(folder / "mine", pad_token_id=5000)
    assert ran(f"{HOOKS['gte-check-config']['entry']} mine", folder).returncode == 1


@pytest.mark.parametrize(
    ("name", "hooks"),
    [
        ("config.json", {"gte-check", "gte-check-config"}),
        ("ckpt/config.json", {"gte-check", "gte-check-config"}),
        ("ckpt/model-00001-of-00002.safetensors", {"gte-check"}),
        ("model.safetensors.index.json", {"gte-check"}),
        ("myconfig.json", set()),
        ("README.md", set()),
    ],
)
def test_a_hook_runs_when_a_file_that_it_judges_changes(name: str, hooks: set[str]) -> None:
    assert {hook for hook, each in HOOKS.items() if re.search(each["files"], name)} == hooks
