"""A hostile or damaged state folder makes recover and undo touch nothing outside the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gte_surgery.errors import CheckpointError, GteSurgeryError
from gte_surgery.surgery.commit.journal import name_fault
from gte_surgery.surgery.commit.recovery import Recovery, recover
from gte_surgery.surgery.commit.succession import OLD_NONCE
from gte_surgery.surgery.commit.tree import state_inside
from gte_surgery.surgery.commit.undo import undo
from tests.crash.faults import FaultyFilesystem

FS = FaultyFilesystem()
HOSTILE = (
    "../victim",
    "/victim",
    "a/../../victim",
    "",
    ".",
    "a//b",
    "a/./b",
    "x\0",
    ".gte-surgery/lock",
    ".GTE-Surgery/x",
    ".git/hooks/pre-commit",
    "sub/.git/hooks/pre-commit.tmp",
    ".ssh/authorized_keys",
    ".bashrc",
    "a/" * 17 + "b",
)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "victim").write_text("mine")
    checkpoint = tmp_path / "checkpoint"
    (checkpoint / ".gte-surgery" / "stage").mkdir(parents=True)
    (checkpoint / "config.json").write_text("old")
    return checkpoint


def _journal(target: Path, **changes: object) -> None:
    members = {"format": 1, "command": "", "staged": {}, "removed": [], "keep_undo": False, **changes}
    state_inside(target).journal.write_text(json.dumps(members))


def _untouched(target: Path) -> None:
    assert (target.parent / "victim").read_text() == "mine"
    assert (target / "config.json").read_text() == "old"


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_journal_or_generation_leads_out(name: str, target: Path) -> None:
    assert name_fault(name)
    for changes in ({"removed": [name]}, {"staged": {name: 4}}):
        _journal(target, **changes)
        with pytest.raises(CheckpointError, match="cannot be trusted"):
            recover(target, FS)
    state_inside(target).journal.unlink()
    previous = state_inside(target).previous
    previous.mkdir()
    for member in ("replaced", "removed", "added"):
        members = {"format": 1, "command": "", "replaced": [], "removed": [], "added": [], member: [name]}
        (previous / "generation.json").write_text(json.dumps(members))
        with pytest.raises(CheckpointError, match="cannot be trusted"):
            undo(target, FS)
    _untouched(target)


@pytest.mark.parametrize(
    "name", ["config.json", "1_Pooling/config.json", "a..b", ".tmpAbC", ".cache/x.incomplete", "back\\slash", "é"]
)
def test_ordinary_names_are_fine(name: str) -> None:
    assert not name_fault(name)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "\ufeff{}", "[" * 100_000, '{"format": 3}', '{"format": 2}', '{"format": 1}'],
    ids=["empty", "cut", "list", "null", "bom", "deep", "later format", "no members", "no members of the first"],
)
def test_what_is_no_journal_is_not_followed(text: str, target: Path) -> None:
    state_inside(target).journal.write_text(text)
    with pytest.raises(CheckpointError, match="cannot be trusted"):
        recover(target, FS)
    _untouched(target)


@pytest.mark.parametrize(
    "changes", [{"staged": {"a": -1}}, {"staged": {"a": True}}, {"removed": [1]}, {"keep_undo": 1}, {"staged": []}]
)
def test_a_journal_of_other_types_is_not_followed(changes: dict[str, object], target: Path) -> None:
    _journal(target, **changes)
    with pytest.raises(CheckpointError, match="cannot be trusted"):
        recover(target, FS)


def test_symlinked_folders_are_not_followed(tmp_path: Path, target: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("mine")
    (target / "sub").symlink_to(outside)
    (target / ".gte-surgery" / "stage" / "sub").mkdir()
    (target / ".gte-surgery" / "stage" / "sub" / "victim").write_text("evil")
    _journal(target, staged={"sub/victim": 4})
    with pytest.raises(CheckpointError, match="no folder"):
        recover(target, FS)
    _journal(target, removed=["sub/victim"])
    with pytest.raises(CheckpointError, match="no folder"):
        recover(target, FS)
    (target / "sub").unlink()
    stage = target / ".gte-surgery" / f"stage-{OLD_NONCE}"
    (stage / "sub" / "victim").unlink()
    (stage / "sub").rmdir()
    (stage / "sub").symlink_to(outside)
    _journal(target, staged={"sub/victim": 4})
    with pytest.raises(CheckpointError, match="no folder"):
        recover(target, FS)
    assert (outside / "victim").read_text() == "mine"
    _untouched(target)


def test_a_symlinked_stage_is_removed_and_not_followed(tmp_path: Path, target: Path) -> None:
    stage = target / ".gte-surgery" / "stage"
    stage.rmdir()
    stage.symlink_to(tmp_path)
    assert recover(target, FS) is Recovery.ROLLED_BACK
    _untouched(target)


def test_a_symlinked_kept_file_is_not_restored(tmp_path: Path, target: Path) -> None:
    files = state_inside(target).previous / "files"
    files.mkdir(parents=True)
    (files / "config.json").symlink_to(tmp_path / "victim")
    members = {"format": 1, "command": "", "replaced": ["config.json"], "removed": [], "added": []}
    (files.parent / "generation.json").write_text(json.dumps(members))
    with pytest.raises(GteSurgeryError, match="damaged"):
        undo(target, FS)
    _untouched(target)


def test_a_lost_staged_file_stops_the_recovery_before_anything_moves(target: Path) -> None:
    (target / ".gte-surgery" / "stage" / "a").write_text("new")
    _journal(target, staged={"a": 3, "config.json": 1000})
    with pytest.raises(CheckpointError, match="is lost or changed"):
        recover(target, FS)
    assert not (target / "a").exists()
    _untouched(target)
