"""The receipt file: read oldest first, refused when it is not one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checkpoint.receipts import read_receipts, receipts_of
from gte_surgery.errors import CheckpointError


def test_receipts_are_read_oldest_first() -> None:
    raw = b'{"receipts": [{"time": "1"}, {"time": "2", "written": [{"name": "x", "size": 1, "header": "h"}]}]}'
    assert [receipt["time"] for receipt in read_receipts(raw, "gte-surgery.json")] == ["1", "2"]
    assert read_receipts(b'{"receipts": []}', "gte-surgery.json") == ()


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
def test_what_is_no_receipt_file_is_refused(raw: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"^gte-surgery\.json:"):
        read_receipts(raw, "gte-surgery.json")


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
