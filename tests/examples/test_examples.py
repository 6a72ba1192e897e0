"""Every folder below valid/ passes; every folder below invalid/ is found by the rule that its name says and no other.

expected.txt holds lines `CODE location: message`, each the beginning of a finding. Lines that start with `--` are the
options to check with. A new case is a new folder (`generate.py` writes them).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.registry import all_rules
from gte_surgery.checks.run import run
from gte_surgery.checks.subject import Expectations
from gte_surgery.cli.entry import run as main
from gte_surgery.findings import Report, Severity

HERE = Path(__file__).resolve().parent
VALID = sorted(path for path in (HERE / "valid").iterdir())
INVALID = sorted(path for path in (HERE / "invalid").iterdir())
NOT_A_FOLDER = {
    "GTE006": "needs a file that cannot be read",
    "GTE068": "needs a key",
    "GTE125": "needs a checkpoint of a release's full size",
}
"""Rules without an example here, and why; tests/unit/checks/test_rules.py has them."""
IN_A_CONTRACT_ONLY = {"--max-length", "--hidden"}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_a_sound_checkpoint_gets_notes_at_most(path: Path) -> None:
    report = judged(path)
    assert [str(finding) for finding in report.findings if finding.severity > Severity.NOTE] == []
    assert report.skipped == ()


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_a_damage_is_found_by_exactly_its_rule(path: Path) -> None:
    code = path.name.partition("-")[0]
    lines = (path / "expected.txt").read_text(encoding="utf-8").splitlines()
    report = judged(path)
    grave = {finding.code for finding in report.findings if finding.severity > Severity.NOTE}
    assert grave == ({code} if all_rules()[code].severity > Severity.NOTE else set())
    found = [f"{finding.code} {finding}" for finding in report.findings if finding.code == code]
    wanted = [line for line in lines if not line.startswith("--")]
    assert len(found) == len(wanted)
    assert all(said.startswith(line) for said, line in zip(found, wanted, strict=True)), found


@pytest.mark.parametrize("path", [*VALID, *INVALID], ids=lambda path: path.name)
def test_the_command_line_says_the_same(path: Path, tmp_path: Path) -> None:
    if set(options(path)) & IN_A_CONTRACT_ONLY:
        pytest.skip("expectations that only a contract states")
    written = tmp_path / "report.json"
    code = main(["check", str(path), "--format", "json", "--output", str(written), *options(path)])
    report = judged(path)
    assert code == (1 if report.worst is Severity.ERROR else 0)
    told = json.loads(written.read_text())
    assert [(found["code"], found["message"]) for found in told["findings"]] == [
        (found.code, found.message) for found in report.findings
    ]


def test_every_rule_has_an_example() -> None:
    assert {path.name.partition("-")[0] for path in INVALID} == set(all_rules()) - set(NOT_A_FOLDER)
    assert {code for path in VALID for code in judged(path).rules} == set(all_rules()) - {"GTE068"}


def options(path: Path) -> list[str]:
    """The words of the lines of expected.txt that start with `--`."""
    expected = path / "expected.txt"
    lines = expected.read_text(encoding="utf-8").splitlines() if expected.exists() else []
    return [word for line in lines if line.startswith("--") for word in line.split()]


def judged(path: Path) -> Report:
    """The report with the options of expected.txt: `--vocab 32000` as Expectations(vocab=32000), and so on."""
    words = iter(options(path))
    values, consumers, expected = False, [], {}
    for option in words:
        match option:
            case "--values":
                values = True
            case "--for":
                consumers.append(next(words))
            case _:
                expected[option.removeprefix("--").replace("-", "_")] = int(next(words))
    return run(open_checkpoint(path), Expectations(**expected), values=values, consumers=consumers)
