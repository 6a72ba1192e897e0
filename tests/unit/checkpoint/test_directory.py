"""Opening a directory: what is found, each fault by exactly its kind, and nothing outside it ever opened."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gte_surgery.checkpoint import files as files_module
from gte_surgery.checkpoint.directory import Checkpoint, Fault, FaultKind, open_checkpoint, open_listing
from gte_surgery.checkpoint.faults import HeaderFault
from gte_surgery.checkpoint.files import Content
from gte_surgery.checkpoint.listing import KEPT_FILES, KEPT_FOLDER, SURGERY_FOLDER, kept_for_undo
from gte_surgery.checkpoint.source import LocalFile
from gte_surgery.errors import CheckpointError
from gte_surgery.findings import Location

INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A checkpoint of one weight file."""
    root = tmp_path / "single"
    root.mkdir()
    (root / "config.json").write_text('{"model_type": "new"}')
    save_file({"a": np.zeros((2, 3), "f4"), "b": np.ones(4, "f2")}, root / "model.safetensors")
    return root


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A checkpoint of two shards: a and b in the first, c in the second."""
    root = tmp_path / "sharded"
    root.mkdir()
    (root / "config.json").write_text('{"model_type": "new"}')
    save_file({"a": np.zeros(2, "f4"), "b": np.ones(2, "f4")}, root / FIRST)
    save_file({"c": np.ones(4, "f2")}, root / SECOND)
    write_index(root, {"a": FIRST, "b": FIRST, "c": SECOND}, 24)
    return root


def write_index(root: Path, weight_map: Mapping[str, object], total_size: object = None) -> None:
    metadata = {} if total_size is None else {"total_size": total_size}
    (root / INDEX).write_text(json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=2))


def kinds(checkpoint: Checkpoint) -> list[object]:
    return [fault.kind for fault in checkpoint.faults]


def only_fault(root: Path) -> Fault:
    checkpoint = open_checkpoint(root)
    assert len(checkpoint.faults) == 1, checkpoint.faults
    return checkpoint.faults[0]


def test_a_single_file_checkpoint_is_found_whole(single: Path) -> None:
    (single / "1_Pooling").mkdir()
    (single / "1_Pooling" / "config.json").write_text("{}")
    (single / ".gte-surgery" / "previous").mkdir(parents=True)
    (single / ".gte-surgery" / "previous" / "config.json").write_text("{}")
    (single / ".git").mkdir()
    (single / ".git" / "HEAD").write_text("x")
    os.chmod(single / "config.json", 0o640)
    checkpoint = open_checkpoint(str(single))
    assert checkpoint.faults == ()
    assert checkpoint.path == single
    assert [file.name for file in checkpoint.files] == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    assert checkpoint.has("1_Pooling/config.json")
    assert not checkpoint.has("1_Pooling")
    config = checkpoint.file("config.json")
    assert config is not None
    assert (config.size, config.mode) == (21, 0o640)
    assert (config.is_symlink, config.is_regular) == (False, True)
    assert checkpoint.config is not None
    assert checkpoint.config.value == {"model_type": "new"}
    assert checkpoint.index is None
    assert checkpoint.shards[0].content is Content.SAFETENSORS


def test_a_stored_tensor_says_where_its_bytes_lie(single: Path) -> None:
    checkpoint = open_checkpoint(single)
    raw = (single / "model.safetensors").read_bytes()
    for name, array in load_file(single / "model.safetensors").items():
        tensor = checkpoint.tensors[name]
        assert raw[tensor.file_begin : tensor.file_begin + tensor.nbytes] == array.tobytes()
        assert tensor.shape == array.shape
        assert tensor.dtype == {"float32": "F32", "float16": "F16"}[str(array.dtype)]
        assert tensor.name == name


def test_a_sharded_checkpoint_is_found_whole(sharded: Path) -> None:
    checkpoint = open_checkpoint(sharded)
    assert checkpoint.faults == ()
    assert checkpoint.index is not None
    assert checkpoint.index.total_size == 24
    assert [shard.file.name for shard in checkpoint.shards] == [FIRST, SECOND]
    assert {name: tensor.shard.file.name for name, tensor in checkpoint.tensors.items()} == checkpoint.index.weight_map


def test_golden_checkpoints_have_no_fault(golden: Path) -> None:
    for root in sorted(golden.iterdir()):
        checkpoint = open_checkpoint(root)
        assert checkpoint.faults == ()
        assert set(checkpoint.tensors) == set(load_file(root / "model.safetensors"))


def test_one_weight_file_can_be_opened_with_the_config_beside_it(sharded: Path) -> None:
    checkpoint = open_checkpoint(sharded / SECOND)
    assert checkpoint.faults == ()
    assert checkpoint.path == sharded
    assert [file.name for file in checkpoint.files] == ["config.json", SECOND]
    assert list(checkpoint.tensors) == ["c"]
    assert checkpoint.config is not None


@pytest.mark.parametrize("name", ["nowhere", "config.json", "a\0b", "x" * 5000])
def test_only_a_path_that_is_no_checkpoint_at_all_raises(single: Path, name: str) -> None:
    with pytest.raises(CheckpointError):
        open_checkpoint(single / name)


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], object]:
    def act(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return act


def append(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes() + content)


def receipt(**record: object) -> Callable[[Path], object]:
    old = {"written": [{"name": "model.safetensors", "size": 1}]}
    content = {"receipts": [old, {"written": [{"name": "model.safetensors", **record}]}]}
    return write("gte-surgery.json", json.dumps(content).encode())


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
W = "model.safetensors"


@pytest.mark.parametrize(
    ("damage", "kind", "location", "message"),
    [
        (remove("config.json"), FaultKind.CONFIG_MISSING, Location("config.json"), "does not exist"),
        (
            write("config.json", b'{\n "a": 1,\n "a": 2}'),
            FaultKind.CONFIG_UNREADABLE,
            Location("config.json", 3, 2),
            'duplicate key "a"',
        ),
        (
            write("config.json", b"[]"),
            FaultKind.CONFIG_UNREADABLE,
            Location("config.json", 1, 1),
            "a JSON array, wanted an object",
        ),
        (remove(W), FaultKind.WEIGHTS_MISSING, Location(), f"neither {W} nor {INDEX}"),
        (write(W, LFS), FaultKind.NOT_SAFETENSORS, Location(W), "a Git LFS pointer"),
        (write(W, b"<html>"), FaultKind.NOT_SAFETENSORS, Location(W), "an HTML or XML page"),
        (write(W, b"\x80\x04\x95\0"), FaultKind.NOT_SAFETENSORS, Location(W), "a Python pickle"),
        (write(W, b""), HeaderFault.TOO_SHORT, Location(W), "0 bytes, wanted at least 8"),
        (append(W, b"x"), HeaderFault.TRAILING_BYTES, Location(W), "1 bytes follow the last tensor"),
        (write(INDEX, b"{"), FaultKind.INDEX_UNREADABLE, Location(INDEX, 1, 2), "not JSON"),
        (write(INDEX, b'{"weight_map": {"a": "x"}}'), FaultKind.STALE_INDEX, Location(INDEX), "lies beside it"),
        (write("x.tmp", b"1"), FaultKind.LEFTOVER, Location("x.tmp"), "a temporary file of 1 bytes"),
        (write("sub/.tmpAbc", b""), FaultKind.LEFTOVER, Location("sub/.tmpAbc"), "a temporary file"),
        (write(".cache/x.incomplete", b""), FaultKind.LEFTOVER, Location(".cache/x.incomplete"), "a temporary file"),
        (
            write(".gte-surgery/journal.json", b""),
            FaultKind.INTERRUPTED_SURGERY,
            Location(".gte-surgery/journal.json"),
            "cut short after its commit",
        ),
        (
            write(".gte-surgery/stage/x", b""),
            FaultKind.UNFINISHED_STAGING,
            Location(".gte-surgery/stage"),
            "cut short before its commit",
        ),
        (receipt(size=5), FaultKind.RECEIPT_MISMATCH, Location(W), "bytes, the receipt says 5"),
        (receipt(header="sha256:0"), FaultKind.RECEIPT_MISMATCH, Location(W), "its header is another one"),
        (
            write("gte-surgery.json", b"{"),
            FaultKind.RECEIPT_UNREADABLE,
            Location("gte-surgery.json", 1, 2),
            "not JSON",
        ),
        (
            write("gte-surgery.json", b'{"receipts": [{"written": [{"name": 1}]}]}'),
            FaultKind.RECEIPT_UNREADABLE,
            Location("gte-surgery.json"),
            "not a receipt file",
        ),
    ],
)
def test_each_damage_of_a_single_file_checkpoint_is_one_fault(
    single: Path, damage: Callable[[Path], object], kind: object, location: Location, message: str
) -> None:
    damage(single)
    fault = only_fault(single)
    assert fault.kind is kind
    assert fault.location == location
    assert message in fault.message


def test_a_header_fault_names_its_tensor(single: Path) -> None:
    file = single / W
    file.write_bytes(file.read_bytes().replace(b"F32", b"F31"))
    fault = only_fault(single)
    assert fault.kind is HeaderFault.UNKNOWN_DTYPE
    assert fault.location == Location(W, tensor="a")


def test_a_folder_that_is_no_checkpoint_is_not_walked_and_points_below(single: Path) -> None:
    fault = only_fault(single.parent)
    assert fault.kind is FaultKind.NOT_A_CHECKPOINT
    assert fault.hint == f"did you mean `gte-surgery check {single}`?"
    assert open_checkpoint(single.parent).files == ()


def test_other_weights_are_named_where_safetensors_are_missing(single: Path) -> None:
    (single / W).rename(single / "pytorch_model.bin")
    assert only_fault(single).message.endswith("found pytorch_model.bin")


def index(weight_map: Mapping[str, object], total_size: object = None) -> Callable[[Path], object]:
    return lambda root: write_index(root, weight_map, total_size)


GOOD = {"a": FIRST, "b": FIRST, "c": SECOND}


@pytest.mark.parametrize(
    ("damage", "kind", "location", "message"),
    [
        (remove(SECOND), FaultKind.INDEX_MISSING_FILE, Location(INDEX, 8, 10, "/weight_map/c"), "does not exist"),
        (
            index(GOOD | {"d": SECOND}),
            FaultKind.INDEX_TENSOR_ABSENT,
            Location(INDEX, 7, 10, "/weight_map/d"),
            f"{SECOND} does not hold this tensor",
        ),
        (
            index(GOOD | {"b": SECOND}),
            FaultKind.INDEX_TENSOR_ABSENT,
            Location(INDEX, 5, 10, "/weight_map/b"),
            f"{SECOND} does not hold this tensor, {FIRST} holds it",
        ),
        (
            index({"a": FIRST, "c": SECOND}),
            FaultKind.INDEX_TENSOR_UNLISTED,
            Location(FIRST, tensor="b"),
            f"not listed in {INDEX}",
        ),
        (
            index(GOOD, 25),
            FaultKind.WRONG_TOTAL_SIZE,
            Location(INDEX, 3, 19, "/metadata/total_size"),
            "25, the tensors have 24 bytes",
        ),
        (index({}), FaultKind.INDEX_UNREADABLE, Location(INDEX, 3, 17, "/weight_map"), "an empty weight_map"),
        (
            index({"a": FIRST, "b": 1, "c": None}),
            FaultKind.INDEX_UNREADABLE,
            Location(INDEX, 5, 10, "/weight_map/b"),
            "a file name that is no string (and 1 more)",
        ),
        (write(INDEX, b"{}"), FaultKind.INDEX_UNREADABLE, Location(INDEX, 1, 1, "/weight_map"), "no weight_map"),
        (
            write(INDEX, b'{"weight_map": [1]}'),
            FaultKind.INDEX_UNREADABLE,
            Location(INDEX, 1, 16, "/weight_map"),
            "a JSON array",
        ),
        (write(INDEX, b"3"), FaultKind.INDEX_UNREADABLE, Location(INDEX, 1, 1), "a JSON number, wanted an object"),
        (write(SECOND, LFS), FaultKind.NOT_SAFETENSORS, Location(SECOND), "a Git LFS pointer"),
    ],
)
def test_each_damage_of_a_sharded_checkpoint_is_one_fault(
    sharded: Path, damage: Callable[[Path], object], kind: object, location: Location, message: str
) -> None:
    damage(sharded)
    fault = only_fault(sharded)
    assert fault.kind is kind
    assert fault.location == location
    assert message in fault.message


def test_a_tensor_in_two_shards_is_one_fault_and_the_first_wins(sharded: Path) -> None:
    save_file({"c": np.ones(4, "f2"), "a": np.ones(9, "f4")}, sharded / SECOND)
    fault = only_fault(sharded)
    assert fault.kind is FaultKind.DUPLICATE_TENSOR
    assert fault.location == Location(SECOND, tensor="a")
    assert open_checkpoint(sharded).tensors["a"].shape == (2,)


def test_an_index_that_maps_everything_to_the_single_file_is_kept_and_compared(single: Path) -> None:
    write_index(single, {"a": W, "b": W}, 32)
    checkpoint = open_checkpoint(single)
    assert checkpoint.faults == ()
    assert checkpoint.index is not None
    write_index(single, {"a": W, "b": W, "z": W})
    assert only_fault(single).kind is FaultKind.INDEX_TENSOR_ABSENT


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The real paths of all files that are opened."""
    paths: list[str] = []
    real_open = os.open

    def spy(path: Path, flags: int, *rest: int) -> int:
        paths.append(os.path.realpath(path))
        return real_open(path, flags, *rest)

    monkeypatch.setattr(files_module.os, "open", spy)
    return paths


