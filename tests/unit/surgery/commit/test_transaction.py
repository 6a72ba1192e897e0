"""What a surgery refuses, what Ctrl-C and failures leave, and what undo gives back."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gte_surgery.errors import CheckpointError, LockedError, RefusedError, UsageError, WriteError
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import recover
from gte_surgery.surgery.commit.transaction import in_place, into
from gte_surgery.surgery.commit.tree import STATE_FOLDER, remove_tree, state_inside
from gte_surgery.surgery.commit.undo import previous_generation, undo
from tests.crash.faults import CHANGES, Crashed, FaultyFilesystem
from tests.crash.surgeries import (
    NEW,
    SHARDED,
    SINGLE,
    WITHOUT_UNDO,
    folders,
    lay_down,
    leftovers,
    perform,
    perform_into,
    snapshot,
    write_files,
)

FS = FaultyFilesystem()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    lay_down(FS, tmp_path / "checkpoint", SINGLE.old)
    return tmp_path / "checkpoint"


def _refused(target: Path, match: str) -> None:
    """The surgery is refused, pointing to --out, and nothing is left behind."""
    with pytest.raises(RefusedError, match=match) as refusal:
        perform(SINGLE, target, FS)
    assert "--out" in refusal.value.hint
    assert not leftovers(FS, target)


def test_a_symlink_into_a_hub_cache_is_refused_and_its_blob_untouched(tmp_path: Path, target: Path) -> None:
    blob = tmp_path / "blob"
    (target / "model.safetensors").rename(blob)
    (target / "model.safetensors").symlink_to(blob)
    _refused(target, "model.safetensors: is a symlink")
    assert blob.read_bytes() == SINGLE.old["model.safetensors"][1]


def test_a_file_with_another_hard_link_is_refused_and_untouched(tmp_path: Path, target: Path) -> None:
    os.link(target / "config.json", tmp_path / "mine")
    _refused(target, "config.json: has 2 hard links")
    assert (tmp_path / "mine").read_bytes() == SINGLE.old["config.json"][1]


def test_a_hard_linked_file_that_stays_does_not_matter(tmp_path: Path, target: Path) -> None:
    os.link(target / "tokenizer.json", tmp_path / "mine")
    perform(SINGLE, target, FS)
    assert snapshot(FS, target) == SINGLE.new


def test_a_folder_in_a_files_place_is_refused(target: Path) -> None:
    (target / "config.json").unlink()
    (target / "config.json").mkdir()
    _refused(target, "config.json: is no regular file")


def test_a_symlinked_subfolder_is_refused(tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "checkpoint", tmp_path / "elsewhere"
    lay_down(FS, target, SHARDED.old)
    (target / "1_Pooling").rename(elsewhere)
    (target / "1_Pooling").symlink_to(elsewhere)
    with pytest.raises(RefusedError, match="1_Pooling: is no folder of this checkpoint"):
        perform(SHARDED, target, FS)
    assert (elsewhere / "config.json").read_bytes() == b"{}"


def test_a_symlinked_state_folder_is_refused_by_every_verb(tmp_path: Path, target: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "stage").mkdir(parents=True)
    (elsewhere / "journal.json").write_text("{}")
    (target / ".gte-surgery").symlink_to(elsewhere)
    for act in (lambda: perform(SINGLE, target, FS), lambda: recover(target, FS), lambda: undo(target, FS)):
        with pytest.raises(RefusedError, match="is a symlink"):
            act()
    assert sorted(os.listdir(elsewhere)) == ["journal.json", "stage"]


def test_a_directory_that_cannot_be_written_is_refused(target: Path) -> None:
    class ReadOnly(Filesystem):
        def is_writable(self, path: Path) -> bool:
            return False

    with pytest.raises(RefusedError, match="is not writable"):
        perform(SINGLE, target, ReadOnly())


def test_a_read_only_file_system_is_refused_not_failed(target: Path) -> None:
    class ReadOnly(Filesystem):
        def mkdir(self, path: Path, mode: int = 0o777) -> None:
            raise OSError(30, "Read-only file system")

    with pytest.raises(RefusedError, match="Read-only file system"):
        perform(SINGLE, target, ReadOnly())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_system_has_no_locks_the_name_alone_excludes(target: Path, number: int) -> None:
    class Lockless(FaultyFilesystem):
        def lock(self, descriptor: int) -> bool:
            raise OSError(number, "No locks available")

    first = Lockless()
    with in_place(target, "first", first), pytest.raises(LockedError, match="`first`, process"):
        perform(SINGLE, target, Lockless())
    with suppress(Crashed), in_place(target, "second", first):
        first.die()
    perform(SINGLE, target, Lockless())
    assert snapshot(FS, target) == SINGLE.new
    assert not leftovers(FS, target)


def test_a_lock_that_fails_leaves_no_file_behind(target: Path) -> None:
    class Failing(Filesystem):
        def lock(self, descriptor: int) -> bool:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(WriteError, match="nothing was changed"):
        perform(SINGLE, target, Failing())
    assert not (target / STATE_FOLDER).exists()


def test_too_little_space_is_refused_before_anything_is_written(target: Path) -> None:
    with in_place(target, "test", FS) as transaction:
        transaction.require_space(1)
        with pytest.raises(RefusedError, match=r"has \d+ bytes free, the surgery needs 1152921504606846976"):
            transaction.require_space(1 << 60)


def test_what_is_not_there_cannot_be_removed(target: Path) -> None:
    for name in ("absent", "../outside", "/etc/passwd"):
        with pytest.raises(RefusedError, match="cannot be removed"), in_place(target, "test", FS) as transaction:
            transaction.commit([name])
    assert snapshot(FS, target) == SINGLE.old
    assert not leftovers(FS, target)


def test_a_missing_directory_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no directory"), in_place(tmp_path / "absent", "test", FS):
        pass
    with pytest.raises(CheckpointError, match="is no directory"):
        recover(tmp_path / "absent", FS)


def _occupied(out: Path) -> None:
    out.mkdir()
    (out / "mine").write_text("mine")


@pytest.mark.parametrize(
    ("occupy", "match"),
    [
        (_occupied, "exists and is not empty"),
        (lambda out: out.write_text("mine"), "exists and is no directory"),
        (lambda out: out.symlink_to("nowhere"), "exists and is a symlink"),
    ],
)
def test_out_is_never_written_over(occupy: Callable[[Path], object], match: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    occupy(out)
    with pytest.raises(RefusedError, match=match):
        perform_into(NEW, out, FS)
    assert sorted(os.listdir(tmp_path)) == ["out"]


def test_out_that_fills_up_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def operate() -> None:
        with into(out, "test", FS) as transaction:
            write_files(FS, transaction.stage, NEW.staged)
            _occupied(out)
            transaction.commit()

    with pytest.raises(WriteError, match="nothing was changed"):
        operate()
    assert os.listdir(out) == ["mine"]
    assert os.listdir(tmp_path) == ["out"]


def test_out_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="is no directory") as refusal, into(tmp_path / "a" / "b", "test", FS):
        pass
    assert "mkdir -p" in refusal.value.hint


def test_out_is_where_the_system_says_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far" / "off").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/off")
    monkeypatch.chdir(tmp_path)
    perform_into(NEW, Path("link/../out"), FS)
    assert (tmp_path / "far" / "out").is_dir()
    for name in ("absent/../out", "far/absent/../../out"):
        with pytest.raises(RefusedError, match=r"absent(/\.\.)+: is no directory"), into(Path(name), "test", FS):
            pass
    assert sorted(os.listdir()) == ["far", "link"]


@pytest.mark.parametrize(
    "name", [STATE_FOLDER, f"{STATE_FOLDER}/previous", f".out{STATE_FOLDER}", f"{STATE_FOLDER}/a/b"]
)
def test_out_is_not_where_surgeries_keep_what_is_theirs(name: str, target: Path) -> None:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    with pytest.raises(RefusedError, match="lies where surgeries keep what is theirs"), into(target / name, "test", FS):
        pass
    assert not (target / name).exists()


def test_an_empty_out_keeps_its_mode(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o700)
    perform_into(NEW, out, FS)
    assert out.stat().st_mode & 0o777 == 0o700
    assert snapshot(FS, out) == NEW.new


def test_nothing_can_be_removed_from_a_new_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing can be removed"), into(tmp_path / "out", "test", FS) as transaction:
        transaction.commit(["config.json"])


def test_leaving_without_commit_changes_nothing(tmp_path: Path, target: Path) -> None:
    for begin, place in ((in_place, target), (into, tmp_path / "out")):
        with begin(place, "test", FS) as transaction:
            write_files(FS, transaction.stage, SINGLE.staged)
    assert snapshot(FS, target) == SINGLE.old
    assert os.listdir(tmp_path) == ["checkpoint"]
    assert not leftovers(FS, target)


def test_an_empty_commit_keeps_the_generation_that_undo_needs(target: Path) -> None:
    perform(SINGLE, target, FS)
    with in_place(target, "test", FS) as transaction:
        transaction.commit()
    undo(target, FS)
    assert snapshot(FS, target) == SINGLE.old


def test_without_undo_no_state_stays_behind(target: Path) -> None:
    perform(WITHOUT_UNDO, target, FS)
    assert not state_inside(target).path.exists()
    with pytest.raises(RefusedError, match="nothing to undo"):
        undo(target, FS)


def test_undo_gives_back_bytes_modes_files_and_folders_and_undo_of_undo_takes_them_again(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    lay_down(FS, target, SHARDED.old)
    before = folders(FS, target)
    perform(SHARDED, target, FS)
    generation = previous_generation(target, FS)
    assert generation is not None
    assert generation.added == ("2_Normalize/deep/config.json",)
    after = folders(FS, target)
    for tree, wanted in ((SHARDED.old, before), (SHARDED.new, after)):
        changed = undo(target, FS)
        assert set(changed) == {*SHARDED.staged, *SHARDED.removed}
        assert snapshot(FS, target) == tree
        assert folders(FS, target) == wanted


def test_undo_refuses_a_damaged_generation_and_changes_nothing(target: Path) -> None:
    perform(SINGLE, target, FS)
    (state_inside(target).previous / "files" / "config.json").unlink()
    with pytest.raises(CheckpointError, match="previous generation is damaged"):
        undo(target, FS)
    assert snapshot(FS, target) == SINGLE.new


class _Interrupting(FaultyFilesystem):
    """Ctrl-C right after the change of the disk numbered `at`."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def perform(self, operation: str, real: Callable[..., object], arguments: tuple[object, ...]) -> object:
        result = super().perform(operation, real, arguments)
        if operation in CHANGES:
            self.at -= 1
            if self.at == 0:
                os.kill(os.getpid(), signal.SIGINT)
        return result


