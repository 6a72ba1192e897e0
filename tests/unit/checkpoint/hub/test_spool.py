"""Ranges that arrive go where they belong, if nothing else needs them, and nothing goes into a file that is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from gte_surgery.checkpoint.hub import spool as module
from gte_surgery.checkpoint.hub.reading import OpenedRemote
from gte_surgery.checkpoint.hub.spool import Crew, Landing, Spool
from gte_surgery.checkpoint.hub.transfer import Remote
from gte_surgery.errors import FetchError
from gte_surgery.surgery.commit.filesystem import Filesystem, Writing

CONTENT = bytes(range(256)) * 16
REMOTE = Remote("org/name", "0" * 40, "model.safetensors", len(CONTENT), "etag")


class Hub:
    """Gives the content in chunks of 100 bytes, once it may."""

    def __init__(self) -> None:
        self.stop, self.may_go = Event(), Event()
        self.asked: list[tuple[int, int]] = []

    def chunks(self, remote: Remote, begin: int, end: int) -> Iterator[bytes]:
        assert self.may_go.wait(20)
        self.asked.append((begin, end))
        for first in range(begin, end, 100):
            yield CONTENT[first : min(first + 100, end)]


class Supply:
    """A snapshot of one file and its spool."""

    def __init__(self, folder: Path) -> None:
        self.hub: Any = Hub()
        self.crew = Crew(2)
        self.one = Spool(self.hub, REMOTE, folder, self.crew)

    def spool(self, remote: Remote) -> Spool:
        return self.one

    def block(self, remote: Remote, begin: int, end: int) -> tuple[int, bytes]:
        return begin, b"".join(self.hub.chunks(remote, begin, end))


@pytest.fixture
def supply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supply]:
    monkeypatch.setattr("gte_surgery.checkpoint.hub.coalesce.LONGEST", 1000)
    monkeypatch.setattr(module, "_TELLING", 150)
    supply = Supply(tmp_path)
    yield supply
    supply.hub.may_go.set()
    supply.crew.close()
    supply.one.close()


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[Writing]:
    filesystem = Filesystem()
    descriptor = filesystem.create(tmp_path / "out")
    yield Writing(filesystem, descriptor)
    filesystem.close(descriptor)


def test_what_arrives_is_written_where_it_belongs_and_not_into_the_spool(
    supply: Supply, writing: Writing, tmp_path: Path
) -> None:
    opened: Any = OpenedRemote(supply, REMOTE)  # type: ignore[arg-type]
    writing.write(b"head")
    opened.land(100, 1500, writing, 4)
    opened.land(1600, 400, writing, 1504 + 3)
    supply.one.add([(100, 1600), (1600, 2000), (3000, 3100)])
    supply.hub.may_go.set()
    opened.copy(100, 700, writing)
    opened.copy(800, 800, writing)
    writing.write(b"mid")
    opened.copy(1600, 400, writing)
    opened.copy(3000, 100, writing)
    opened.withdraw(writing)
    assert (tmp_path / "out").read_bytes() == b"head" + CONTENT[100:1600] + b"mid" + CONTENT[1600:2000] + CONTENT[
        3000:3100
    ]
    kept = supply.one._file
    kept.seek(0)
    assert kept.read(3000) == bytes(3000)
    assert opened.read(200, 50) == CONTENT[200:250]  # what landed elsewhere is fetched anew
    assert len(supply.hub.asked) == 3 + 1


@pytest.mark.parametrize("ranges", [[(0, 900), (500, 700)], [(0, 900), (0, 900)], [(0, 950)]])
def test_what_others_need_too_and_a_request_of_which_a_part_belongs_elsewhere_is_spooled(
    ranges: list[tuple[int, int]], supply: Supply, writing: Writing, tmp_path: Path
) -> None:
    opened: Any = OpenedRemote(supply, REMOTE)  # type: ignore[arg-type]
    supply.one.add(ranges)
    opened.land(0, 900, writing, 0)
    supply.hub.may_go.set()
    opened.copy(0, 900, writing)
    assert (tmp_path / "out").read_bytes() == CONTENT[:900] == opened.read(0, 900)
    assert len(supply.hub.asked) == 1


def test_nothing_is_put_into_a_file_that_was_withdrawn(supply: Supply, writing: Writing, tmp_path: Path) -> None:
    spool = supply.one
    spool.land(Landing(0, 900, writing, 0))
    spool.add([(0, 900)])
    while 0 not in spool._landed:
        supply.hub.stop.wait(0.01)
    spool.withdraw(writing)
    supply.hub.may_go.set()
    with pytest.raises(FetchError, match="given up"):
        spool.wait(0, 900)
    assert (tmp_path / "out").read_bytes() == b""


def test_bytes_are_not_taken_as_appended_at_another_place(writing: Writing) -> None:
    writing.write(b"head")
    with pytest.raises(OSError, match="not at byte 3"):
        writing.skip(3, 1)
