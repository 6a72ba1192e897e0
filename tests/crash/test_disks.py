"""Real file systems in a bad mood: full, read-only, without hard links; files that are marked, mounted on, another's.

What needs root or a tool that is not there is skipped, and says so.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gte_surgery.cli.entry import run
from gte_surgery.errors import RefusedError, WriteError
from gte_surgery.surgery import verbs
from gte_surgery.surgery.apply import SPARE
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.transaction import in_place
from gte_surgery.surgery.commit.undo import undo
from tests import builder
from tests.crash.faults import FaultyFilesystem
from tests.crash.surgeries import SINGLE, lay_down, leftovers, perform, snapshot

FS = Filesystem()
NOBODY = 65534
IS_ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root")


def ran(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def ours(*command: object, user: int | None = None) -> tuple[int, str]:
    """Exit code and messages of our command line, in a process of its own, perhaps as another user."""
    with tempfile.TemporaryFile("w+") as told:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                os.dup2(told.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                if user is not None:
                    os.setgroups([])
                    os.setgid(user)
                    os.setuid(user)
                code = run([str(word) for word in command])
                sys.stderr.flush()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told.seek(0)
        return code, told.read()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a tmpfs with the given options; skips where that is not permitted."""
    places: list[Path] = []

    def mounted(options: str) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        done = ran("mount", "-t", "tmpfs", "-o", options, "tmpfs", place) if IS_ROOT else None
        if done is None or done.returncode:
            pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip() if done else 'needs root'}")
        places.append(place)
        return place

    yield mounted
    for place in places:
        ran("umount", "-l", place)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


SURGERIES = {
    "resize": ["resize", "CKPT", "--vocab", "30000", "--pad", "0"],
    "remap": ["remap", "CKPT", "--keep", "KEEP"],
    "convert": ["convert", "CKPT", "--to", "native"],
    "reinit": ["reinit", "CKPT"],
}


def words(name: str, ckpt: Path, folder: Path) -> list[str]:
    (folder / "keep").write_text("\n".join(map(str, range(10_000))))
    return [{"CKPT": str(ckpt), "KEEP": str(folder / "keep")}.get(word, word) for word in SURGERIES[name]]


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["in place", "--out"])
@pytest.mark.parametrize("name", SURGERIES)
def test_a_full_disk_is_refused_before_anything_is_written(
    name: str, is_elsewhere: bool, mount: Callable[..., Path], tmp_path: Path
) -> None:
    disk = mount("size=3m")
    ckpt = builder.build((tmp_path if is_elsewhere else disk) / "ckpt", builder.remote_config(vocab_size=16_000))
    if is_elsewhere:
        (disk / "filler").write_bytes(b"x" * (2 << 20))
    old = snapshot(FS, ckpt)
    command = words(name, ckpt, tmp_path) + (["--out", str(disk / "out")] if is_elsewhere else [])
    code, told = ours(*command)
    assert code == 3, told
    assert told.startswith(f"error: {(disk / 'out') if is_elsewhere else ckpt}: the disk has ")
    assert snapshot(FS, ckpt) == old
    assert not leftovers(FS, disk / "out" if is_elsewhere else ckpt)
    assert sorted(path.name for path in disk.iterdir()) == (["filler"] if is_elsewhere else ["ckpt"])


class Optimist(Filesystem):
    """Believes that there is always space, as where another program takes it meanwhile."""

    def free_bytes(self, path: Path) -> int:
        return 1 << 60


def test_a_disk_that_fills_up_meanwhile_fails_the_surgery_and_nothing_else(mount: Callable[..., Path]) -> None:
    from gte_surgery.checkpoint.directory import open_checkpoint
    from gte_surgery.surgery.apply import Manner, apply
    from gte_surgery.surgery.edits import Resize

    disk = mount("size=3m")
    ckpt = builder.build(disk / "ckpt", builder.remote_config(vocab_size=16_000))
    old = snapshot(FS, ckpt)
    for out in (None, disk / "out"):
        checkpoint = open_checkpoint(ckpt)
        plan = verbs.plan_surgery(checkpoint, Resize(30_000, 0))
        with pytest.raises(WriteError, match=r"No space left on device; nothing was changed"):
            apply(plan, checkpoint, ckpt, out, Manner(filesystem=Optimist()))
        assert snapshot(FS, ckpt) == old
        assert [path.name for path in disk.iterdir()] == ["ckpt"]
        assert not leftovers(FS, ckpt)


