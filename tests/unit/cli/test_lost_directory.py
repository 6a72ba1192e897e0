"""A working directory that is gone is told of, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import os, sys, tempfile
from gte_surgery.cli.entry import main
gone = tempfile.mkdtemp()
os.chdir(gone)
os.rmdir(gone)
sys.argv = ["gte-surgery", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    "words", [("check", "ckpt"), ("resize", "ckpt", "--vocab", "8", "--pad", "0"), ("new", "out", "--release", "x")]
)
def test_a_working_directory_that_is_gone_ends_in_an_error_and_a_hint(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode in (2, 3), done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert "\nhint: " in done.stderr
    assert "Traceback" not in done.stderr
