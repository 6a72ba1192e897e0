"""The checkpoints that the reference implementation wrote pass the gate, with nothing worse than a fair warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.findings import Severity
from tests.conftest import GOLDEN

NOT_A_MULTIPLE_OF_64 = {"GTE112"}
QUOTED_TRUE = {"GTE104"}


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_a_golden_checkpoint_has_no_error_and_only_the_warnings_that_it_deserves(path: Path) -> None:
    report = run(open_checkpoint(path))
    assert report.skipped == ()
    assert [str(finding) for finding in report.findings if finding.severity is Severity.ERROR] == []
    deserved = NOT_A_MULTIPLE_OF_64 if "resized-160" in path.name else set()
    deserved = QUOTED_TRUE if path.name.startswith("snowflake") else deserved
    assert {finding.code for finding in report.findings if finding.severity is Severity.WARNING} == deserved