def test_a_disk_without_room_for_another_file_fails_the_surgery_and_nothing_else(mount: Callable[..., Path]) -> None:
    disk = mount("size=9m,nr_inodes=7")
    ckpt = builder.build(disk / "ckpt", shards=1)
    old = snapshot(FS, ckpt)
    code, told = ours("resize", ckpt, "--vocab", 64, "--pad", 0)
    assert (code, told.startswith("error: ")) == (3, True), told
    assert "No space left on device" in told
    assert snapshot(FS, ckpt) == old
    assert not leftovers(FS, ckpt)


def test_a_read_only_file_system_is_refused_in_place_and_serves_as_a_source(
    mount: Callable[..., Path], tmp_path: Path
) -> None:
    disk = mount("size=9m")
    ckpt = builder.build(disk / "ckpt")
    verbs.resize(ckpt, vocab=96, pad=0)
    old = snapshot(FS, ckpt)
    assert ran("mount", "-o", "remount,ro", disk).returncode == 0
    for command in (["resize", ckpt, "--vocab", 64, "--pad", 0], ["undo", ckpt], ["reinit", ckpt]):
        code, told = ours(*command)
        assert (code, told.count("error: ")) == (3, 1), told
        assert str(ckpt) in told
    assert snapshot(FS, ckpt) == old
    code, told = ours("resize", ckpt, "--vocab", 64, "--pad", 0, "--out", disk / "out")
    assert (code, told.count("error: ")) == (3, 1), told
    assert ours("resize", ckpt, "--vocab", 64, "--pad", 0, "--out", tmp_path / "out")[0] == 0
    assert ours("recover", ckpt)[0] == 0, "there is nothing to do"


@as_root
def test_a_directory_of_another_user_is_refused_in_place_and_serves_as_a_source(shared: Path) -> None:
    verbs.resize(builder.build(shared / "ours"), vocab=64, pad=0)  # loads what another user's Python may not read
    ckpt = builder.build(shared / "ckpt")
    for path in (ckpt, *ckpt.iterdir()):
        path.chmod(path.stat().st_mode | 0o055)
    old = snapshot(FS, ckpt)
    code, told = ours("resize", ckpt, "--vocab", 64, "--pad", 0, user=NOBODY)
    assert (code, told.startswith("error: "), "not writable" in told) == (3, True, True), told
    code, told = ours("resize", ckpt, "--vocab", 64, "--pad", 0, "--out", ckpt / "out", user=NOBODY)
    assert (code, told.startswith("error: ")) == (3, True), told
    assert snapshot(FS, ckpt) == old
    assert not leftovers(FS, ckpt)
    code, told = ours("resize", ckpt, "--vocab", 64, "--pad", 0, "--out", shared / "out", user=NOBODY)
    assert code == 0, told
    assert (shared / "out").stat().st_uid == NOBODY


@as_root
def test_owner_group_and_attributes_of_a_replaced_file_are_carried_as_far_as_permitted(shared: Path) -> None:
    ckpt = builder.build(shared / "ckpt")
    config, weights = ckpt / "config.json", ckpt / "model.safetensors"
    try:
        os.setxattr(config, "user.origin", b"the hub")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")
    os.chown(config, 1234, 2345)
    config.chmod(0o460)
    os.chown(weights, 1234, 0)
    before = [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in (config, weights)]
    verbs.resize(ckpt, vocab=64, pad=0)
    assert [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in (config, weights)] == before
    assert os.getxattr(config, "user.origin") == b"the hub"
    os.setxattr(config, "user.origin", b"edited")
    verbs.undo(ckpt)
    assert os.getxattr(config, "user.origin") == b"the hub", "undo brings the file itself back"

    for path in (ckpt, *ckpt.iterdir()):
        path.chmod(path.stat().st_mode | 0o077)
    code, told = ours("resize", ckpt, "--vocab", 64, "--pad", 0, user=NOBODY)
    assert (code, "what is kept for undo is another user's" in told) == (3, True), told
    shutil.rmtree(ckpt / ".gte-surgery")
    code, told = ours("resize", ckpt, "--vocab", 64, "--pad", 0, user=NOBODY)
    assert code == 0, told
    assert (config.stat().st_uid, os.getxattr(config, "user.origin")) == (NOBODY, b"the hub")


