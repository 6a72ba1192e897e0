"""The console sessions of the README: found, run in a scratch folder, and written back.

`python -m tests.docs.sessions` runs every session and puts what it really prints into the README.
Of a line that reads `...` anything may stand in the output.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"

_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One command line of a session and what it prints, stdout and stderr as a terminal mixes them."""

    command: str
    output: str


def steps(readme: str) -> Iterator[Step]:
    """Every step of every session, in order."""
    for block in _BLOCK.findall(readme):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Step(command, output.rstrip("\n"))


def run(command: str, folder: Path) -> str:
    """What a command line prints; `gte-surgery` is the one of this interpreter."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SOURCE_DATE_EPOCH": "1767225600",
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }
    ran = subprocess.run(
        command, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    return ran.stdout.rstrip("\n")


def matches(expected: str, output: str) -> bool:
    """Whether the output is the expected one, where a line `...` stands for any lines."""
    pattern = (
        re.escape(expected).replace(re.escape("\n...\n"), r"\n(?:.*\n)*?").replace(re.escape("\n..."), r"(?:\n.*)*")
    )
    return re.fullmatch(pattern, output) is not None


def renewed(readme: str) -> str:
    """The README with the real output of every step whose written output is not it."""
    with tempfile.TemporaryDirectory() as folder:

        def renew(block: re.Match[str]) -> str:
            lines = []
            for step in steps(f"```console\n{block[0]}```"):
                output = run(step.command, Path(folder))
                lines += [f"$ {step.command}", step.output if matches(step.output, output) else output]
            return "".join(f"{line}\n" for line in lines if line)

        return _BLOCK.sub(renew, readme)


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