@pytest.mark.parametrize(
    "value",
    [
        "../single/x.safetensors",
        "sub/../../x",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a//b",
        "C:x",
        "..\\x",
        "a\0b",
        "a/",
    ],
)
def test_a_weight_map_value_that_is_no_plain_relative_path_is_unsafe_and_never_opened(
    sharded: Path, opened: list[str], value: str
) -> None:
    write_index(sharded, GOOD | {"z": value})
    fault = only_fault(sharded)
    assert fault.kind is FaultKind.INDEX_UNSAFE_PATH
    assert fault.location.pointer == "/weight_map/z"
    assert fault.message.isprintable()
    assert all(path.startswith(f"{sharded}/") for path in opened)


def outside_file(root: Path) -> Path:
    """A weight file in a folder beside `root`, whose name starts like that of `root`."""
    outside = root.parent / f"{root.name}-outside" / "x.safetensors"
    outside.parent.mkdir()
    save_file({"c": np.ones(4, "f2")}, outside)
    return outside


def test_a_shard_that_links_out_is_unsafe_and_never_opened(sharded: Path, opened: list[str]) -> None:
    (sharded / SECOND).unlink()
    (sharded / SECOND).symlink_to(outside_file(sharded))
    fault = only_fault(sharded)
    assert fault.kind is FaultKind.INDEX_UNSAFE_PATH
    assert "leads out" in fault.message
    assert all(path.startswith(f"{sharded}/") for path in opened)