@as_root
def test_an_acl_is_carried_and_one_that_only_new_files_inherit_is_not_left(shared: Path) -> None:
    import struct

    def acl(*entries: tuple[int, int, int]) -> bytes:
        """[linux/posix_acl_xattr.h]: version 2, then tag, permissions and id of each entry."""
        return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

    anyone = 0xFFFFFFFF
    granting = acl((1, 6, anyone), (2, 4, 1234), (4, 0, anyone), (16, 4, anyone), (32, 0, anyone))
    ckpt = builder.build(shared / "ckpt")
    try:
        os.setxattr(ckpt / "config.json", "system.posix_acl_access", granting)
    except OSError as error:
        pytest.skip(f"no ACLs here: {error}")
    os.setxattr(ckpt, "system.posix_acl_default", granting)
    verbs.resize(ckpt, vocab=64, pad=0)
    assert os.getxattr(ckpt / "config.json", "system.posix_acl_access") == granting
    assert "system.posix_acl_access" not in os.listxattr(ckpt / "model.safetensors")


@as_root
@pytest.mark.parametrize("flag", ["i", "a"])
@pytest.mark.parametrize("marked", ["config.json", "model.safetensors", "."])
def test_a_file_that_cannot_be_replaced_is_found_out_before_the_commit(flag: str, marked: str, tmp_path: Path) -> None:
    ckpt = builder.build(tmp_path / "ckpt")
    if shutil.which("chattr") is None or ran("chattr", f"+{flag}", ckpt / marked).returncode:
        pytest.skip("cannot mark files here: no chattr, or a file system without such marks")
    try:
        old = snapshot(FS, ckpt)
        with pytest.raises(RefusedError, match=r"immutable or append-only|is not writable"):
            verbs.resize(ckpt, vocab=64, pad=0)
        assert snapshot(FS, ckpt) == old
        verbs.resize(ckpt, vocab=64, pad=0, out=tmp_path / "out")
    finally:
        ran("chattr", f"-{flag}", ckpt / marked)
    assert not leftovers(FS, ckpt)


@as_root
def test_a_file_on_which_something_is_mounted_is_found_out_before_the_commit(tmp_path: Path) -> None:
    ckpt = builder.build(tmp_path / "a ckpt")
    shutil.copy(ckpt / "config.json", tmp_path / "mounted.json")
    if ran("mount", "--bind", tmp_path / "mounted.json", ckpt / "config.json").returncode:
        pytest.skip("cannot mount")
    try:
        old = snapshot(FS, ckpt)
        with pytest.raises(RefusedError, match=r"config\.json: is a mount point"):
            verbs.resize(ckpt, vocab=64, pad=0)
        assert snapshot(FS, ckpt) == old
        assert not leftovers(FS, ckpt)
    finally:
        ran("umount", ckpt / "config.json")
    verbs.resize(ckpt, vocab=64, pad=0)


def test_where_hard_links_are_refused_the_copies_for_undo_count_as_space(tmp_path: Path) -> None:
    class Small(FaultyFilesystem):
        """Has exactly so many bytes."""

        def free_bytes(self, path: Path) -> int:
            return free

    lay_down(FS, tmp_path / "ckpt", SINGLE.old)
    kept = sum(len(SINGLE.old[name][1]) for name in ("config.json", "model.safetensors"))
    for has_hard_links, free, is_enough in ((True, 10, True), (False, 9 + kept, False), (False, 10 + kept, True)):
        with in_place(tmp_path / "ckpt", "test", Small(has_hard_links=has_hard_links)) as transaction:
            names = [*SINGLE.staged]
            if is_enough:
                transaction.require_space(10, names)
            else:
                with pytest.raises(RefusedError, match=f"has {free} bytes free, the surgery needs {10 + kept}"):
                    transaction.require_space(10, names)
        assert not leftovers(FS, tmp_path / "ckpt")


