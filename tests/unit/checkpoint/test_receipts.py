"""The receipt file: read oldest first, refused when it is not one."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checkpoint.faults import FaultKind
from gte_surgery.checkpoint.receipts import RECEIPT_NAME, receipts_of
from gte_surgery.checks.run import run
from gte_surgery.errors import CheckpointError
from tests import builder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return builder.build(tmp_path / "ckpt")


def test_receipts_are_read_oldest_first(root: Path) -> None:
    file = root / RECEIPT_NAME
    file.write_text(
        '{"receipts": [{"time": "1"}, {"time": "2", "written": [{"name": "x", "size": 1, "header": "h"}]}]}'
    )
    assert [receipt["time"] for receipt in receipts_of(open_checkpoint(root))] == ["1", "2"]
    file.write_text('{"receipts": []}')
    assert receipts_of(open_checkpoint(root)) == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{}",
        b'{"receipts": {}}',
        b'{"receipts": [1]}',
        b'{"receipts": [{"written": 1}]}',
        b'{"receipts": [{"written": ["x"]}]}',
        b'{"receipts": [{"written": [{}]}]}',
        b'{"receipts": [{"written": [{"name": "x", "size": true}]}]}',
        b'{"receipts": [{"written": [{"name": "x", "header": 1}]}]}',
        b'{"receipts": [], "receipts": []}',
    ],
)
def test_what_is_no_receipt_file_is_refused(root: Path, raw: bytes) -> None:
    (root / RECEIPT_NAME).write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"^gte-surgery\.json:"):
        receipts_of(open_checkpoint(root))


def test_a_checkpoint_gives_its_receipts_unless_the_file_leads_out(tmp_path: Path) -> None:
    root = tmp_path / "checkpoint"
    root.mkdir()
    (root / "config.json").write_text("{}")
    assert receipts_of(open_checkpoint(root)) == ()
    (root / "gte-surgery.json").write_text('{"receipts": [{"time": "1"}]}')
    assert receipts_of(open_checkpoint(root)) == ({"time": "1"},)
    (root / "gte-surgery.json").rename(tmp_path / "outside.json")
    (root / "gte-surgery.json").symlink_to(tmp_path / "outside.json")
    with pytest.raises(CheckpointError):
        receipts_of(open_checkpoint(root))


def test_what_a_receipt_names_is_not_read_for_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand records of one sparse file with a header of 100 MB, and of itself: each file is read once."""
    read: Counter[str] = Counter()
    real = os.pread

    def counted(descriptor: int, count: int, offset: int) -> bytes:
        found = real(descriptor, count, offset)
        read[os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))] += len(found)
        return found

    (root / "other.safetensors").write_bytes((100_000_000).to_bytes(8, "little") + b"{")
    os.truncate(root / "other.safetensors", 100_000_008)
    names = ["other.safetensors", RECEIPT_NAME] * 5_000
    (root / RECEIPT_NAME).write_text(
        json.dumps({"receipts": [{"written": [{"name": n, "header": "x"} for n in names]}]})
    )
    monkeypatch.setattr(os, "pread", counted)
    run(open_checkpoint(root))
    assert read["other.safetensors"] <= 1 << 16
    for path in root.iterdir():
        assert read[path.name] <= 2 * path.stat().st_size, path.name
    assert sum(read.values()) <= 2 * sum(
        path.stat().st_size for path in root.iterdir() if path.name != "other.safetensors"
    )


def test_a_thousand_faults_of_a_receipt_are_told_and_the_rest_counted(root: Path) -> None:
    written = [{"name": f"gone-{number}", "size": 1} for number in range(3_000)]
    (root / RECEIPT_NAME).write_text(json.dumps({"receipts": [{"written": written}]}))
    faults = [f for f in open_checkpoint(root).faults if f.kind is FaultKind.RECEIPT_MISMATCH]
    assert len(faults) == 1_000
    assert faults[-1].message.endswith("(and 2000 more such)")


def test_a_huge_file_that_only_a_receipt_names_is_not_hashed(root: Path) -> None:
    (root / "big.dat").touch()
    os.truncate(root / "big.dat", 8 << 40)
    record = {"name": "big.dat", "size": 8 << 40, "sha256": "0"}
    (root / RECEIPT_NAME).write_text(json.dumps({"receipts": [{"written": [record]}]}))
    found = [finding for finding in run(open_checkpoint(root), values=True).findings if finding.code == "GTE065"]
    assert [finding.location.file for finding in found] == ["big.dat"]
    assert "not hashed" in found[0].message
