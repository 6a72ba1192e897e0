"""Every folder below valid/ passes; every folder below invalid/ is found by the rule that its name says and no other.

expected.txt holds lines `CODE location: message`, each the beginning of a finding. Lines that start with `--` are the
expectations to check with. A new case is a new folder (`generate.py` writes them).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.registry import all_rules
from gte_surgery.checks.run import run
from gte_surgery.checks.subject import Expectations
from gte_surgery.findings import Severity

HERE = Path(__file__).resolve().parent
VALID = sorted(path for path in (HERE / "valid").iterdir())
INVALID = sorted(path for path in (HERE / "invalid").iterdir())
NOT_A_FOLDER = {
    "GTE006": "needs a file that cannot be read",
    "GTE125": "needs a checkpoint of a release's full size",
}
"""Rules without an example here, and why; tests/unit/checks/test_rules.py has them."""


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_a_sound_checkpoint_gets_notes_at_most(path: Path) -> None:
    report = run(open_checkpoint(path))
    assert [str(finding) for finding in report.findings if finding.severity > Severity.NOTE] == []
    assert report.skipped == ()


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_a_damage_is_found_by_exactly_its_rule(path: Path) -> None:
    code = path.name.partition("-")[0]
    lines = (path / "expected.txt").read_text(encoding="utf-8").splitlines()
    report = run(open_checkpoint(path), expectations([line for line in lines if line.startswith("--")]))
    grave = {finding.code for finding in report.findings if finding.severity > Severity.NOTE}
    assert grave == ({code} if all_rules()[code].severity > Severity.NOTE else set())
    found = [f"{finding.code} {finding}" for finding in report.findings if finding.code == code]
    wanted = [line for line in lines if not line.startswith("--")]
    assert len(found) == len(wanted)
    assert all(said.startswith(line) for said, line in zip(found, wanted, strict=True)), found


def test_every_rule_has_an_example() -> None:
    assert {path.name.partition("-")[0] for path in INVALID} == set(all_rules()) - set(NOT_A_FOLDER)


def expectations(lines: list[str]) -> Expectations:
    """`--vocab 32000` as Expectations(vocab=32000)."""
    given = dict(line.removeprefix("--").replace("-", "_").split() for line in lines)
    return Expectations(**{name: int(value) for name, value in given.items()})
