"""The hub's cache is where huggingface_hub has it; what cannot be read there is no guess."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gte_surgery.checkpoint.nearby import nearby

VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")


@pytest.mark.parametrize(
    ("variables", "cache"),
    [
        ({}, "home/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "{here}/xdg"}, "xdg/huggingface/hub"),
        ({"HF_HOME": "~/hf", "XDG_CACHE_HOME": "{here}/xdg"}, "home/hf/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "{here}/older", "HF_HOME": "{here}/hf"}, "older"),
        ({"HF_HUB_CACHE": "$HOME/cache", "HUGGINGFACE_HUB_CACHE": "{here}/older"}, "home/cache"),
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(
    variables: dict[str, str], cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(here=tmp_path))
    snapshot = tmp_path / cache / "models--org--name" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"")
    assert nearby(Path("org/name")) == [snapshot]
    script = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert theirs == str(tmp_path / cache)


def test_a_branch_of_the_cache_that_cannot_be_read_is_no_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs" / "main").write_text("0123")

    def refused(*_: object, **__: object) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refused)
    assert nearby(tmp_path) == []