def test_a_shard_below_a_linked_folder_is_unsafe_and_never_opened(sharded: Path, opened: list[str]) -> None:
    elsewhere = sharded.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(sharded / SECOND, elsewhere / "x.safetensors")
    (sharded / "sub").symlink_to(elsewhere)
    write_index(sharded, GOOD | {"c": "sub/x.safetensors"})
    fault = only_fault(sharded)
    assert fault.kind is FaultKind.INDEX_UNSAFE_PATH
    assert all(path.startswith(f"{sharded}/") for path in opened)


@pytest.mark.parametrize("name", ["config.json", W, INDEX, "gte-surgery.json"])
def test_any_file_that_links_out_is_never_opened(single: Path, opened: list[str], name: str) -> None:
    (single / name).unlink(missing_ok=True)
    (single / name).symlink_to(outside_file(single))
    checkpoint = open_checkpoint(single)
    assert FaultKind.UNREADABLE in kinds(checkpoint) or FaultKind.RECEIPT_UNREADABLE in kinds(checkpoint)
    assert checkpoint.links_out == {name}
    assert checkpoint.readable(name) is None
    assert all(path.startswith(f"{single}/") for path in opened)


def test_a_link_within_the_checkpoint_is_followed(sharded: Path) -> None:
    (sharded / SECOND).rename(sharded / "kept.bin")
    (sharded / SECOND).symlink_to("kept.bin")
    checkpoint = open_checkpoint(sharded)
    assert checkpoint.faults == ()
    file = checkpoint.file(SECOND)
    assert file is not None
    assert file.is_symlink
    assert file.size == (sharded / "kept.bin").stat().st_size


