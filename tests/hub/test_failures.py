"""Whatever goes wrong at whichever request: the whole result or nothing, never a mixture, never a wait without end."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gte_surgery import check, open_checkpoint, remap, resize
from gte_surgery.checkpoint.hub import coalesce, reading, transfer
from gte_surgery.errors import FetchError, GteSurgeryError, WriteError
from tests.builder import build, remote_config
from tests.crash.faults import Fault, FaultyFilesystem
from tests.hub.conftest import configure
from tests.hub.stand_in import Asked, StandIn, Trouble, serving

NAME = "org/name"
LIMIT = 60.0
"""Seconds after which a surgery of a few kilobytes counts as hanging, on a machine that does other things too."""


@dataclass(frozen=True)
class World:
    """A hub, the checkpoint that it has, one that its branch may move to, and what surgeries make of the first."""

    hub: StandIn
    folder: Path
    before: Path
    after: Path
    wanted: dict[str, dict[str, bytes]]


SURGERIES = {
    "resize": lambda place, out: resize(place, vocab=100, pad=0, out=out),
    "remap": lambda place, out: remap(place, keep=[0, 5, 250, *range(200, 100, -7)], pad=0, out=out),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    before = build(folder / "before", remote_config(vocab_size=256), shards=2)
    (before / "notes.txt").write_text("carried along")
    after = shutil.copytree(before, folder / "after")
    shard = sorted(after.glob("*.safetensors"))[0]
    content = bytearray(shard.read_bytes())
    content[-64:] = bytes(64)
    shard.write_bytes(content)
    wanted = {}
    for name, surgery in SURGERIES.items():
        surgery(before, folder / f"wanted-{name}")
        wanted[name] = files(folder / f"wanted-{name}")
    with pytest.MonkeyPatch.context() as monkeypatch, serving() as hub:
        configure(hub, folder / "cache", monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        monkeypatch.setattr(coalesce, "LONGEST", 2048)
        monkeypatch.setattr(reading, "HEAD", 512)
        monkeypatch.setattr(transfer, "_PROGRESS", 1024)
        yield World(hub, folder, before, after, wanted)
        huggingface_hub.close_session()


def files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != "gte-surgery.json"}


STATUSES = st.builds(lambda status: Trouble(status=status), st.sampled_from([429, 500, 502, 503, 403, 404, 408, 416]))
CUTS = st.builds(lambda cut: Trouble(cut=cut), st.integers(0, 2100))
LIES = st.sampled_from(
    [
        Trouble(headers={"ETag": '"0123"'}),
        Trouble(headers={"X-Linked-Etag": '"0123"'}),
        Trouble(headers={"X-Repo-Commit": "0" * 40}),
        Trouble(headers={"Content-Range": "bytes 0-9/10"}),
        Trouble(headers={"Content-Range": "nonsense"}),
        Trouble(headers={"Content-Encoding": "gzip"}),
        Trouble(ignores_range=True),
        Trouble(delay=0.01),
    ]
)
MOVES = st.just("the branch moves")


ACCIDENT = st.tuples(
    st.sampled_from(sorted(SURGERIES)),
    st.integers(0, 40),
    st.sampled_from([1, 1, 2, 4, 5, 6, 9, 1000]),
    STATUSES | CUTS | LIES | MOVES,
    st.booleans(),
)
"""A surgery, at which request it begins to go wrong, at how many, what, and whether weights lie on another host."""


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(accident=ACCIDENT)
def test_the_whole_result_or_nothing(world: World, accident: tuple[str, int, int, Trouble | str, bool]) -> None:
    _suffer(world, *accident)


@pytest.mark.long
@settings(deadline=None, max_examples=3000, suppress_health_check=[HealthCheck.too_slow])
@given(accident=ACCIDENT)
def test_the_whole_result_or_nothing_thousands_of_times(
    world: World, accident: tuple[str, int, int, Trouble | str, bool]
) -> None:
    _suffer(world, *accident)


def _suffer(world: World, name: str, at: int, times: int, trouble: Trouble | str, redirects: bool) -> None:
    hub, out = world.hub, world.folder / "out"
    hub.redirects = redirects
    hub.publish(NAME, world.before)
    hub.forget()
    moved = threading.Event()

    def goes_wrong(asked: Asked) -> Trouble | None:
        if not at <= asked.number < at + times:
            return None
        if isinstance(trouble, Trouble):
            return trouble
        if not moved.is_set():
            moved.set()
            hub.publish(NAME, world.after)
        return None

    hub.trouble = goes_wrong
    begun = time.monotonic()
    try:
        SURGERIES[name](f"hf://{NAME}", out)
    except FetchError:
        assert not out.exists()
    else:
        expected = world.wanted[name]
        if moved.is_set() and files(out) != expected:
            SURGERIES[name](world.after, world.folder / "of the other")
            expected = files(world.folder / "of the other")
            shutil.rmtree(world.folder / "of the other")
        assert files(out) == expected
        shutil.rmtree(out)
    finally:
        hub.trouble = lambda asked: None
    assert time.monotonic() - begun < LIMIT
    kept = {"before", "after", "cache", *(f"wanted-{each}" for each in SURGERIES)}
    assert {path.name for path in world.folder.iterdir()} <= kept
    assert not [thread for thread in threading.enumerate() if "gte-surgery" in thread.name]


@pytest.mark.parametrize(
    "trouble", [Trouble(status=503), Trouble(cut=0), Trouble(delay=1.5), Trouble(drips=True)], ids=str
)
def test_what_stays_wrong_ends(world: World, monkeypatch: pytest.MonkeyPatch, trouble: Trouble) -> None:
    monkeypatch.setattr(transfer, "_PERIOD", 0.3)
    hub = world.hub
    hub.redirects = False
    hub.publish(NAME, world.before)
    hub.trouble = lambda asked: trouble if "safetensors" in asked.path else None
    with pytest.raises(FetchError, match="6 times in a row"):
        check(open_checkpoint(f"hf://{NAME}"))
    hub.trouble = lambda asked: None


def test_a_cut_connection_is_resumed_where_it_stopped(world: World) -> None:
    hub = world.hub
    hub.redirects = False
    hub.publish(NAME, world.before)
    hub.forget()
    hub.trouble = lambda asked: Trouble(cut=300) if asked.range == "bytes=0-511" else None
    open_checkpoint(f"hf://{NAME}")
    hub.trouble = lambda asked: None
    shards = [asked.range for asked in hub.asked if asked.path.endswith(".safetensors")]
    assert shards.count("bytes=300-511") == 2


def test_content_that_is_not_what_its_etag_says_is_refused(world: World) -> None:
    hub = world.hub
    hub.publish(NAME, world.before)
    hub.trouble = lambda asked: Trouble(flips=True) if asked.path.endswith("config.json") else None
    with pytest.raises(GteSurgeryError, match="the content is not what its ETag says"):
        open_checkpoint(f"hf://{NAME}")
    hub.trouble = lambda asked: Trouble(flips=True) if asked.path.endswith("notes.txt") else None
    with pytest.raises(FetchError, match="the content is not what its ETag"):
        SURGERIES["resize"](f"hf://{NAME}", world.folder / "out")
    hub.trouble = lambda asked: None
    assert not (world.folder / "out").exists()


@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_disk_that_is_full_where_bytes_arrive_ends_it(world: World, at: int) -> None:
    world.hub.publish(NAME, world.before)
    filesystem = FaultyFilesystem(Fault(at, error=errno.ENOSPC, counted=frozenset({"write_at"})))
    with pytest.raises(WriteError, match="No space left on device; nothing was changed"):
        resize(f"hf://{NAME}", vocab=100, pad=0, out=world.folder / "out", filesystem=filesystem)
    assert filesystem.failed == "write_at"
    assert not (world.folder / "out").exists()


@pytest.mark.parametrize(("status", "told"), [(401, "log in"), (403, "log in"), (404, "no such repository")])
def test_a_refusal_is_not_repeated(world: World, status: int, told: str) -> None:
    hub = world.hub
    hub.forget()
    hub.trouble = lambda asked: Trouble(
        status=status, headers={"X-Error-Code": "RepoNotFound"} if status == 404 else {}
    )
    with pytest.raises(FetchError) as caught:
        open_checkpoint(f"hf://{NAME}")
    hub.trouble = lambda asked: None
    assert told in caught.value.message + caught.value.hint
    assert len(hub.asked) == 1
