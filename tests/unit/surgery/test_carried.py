"""What a surgery does not know is neither written over nor left out without a word, and nothing outside is copied."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gte_surgery.checkpoint.receipts import RECEIPT_NAME
from gte_surgery.checks.run import run
from gte_surgery.errors import RefusedError
from gte_surgery.surgery import verbs
from gte_surgery.surgery.commit.filesystem import Filesystem
from tests import builder
from tests.crash.surgeries import leftovers, snapshot

FS = Filesystem()


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    return builder.build(tmp_path / "ckpt")


SPECIAL: dict[str, Callable[[Path], object]] = {
    "link out": lambda path: path.symlink_to("/etc/hostname"),
    "link to a folder outside": lambda path: path.symlink_to("/etc"),
    "broken link": lambda path: path.symlink_to("nowhere"),
    "link to a folder inside": lambda path: path.symlink_to("."),
    "fifo": lambda path: os.mkfifo(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", ["NOTICE.txt", "1_Pooling/deep/NOTICE.txt", "vocab.txt"])
@pytest.mark.parametrize("is_rehearsed", [False, True])
def test_a_file_that_leads_out_or_is_special_is_not_carried(
    kind: str, name: str, is_rehearsed: bool, ckpt: Path, tmp_path: Path
) -> None:
    (ckpt / name).parent.mkdir(parents=True, exist_ok=True)
    SPECIAL[kind](ckpt / name)
    with pytest.raises(RefusedError, match=rf"{name}: .*cannot be carried into a new directory"):
        verbs.resize(ckpt, vocab=64, pad=0, out=tmp_path / "out", dry_run=is_rehearsed)
    assert sorted(os.listdir(tmp_path)) == ["ckpt"]
    assert verbs.resize(ckpt, vocab=64, pad=0).receipt, "in place it stays what it is"
    assert os.path.lexists(ckpt / name)


def test_links_within_the_checkpoint_and_into_its_hub_cache_are_carried_as_files(ckpt: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--org--name"
    (cache / "blobs").mkdir(parents=True)
    (cache / "blobs" / "0123").write_text("read me")
    snapshot_path = cache / "snapshots" / "abc"
    snapshot_path.parent.mkdir()
    ckpt.rename(snapshot_path)
    (snapshot_path / "README.md").symlink_to("../../blobs/0123")
    (snapshot_path / "copy.md").symlink_to("README.md")
    verbs.resize(snapshot_path, vocab=64, pad=0, out=tmp_path / "out")
    assert {(tmp_path / "out" / name).read_text() for name in ("README.md", "copy.md")} == {"read me"}


@pytest.mark.parametrize("kind", ["shards", "index"])
@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize("is_rehearsed", [False, True])
def test_a_file_of_another_model_is_not_written_over(
    kind: str, is_elsewhere: bool, is_rehearsed: bool, ckpt: Path, tmp_path: Path
) -> None:
    written = [file.name for file in verbs.convert(ckpt, shard_size=20_000, dry_run=True).plan.files]
    names = [name for name in written if ("index" in name) is (kind == "index") and name != "config.json"]
    for name in names:
        (ckpt / name).write_text('{"weight_map": {"a": "old-1.safetensors"}}')
    before = snapshot(FS, ckpt)
    out = tmp_path / "out" if is_elsewhere else None
    with pytest.raises(RefusedError, match=rf"{names[0]}.*: not of this checkpoint") as refusal:
        verbs.convert(ckpt, shard_size=20_000, out=out, dry_run=is_rehearsed)
    assert snapshot(FS, ckpt) == before
    assert not leftovers(FS, ckpt)
    os.system(refusal.value.hint.partition("`")[2].rstrip("`"))
    assert verbs.convert(ckpt, shard_size=20_000, out=out).receipt, "the hint helps"


@contextmanager
def _few_descriptors() -> Iterator[None]:
    """A hundred more than the tests before have left open, which the collector closes when it likes."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_more_files_than_may_be_open_are_carried(ckpt: Path, tmp_path: Path) -> None:
    for number in range(300):
        (ckpt / f"note-{number}.txt").write_text(str(number))
    with _few_descriptors():
        verbs.resize(ckpt, vocab=64, pad=0, out=tmp_path / "out")
    assert all((tmp_path / "out" / f"note-{number}.txt").read_text() == str(number) for number in range(300))