def snapshot_of(root: Path, cache: Path) -> Path:
    """The checkpoint as a hub cache keeps it: links into the blobs of one model."""
    snapshot, blobs = cache / "models--x--y" / "snapshots" / "0123abcd", cache / "models--x--y" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(root.iterdir())):
        shutil.copy(file, blobs / f"{number:040}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040}")
    return snapshot


def test_a_hub_cache_snapshot_is_readable_but_not_the_blobs_of_another_model(sharded: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(sharded, tmp_path / "hub")
    checkpoint = open_checkpoint(snapshot)
    assert checkpoint.faults == ()
    assert len(checkpoint.tensors) == 3
    assert all(file.is_symlink for file in checkpoint.files)
    other = tmp_path / "hub" / "models--x--z" / "blobs"
    other.mkdir(parents=True)
    shutil.copy(sharded / SECOND, other / "f")
    (snapshot / SECOND).unlink()
    (snapshot / SECOND).symlink_to("../../../models--x--z/blobs/f")
    assert only_fault(snapshot).kind is FaultKind.INDEX_UNSAFE_PATH


@pytest.mark.parametrize("name", ["config.json", W, INDEX, "gte-surgery.json", "tokenizer.json", "x.tmp"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path.name)])
def test_special_files_never_make_it_wait(single: Path, name: str, make: Callable[[Path], None]) -> None:
    (single / name).unlink(missing_ok=True)
    make(single / name)
    start = time.monotonic()
    open_checkpoint(single)
    assert time.monotonic() - start < 5


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no undecodable file names")
def test_undecodable_and_newline_bearing_names_are_kept_and_shown_escaped(single: Path) -> None:
    raw = os.path.join(os.fsencode(single), b"bad\xff\nname.tmp")
    with open(raw, "wb"):
        pass
    checkpoint = open_checkpoint(single)
    fault = checkpoint.faults[0]
    assert fault.kind is FaultKind.LEFTOVER
    assert fault.location.file == "bad\\udcff\\nname.tmp"
    assert checkpoint.has(os.fsdecode(b"bad\xff\nname.tmp"))


