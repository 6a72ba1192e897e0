"""What git calls a content tells it, and nothing else does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gte_surgery.checkpoint.hub.known import git_name, known_content

LENGTHS = b'{\n  "max_seq_length": 8192,\n  "do_lower_case": false\n}'


def test_a_known_file_is_told_by_its_name_in_git() -> None:
    assert known_content(git_name(LENGTHS)) == LENGTHS
    assert known_content(git_name(LENGTHS + b"\n")) == LENGTHS + b"\n"
    assert known_content(git_name(LENGTHS + b" ")) is None
    assert known_content("") is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_calls_it_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LENGTHS)
    told = subprocess.run(["git", "hash-object", "file"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == git_name(LENGTHS)