def test_an_interrupt_leaves_the_old_or_the_finished_new_checkpoint_and_is_raised(tmp_path: Path) -> None:
    outcomes = []
    for at in range(1, 1000):
        target = tmp_path / f"{at}"
        lay_down(FS, target, SHARDED.old)
        fs = _Interrupting(at)
        try:
            perform(SHARDED, target, fs)
        except KeyboardInterrupt:
            found = snapshot(FS, target)
            assert found in (SHARDED.old, SHARDED.new)
            outcomes.append(found == SHARDED.new)
            assert not state_inside(target).journal.exists()
        if fs.at > 0:
            break
    assert outcomes == sorted(outcomes), "old before the commit point, new after it"
    assert set(outcomes) == {False, True}


def test_a_real_interrupt_rolls_back(target: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom gte_surgery.surgery.commit.filesystem import Filesystem\n"
        "from gte_surgery.surgery.commit.transaction import in_place\n"
        "with in_place(Path(sys.argv[1]), 'test', Filesystem()) as transaction:\n"
        "    (transaction.stage / 'config.json').write_text('half')\n"
        "    sys.stdout.write('x')\n    sys.stdout.flush()\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) != 0
    assert snapshot(FS, target) == SINGLE.old
    assert not leftovers(FS, target)


def test_a_draft_that_another_process_removes_first_is_no_failure(tmp_path: Path) -> None:
    class Overtaken(Filesystem):
        def unlink(self, path: Path) -> None:
            path.unlink()
            super().unlink(path)

    (tmp_path / "lock-0123").write_bytes(b"")
    remove_tree(Overtaken(), tmp_path / "lock-0123")
    assert list(tmp_path.iterdir()) == []