def test_what_is_taken_away_while_it_is_listed_is_not_there(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (single / "model.safetensors.tmp").write_bytes(b"half")
    (single / "checkpoint-500").mkdir()
    (single / "checkpoint-500" / "trainer_state.json").write_text("{}")
    names = {file.name for file in open_checkpoint(single).files}
    real_scan = os.scandir

    def scan(path: Path) -> object:
        with real_scan(path) as entries:
            found = list(entries)
        for entry in found:
            Path(entry).unlink() if entry.name.endswith(".tmp") else None
            shutil.rmtree(entry) if entry.name == "checkpoint-500" else None
        return nullcontext(found)

    monkeypatch.setattr(os, "scandir", scan)
    checkpoint = open_checkpoint(single)
    assert {file.name for file in checkpoint.files} == names - {
        "model.safetensors.tmp", "checkpoint-500/trainer_state.json",
    }  # fmt: skip
    assert checkpoint.faults == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_a_fault(single: Path) -> None:
    os.chmod(single / W, 0)
    assert only_fault(single).kind is FaultKind.UNREADABLE


def test_a_json_file_that_is_too_large_is_a_fault_and_not_read(single: Path) -> None:
    os.truncate(single / "config.json", files_module.MAX_JSON_BYTES + 1)
    assert only_fault(single).kind is FaultKind.UNREADABLE


def test_a_link_to_the_directory_and_a_single_linked_file_may_be_typed(single: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(single)
    assert open_checkpoint(link).faults == ()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(single / "config.json", elsewhere)
    (elsewhere / "my.safetensors").symlink_to(single / W)
    assert open_checkpoint(elsewhere / "my.safetensors").faults == ()


def test_an_overlay_reads_each_name_from_where_it_is_told(sharded: Path, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    stage.mkdir()
    save_file({"c": np.ones(5, "f2")}, stage / SECOND)
    paths = {name: sharded / name for name in ("config.json", INDEX, FIRST)} | {SECOND: stage / SECOND}
    checkpoint = open_listing(tmp_path / "not yet there", paths)
    assert kinds(checkpoint) == [FaultKind.WRONG_TOTAL_SIZE]
    assert checkpoint.tensors["c"].shape == (5,)
    assert checkpoint.tensors["c"].shard.file.place == LocalFile(stage / SECOND)
    del paths[SECOND]
    assert kinds(open_listing(tmp_path, paths)) == [FaultKind.INDEX_MISSING_FILE]
    paths[SECOND] = stage / "gone"
    assert FaultKind.INDEX_MISSING_FILE in kinds(open_listing(tmp_path, paths))


def test_an_overlay_does_not_meet_the_surgery_that_is_staging_it(single: Path) -> None:
    (single / ".gte-surgery" / "stage").mkdir(parents=True)
    paths = {name: single / name for name in ("config.json", W)}
    assert open_listing(single, paths).faults == ()


def test_a_receipt_that_agrees_is_no_fault(single: Path) -> None:
    shard = open_checkpoint(single).shards[0]
    assert shard.header is not None
    receipt(size=shard.file.size, header=shard.header.digest)(single)
    assert open_checkpoint(single).faults == ()


def test_a_file_that_a_receipt_speaks_of_and_that_is_gone_is_a_mismatch(single: Path) -> None:
    content = {"receipts": [{"written": [{"name": "../x", "size": 3}]}]}
    (single / "gte-surgery.json").write_text(json.dumps(content))
    fault = only_fault(single)
    assert fault.kind is FaultKind.RECEIPT_MISMATCH
    assert "is gone" in fault.message


def test_what_is_taken_away_while_it_is_counted_for_undo_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / SURGERY_FOLDER / KEPT_FOLDER / KEPT_FILES
    kept.mkdir(parents=True)
    (kept / "config.json").write_bytes(b"{}")
    assert kept_for_undo(tmp_path) == (1, 2)
    monkeypatch.setattr(os, "walk", lambda top: [(top, [], ["config.json", "gone"])])
    assert kept_for_undo(tmp_path) == (1, 2)
