"""A whole resize, from plan to receipt, that dies or is failed at every one of its file operations, and for real."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.errors import RefusedError, UnfinishedSurgeryError, WriteError
from gte_surgery.surgery.apply import Manner, apply
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import recover, require_settled
from gte_surgery.surgery.edits import Resize
from gte_surgery.surgery.verbs import plan_surgery
from tests import builder
from tests.conftest import ROOT
from tests.crash.faults import Crashed, Fault, FaultyFilesystem
from tests.crash.surgeries import Tree, leftovers, snapshot

EDIT = Resize(vocab=96, pad=0, type_vocab=0)
KINDS = {"dies": {}, "torn": {"is_torn": True}, "full": {"error": errno.ENOSPC, "is_lasting": True}}
KINDS["broken"] = {"error": errno.EIO}


def operate(folder: Path, filesystem: Filesystem, out: Path | None, hashes: bool) -> None:
    checkpoint = open_checkpoint(folder)
    manner = Manner(hashes=hashes, threads=1, filesystem=filesystem)
    apply(plan_surgery(checkpoint, EDIT), checkpoint, folder, out, manner)


def disk(folder: Path) -> Tree | None:
    return snapshot(Filesystem(), folder)


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Tree, Tree]]:
    """A checkpoint of `request.param` shards to copy, its files, and its files after the edit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "0")
        folder = tmp_path_factory.mktemp("made")
        source = builder.build(folder / "ckpt", head="mlm", shards=request.param)
        (source / "tokenizer.json").write_text("{}")
        done = folder / "done"
        shutil.copytree(source, done)
        operate(done, Filesystem(), None, hashes=False)
        old, new = disk(source), disk(done)
        assert old is not None
        assert new is not None
        yield source, old, new


@pytest.mark.slow
@pytest.mark.parametrize("made", [3], indirect=True)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_resize_stopped_anywhere_is_all_old_or_all_new(
    made: tuple[Path, Tree, Tree], kind: str, tmp_path: Path, long: bool
) -> None:
    source, old, new = made
    ends = set()
    for at in range(0, 10_000, 1 if long else 5):
        folder = tmp_path / str(at)
        shutil.copytree(source, folder)
        filesystem = FaultyFilesystem(Fault(at, **KINDS[kind]))
        try:
            operate(folder, filesystem, None, hashes=False)
        except (Crashed, WriteError, RefusedError, UnfinishedSurgeryError) as stop:
            ends.add(type(stop).__name__)
        if not is_settled(folder):
            recover(folder, Filesystem())
            assert disk(folder) == new
        assert disk(folder) in (old, new), at
        recover(folder, Filesystem())
        assert not leftovers(Filesystem(), folder)
        if disk(folder) == old and at % 15 == 0:
            operate(folder, Filesystem(), None, hashes=False)
            assert disk(folder) == new
        shutil.rmtree(folder)
        if not filesystem.has_failed:
            break
    assert at > 50
    assert ends


@pytest.mark.parametrize("made", [1], indirect=True)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_resize_elsewhere_stopped_anywhere_leaves_the_source_and_no_half_checkpoint(
    made: tuple[Path, Tree, Tree], kind: str, tmp_path: Path, long: bool
) -> None:
    source, old, _ = made
    operate(source, Filesystem(), tmp_path / "whole", hashes=False)
    new = disk(tmp_path / "whole")
    for at in range(0, 10_000, 1 if long else 3):
        out = tmp_path / str(at)
        filesystem = FaultyFilesystem(Fault(at, **KINDS[kind]))
        try:
            operate(source, filesystem, out, hashes=False)
        except (Crashed, WriteError, RefusedError, UnfinishedSurgeryError):
            assert disk(out) in (None, new)
        assert disk(source) == old
        if disk(out) is None:
            operate(source, Filesystem(), out, hashes=False)
        assert disk(out) == new
        shutil.rmtree(out)
        if not filesystem.has_failed:
            break
    assert at > 30


def is_settled(folder: Path) -> bool:
    try:
        require_settled(folder)
    except UnfinishedSurgeryError:
        return False
    return True


@pytest.mark.slow
def test_kill_9_at_random_moments_of_every_surgery(tmp_path: Path, long: bool) -> None:
    kills = 600 if long else 15
    command = [sys.executable, str(ROOT / "tests" / "crash" / "kill_loop.py"), str(tmp_path), str(kills)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    total, *phases = done.stdout.splitlines()
    counts = dict(pair.split("=") for pair in total.split())
    assert int(counts["killed"]) == kills == int(counts["old"]) + int(counts["new"])
    assert sum(int(line.split()[0]) for line in phases) == kills
    assert int(counts["old"]) > 0
    assert int(counts["new"]) > 0
