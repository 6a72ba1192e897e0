"""Today's code reads what each release left on disk: checkpoints in the middle of a surgery or after one, receipts,
contracts, counts, references; and today's schemas take the JSON that it printed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import gte_surgery
from gte_surgery.cli import exits
from gte_surgery.cli.entry import run
from gte_surgery.findings import Report, Severity
from gte_surgery.gte.schemas import violations
from tests.released.test_answers import HERE, RELEASES, released

SCHEMAS = {"check": "report", "diff": "diff", "scan": "scan", "smoke": "smoke"}
PLANS = {"resize", "remap", "convert", "reinit", "new"}


@pytest.fixture(params=RELEASES)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the files that a release left."""
    return Path(shutil.copytree(HERE / request.param / "files", tmp_path / "files"))


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def judged(folder: Path) -> Report:
    return gte_surgery.check(gte_surgery.open_checkpoint(folder), values=True)


def errors(folder: Path) -> list[str]:
    return [str(found) for found in judged(folder).findings if found.severity is Severity.ERROR]


def test_a_finished_surgery_is_sound_told_and_undone(left: Path) -> None:
    place = left / "undoable"
    before = weights(place / ".gte-surgery" / "previous" / "files")
    assert errors(place) == []
    assert [(receipt["command"], receipt["edits"]["vocab"]) for receipt in gte_surgery.history(place)] == [
        ("resize", 2)
    ]
    gte_surgery.undo(place)
    assert weights(place) == before


def test_its_receipt_still_finds_a_byte_that_changed(left: Path) -> None:
    path = left / "undoable" / "model.safetensors"
    raw = weights(path.parent)
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert "GTE065" in {found.code for found in judged(path.parent).findings}


@pytest.mark.parametrize(("died", "settled"), [("uncommitted", "back"), ("committed", "forward")])
def test_an_interrupted_surgery_is_settled(left: Path, died: str, settled: str) -> None:
    ends = {"back": left / "undoable" / ".gte-surgery" / "previous" / "files", "forward": left / "undoable"}
    unsettled = exits.UNFINISHED if settled == "forward" else exits.GOOD
    assert run(["resize", str(left / died), "--vocab", "2", "--pad", "0", "--dry-run"]) == unsettled
    gte_surgery.recover(left / died)
    assert weights(left / died) == weights(ends[settled])
    assert errors(left / died) == []


def test_a_contract_means_what_it_meant(left: Path) -> None:
    contract = gte_surgery.IdContract.read(left / "contract.json")
    assert contract == gte_surgery.IdContract.from_checkpoint(left / "undoable")


def test_counts_choose_the_rows_of_a_remap(left: Path, tmp_path: Path) -> None:
    made = gte_surgery.remap(left / "undoable", keep=left / "counts.txt", out=tmp_path / "out", dry_run=True)
    assert dict(made.plan.edits)["keep"]


def test_a_reference_is_compared_with(left: Path) -> None:
    native = HERE.parent / "examples" / "valid" / "native"
    assert run(["smoke", str(native), "--device", "cpu", "--compare", str(left / "reference.safetensors")]) == 0


@pytest.mark.parametrize("release", RELEASES)
def test_todays_schemas_take_what_was_printed(release: str) -> None:
    judged = 0
    for answer in released(release).values():
        command = answer["command"].split()[0]
        schema = "plan" if command in PLANS else SCHEMAS.get(command)
        if schema is None or not isinstance(answer["out"], dict) or "sarif" in answer["command"]:
            continue
        assert list(violations(answer["out"], schema)) == [], answer["command"]
        judged += 1
    assert judged > 150


@pytest.mark.parametrize("release", RELEASES)
def test_the_schema_of_receipts_takes_them(release: str) -> None:
    text = (HERE / release / "files" / "undoable" / "gte-surgery.json").read_text(encoding="utf-8")
    assert list(violations(json.loads(text), "receipt")) == []
