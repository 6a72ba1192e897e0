"""Hints work when pasted: every command in a hint that the examples and the tables of damages produce is run on a copy,
is accepted, and makes nothing worse.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gte_surgery import check
from gte_surgery.checks.subject import Expectations
from gte_surgery.cli.entry import run
from gte_surgery.findings import Report, Severity
from tests.examples.test_examples import INVALID, options
from tests.property.test_damage_pairs import DAMAGES
from tests.property.test_damage_pairs import judged as damaged
from tests.unit.checks.test_damage_beside import CONSUMER_DAMAGES

PLACEHOLDER = re.compile(r"(?<![\w-])(N|ID|T|P|CKPT|DIR|GLOB|FILE|PREFIX)(?![\w.])")
"""What stands for something else; a hint says what is meant."""
PROGRAM = re.compile(r"`?(gte-surgery [a-z]+[^`;,]*?)(?:`|[;,]| with | makes | gives | writes |$)")


def judged(path: Path, words: list[str]) -> Report:
    said = {name: int(words[words.index(flag) + 1]) for flag, name in _EXPECTED.items() if flag in words}
    consumers = [word for word in words if word in _PROGRAMS]
    return check(path, Expectations(**said), values="--values" in words, consumers=consumers)


_EXPECTED = {
    "--vocab": "vocab", "--pad": "pad", "--type-vocab": "type_vocab", "--ids": "ids", "--hidden": "hidden",
    "--max-length": "max_length",
}  # fmt: skip
_PROGRAMS = ("transformers5", "transformers4", "vllm", "tei", "sentence-transformers", "trainer")


def commands(report: Report) -> list[list[str]]:
    """The command lines in the hints of a report that can be pasted as they stand, without our name."""
    found = [shlex.split(line) for finding in report.findings for line in PROGRAM.findall(finding.hint)]
    return [words[1:] for words in found]


def errors(report: Report) -> int:
    return sum(finding.severity is Severity.ERROR for finding in report.findings)


def copied(path: Path) -> Callable[[Path], object]:
    return lambda place: shutil.copytree(path, place, symlinks=True)


CASES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    **{path.name: (copied(path), options(path)) for path in INVALID},
    **{
        f"{each.code} {each.targets[0]}": (lambda place, each=each: damaged(place, (each,)), ["--values"])
        for each in DAMAGES
    },
    **{name: (make, [program]) for name, (program, code, make) in CONSUMER_DAMAGES.items() if code is not None},
}


@pytest.mark.parametrize("case", CASES)
def test_a_hint_that_is_a_command_is_accepted_and_makes_nothing_worse(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = CASES[case]
    monkeypatch.chdir(tmp_path)
    make(Path("copy"))
    before = judged(Path("copy"), words)
    assert [finding.hint for finding in before.findings if PLACEHOLDER.search(finding.hint)] == []
    for command in commands(before):
        shutil.rmtree("copy", ignore_errors=True)
        make(Path("copy"))
        code = run(command)
        assert code in (0, 1), f"{shlex.join(command)}: exit {code}: {capsys.readouterr().err}"
        after = judged(Path("copy-2") if "copy-2" in command else Path("copy"), words)
        assert errors(after) <= errors(before), [str(finding) for finding in after.findings]
        shutil.rmtree("copy-2", ignore_errors=True)


def test_many_hints_are_commands(tmp_path: Path) -> None:
    found = {tuple(command[:1]) for path in INVALID for command in commands(judged(path, options(path)))}
    assert len(found) >= 2, found
