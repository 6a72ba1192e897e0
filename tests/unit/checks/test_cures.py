"""What a rule's explanation tells to do, done: the conversion that it names leaves nothing to find."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.registry import all_rules
from gte_surgery.checks.run import run
from gte_surgery.cli.entry import run as main
from gte_surgery.findings import Severity

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "invalid"
CODES = ("GTE206", "GTE210", "GTE211", "GTE212", "GTE213", "GTE214", "GTE600", "GTE610", "GTE622", "GTE633")


@pytest.mark.parametrize("code", CODES)
def test_the_conversion_that_a_rule_names_cures_it(tmp_path: Path, code: str) -> None:
    told = re.search(r"`gte-surgery convert\s+CKPT\s+([^`]*)`", all_rules()[code].explanation)
    assert told is not None
    path = next(EXAMPLES.glob(f"{code}-*"))
    options = told[1].replace("--out DIR", "").split()
    assert main(["convert", str(path), *options, "--out", str(tmp_path / "cured")]) == 0
    for_program = all_rules()[code].only_with.removeprefix("--for ")
    findings = run(open_checkpoint(tmp_path / "cured"), consumers=[for_program] if for_program else []).findings
    assert [found.code for found in findings if found.severity > Severity.NOTE and found.code == code] == []
    assert not [found for found in findings if found.severity > Severity.NOTE and found.code < "GTE6"]
