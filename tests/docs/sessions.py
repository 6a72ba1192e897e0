"""The pages of the documentation, and their console sessions: found, run in a scratch folder, and written back.

`python -m tests.docs.sessions` runs every session and puts what it really prints into its page, and into the picture of
README; the sessions of a page are run in order, in one folder. Of a line that reads `...` anything may stand in the
output.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
REFERENCE = ROOT / "gte_surgery" / "cli" / "REFERENCE.md"
PYTHON = ROOT / "gte_surgery" / "PYTHON.md"
SECURITY = ROOT / ".github" / "SECURITY.md"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
BENCH, GPU = ROOT / "tests" / "bench" / "README.md", ROOT / "tests" / "gpu" / "README.md"
BY_HAND, END = "<!-- by hand -->", "<!-- end -->"
PAGES = (README, REFERENCE, PYTHON, SECURITY, CONTRIBUTING, BENCH, GPU)

_LINES = re.DOTALL | re.MULTILINE
_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", _LINES)


def read(page: Path) -> str:
    """A page, of the reference only what was written by hand."""
    text = page.read_text(encoding="utf-8")
    return "\n".join(re.findall(f"^{BY_HAND}$(.*?)^{END}$", text, _LINES)) if page == REFERENCE else text


def recipes() -> dict[str, str]:
    """The Python blocks under a line that ends in a colon, by that line."""
    text = "\n".join(map(read, (README, PYTHON)))
    return dict(re.findall(r"^([A-Z][^\n]*):\n\n```python\n(.*?)^```$", text, _LINES))


@dataclass(frozen=True)
class Step:
    """One command line of a session and what it prints, stdout and stderr as a terminal mixes them."""

    command: str
    output: str


def steps(page: str) -> Iterator[Step]:
    """Every step of every session, in order."""
    for block in _BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Step(command, output.rstrip("\n"))


def run(command: str, folder: Path) -> str:
    """What a command line prints; `gte-surgery` is the one of this interpreter."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),  # as in a clone, where README's `python -m tests.docs.download` is run
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
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else f"{re.escape(line)}\n" for line in expected.split("\n"))
    return re.fullmatch(pattern, f"{output}\n") is not None


def cut_as(expected: str, output: str) -> str:
    """The output without what the expected one left out: `...` again stands for the lines that it stood for."""
    old, new, kept = expected.split("\n"), output.split("\n"), []
    for _, begin, end, first, last in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        changed = old[begin:end]
        if "..." in changed and changed != new[first:last]:
            before, after = changed.index("..."), last - (len(changed) - changed.index("...") - 1)
            kept += [*new[first : first + before], "...", *new[after:last]]
        else:
            kept += new[first:last]
    return "\n".join(kept)


def renewed(page: str) -> str:
    """A page with the real output of every step whose written output is not it."""
    with tempfile.TemporaryDirectory() as folder:

        def renew(block: re.Match[str]) -> str:
            lines = []
            for step in steps(f"```console\n{block[0]}```"):
                output = run(step.command, Path(folder))
                same = matches(step.output, output)
                lines += [f"$ {step.command}", step.output if same else cut_as(step.output, output)]
            return "".join(f"{line}\n" for line in lines if line)

        return _BLOCK.sub(renew, page)


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(renewed(each.read_text(encoding="utf-8")), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "tests.docs.picture"], cwd=ROOT, check=True)
