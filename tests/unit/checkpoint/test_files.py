"""What is told of the reading of files."""

from __future__ import annotations

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gte_surgery.checkpoint.files import adding_up, entry_of, read_json
from gte_surgery.errors import CheckpointError


class SlowlyAdded(int):
    """A number at whose adding another thread gets its turn."""

    def __radd__(self, other: int) -> int:
        time.sleep(0.001)
        return int(other) + int(self)


def test_what_several_threads_have_read_is_added_up_and_told_in_order() -> None:
    told: list[tuple[int, int]] = []
    advance = adding_up(lambda done, total: told.append((done, total)), 160)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(advance, [SlowlyAdded(1)] * 160))
    assert told == [(done, 160) for done in range(1, 161)]


def test_a_file_that_cannot_be_opened_is_told_by_its_name_in_the_checkpoint(tmp_path: Path) -> None:
    file = entry_of("1_Pooling/config.json", tmp_path)
    with pytest.raises(CheckpointError, match=r"^1_Pooling/config\.json: not a regular file$"):
        read_json(file)


def test_a_file_that_cannot_be_read_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "any"
    path.write_bytes(b"{}")

    def failing(descriptor: int, count: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(CheckpointError, match=r"^1_Pooling/config\.json: cannot read: input/output error$"):
        read_json(entry_of("1_Pooling/config.json", path))