def test_the_root_is_refused_as_a_new_directory(ckpt: Path) -> None:
    with pytest.raises(RefusedError, match="/: exists and is not empty"):
        verbs.resize(ckpt, vocab=64, pad=0, out="/")


def test_folders_that_are_empty_and_state_of_others_below_are_carried(ckpt: Path, tmp_path: Path) -> None:
    for name in ("empty/deep", ".git/objects", "sub/.git/refs", "sub/.gte-surgery"):
        (ckpt / name).mkdir(parents=True)
    (ckpt / "sub/.git/HEAD").write_text("ref: refs/heads/main")
    verbs.resize(ckpt, vocab=64, pad=0, out=tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert {"empty/deep", "sub/.git/refs", "sub/.git/HEAD", "sub/.gte-surgery"} <= found
    assert not {".git", ".gte-surgery"} & found


def test_members_that_others_keep_in_the_receipt_file_stay(ckpt: Path, tmp_path: Path) -> None:
    (ckpt / RECEIPT_NAME).write_text('{"note": {"by": "me"}, "receipts": [{"tool": "x"}]}')
    verbs.resize(ckpt, vocab=64, pad=0)
    verbs.reinit(ckpt, out=tmp_path / "out")
    found = json.loads((tmp_path / "out" / RECEIPT_NAME).read_text())
    assert found["note"] == {"by": "me"}
    assert [receipt.get("command", "")[:6] for receipt in found["receipts"]] == ["", "resize", "reinit"]


def test_files_of_a_new_directory_follow_the_umask_and_replaced_ones_keep_their_modes(
    ckpt: Path, tmp_path: Path
) -> None:
    (ckpt / "config.json").chmod(0o664)
    mask = os.umask(0o077)
    try:
        verbs.resize(ckpt, vocab=64, pad=0, out=tmp_path / "out")
        verbs.new(tmp_path / "new", release="gte-base-en-v1.5", layers=1, hidden=64, heads=4, intermediate=96, vocab=64)
        verbs.resize(ckpt, vocab=64, pad=0)
        verbs.convert(ckpt, shard_size=20_000)
    finally:
        os.umask(mask)
    for place in ("out", "new"):
        assert {path.stat().st_mode & 0o077 for path in (tmp_path / place).iterdir()} == {0}
    assert (ckpt / "config.json").stat().st_mode & 0o777 == 0o664
    new = [RECEIPT_NAME, *(path.name for path in ckpt.glob("model-*.safetensors"))]
    assert len(new) > 2
    assert {(ckpt / name).stat().st_mode & 0o077 for name in new} == {0}, "where nothing was replaced"


def test_a_file_whose_name_is_no_text_is_carried_and_told_by_escapes(ckpt: Path, tmp_path: Path) -> None:
    """A name in latin-1, which JSON cannot hold, neither stops a surgery nor spoils its receipt."""
    name, draft = os.fsdecode(b"caf\xe9.txt"), os.fsdecode(b"caf\xe9.tmp")
    for each in (name, draft):
        (ckpt / each).write_text("of the owner")
    verbs.fix(ckpt)
    verbs.resize(ckpt, vocab=64, pad=0, out=tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "of the owner"
    assert verbs.history(tmp_path / "out")[0]["removed"] == ["caf\\udce9.tmp"]
    assert not run(tmp_path / "out", select=["GTE06"]).findings
    assert set(verbs.undo(ckpt)) == {"gte-surgery.json", draft}