def test_undo_counts_its_copies_too_where_hard_links_are_refused(tmp_path: Path) -> None:
    class Small(FaultyFilesystem):
        def free_bytes(self, path: Path) -> int:
            return 20

    target = tmp_path / "ckpt"
    lay_down(FS, target, SINGLE.old)
    perform(SINGLE, target, FS)
    with pytest.raises(RefusedError, match="has 20 bytes free"):
        undo(target, Small(has_hard_links=False))
    assert snapshot(FS, target) == SINGLE.new
    undo(target, Small())
    assert snapshot(FS, target) == SINGLE.old


@as_root
def test_another_users_file_that_the_kernel_lets_nobody_link_is_copied_and_counted(shared: Path) -> None:
    """protected_hardlinks: who may replace a file need not be allowed to link it."""
    ckpt = builder.build(shared / "ckpt")
    ckpt.chmod(0o777)
    old = snapshot(FS, ckpt)
    code, told = ours("resize", ckpt, "--vocab", 64, "--pad", 0, user=NOBODY)
    assert code == 0, told
    assert ours("undo", ckpt, user=NOBODY)[0] == 0
    assert snapshot(FS, ckpt) == old


def test_a_file_system_without_modes_and_links_takes_every_surgery(tmp_path: Path) -> None:
    """A real vfat."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "image").write_bytes(bytes(8 << 20))
    if shutil.which("mkfs.vfat") is None or ran("mkfs.vfat", tmp_path / "image").returncode:
        pytest.skip("no mkfs.vfat")
    if (done := ran("mount", "-o", "loop", tmp_path / "image", disk)).returncode:
        pytest.skip(f"cannot mount a vfat: {done.stderr.strip()}")
    try:
        ckpt = builder.build(disk / "ckpt", shards=2)
        old = {name: content for name, (_, content) in (snapshot(FS, ckpt) or {}).items()}
        assert ours("resize", ckpt, "--vocab", 64, "--pad", 0)[0] == 0
        assert ours("undo", ckpt)[0] == 0
        assert {name: content for name, (_, content) in (snapshot(FS, ckpt) or {}).items()} == old
        assert ours("convert", ckpt, "--to", "native", "--out", disk / "out")[0] == 0
    finally:
        ran("umount", disk)


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_modes_and_links_takes_every_surgery_simulated(
    refusal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a vfat answers, where none can be mounted."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    ckpt = builder.build(tmp_path / "ckpt", shards=2)
    old = snapshot(FS, ckpt)
    for name in ("link", "fchmod", "fchown", "setxattr", "listxattr"):
        monkeypatch.setattr(os, name, refuse)
    verbs.resize(ckpt, vocab=64, pad=0)
    verbs.undo(ckpt)
    verbs.convert(ckpt, to="native", out=tmp_path / "out")
    found = snapshot(FS, ckpt)
    assert {name: content for name, (_, content) in found.items()} == {name: c for name, (_, c) in old.items()}


def test_the_space_asked_for_covers_what_a_surgery_writes(mount: Callable[..., Path]) -> None:
    """Just enough by our count is enough for the disk."""
    disk = mount("size=9m")
    ckpt = builder.build(disk / "ckpt", builder.remote_config(vocab_size=8_000))
    nbytes = verbs.resize(ckpt, vocab=7_000, pad=0, dry_run=True).plan.nbytes
    wanted = nbytes + SPARE + (64 << 10)
    usage = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(usage.f_bavail * usage.f_frsize - wanted))
    verbs.resize(ckpt, vocab=7_000, pad=0)
    assert not leftovers(FS, ckpt)
