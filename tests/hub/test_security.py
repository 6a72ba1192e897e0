"""A hub and its repositories are not trusted: tokens stay at the endpoint, names stay in their folder."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path
from urllib.parse import unquote

import pytest
from huggingface_hub import constants, scan_cache_dir

from gte_surgery import open_checkpoint, resize
from gte_surgery.checkpoint.hub import transfer
from gte_surgery.checkpoint.hub.address import Address, address_of
from gte_surgery.checkpoint.hub.snapshot import downloaded
from gte_surgery.errors import CheckpointError, FetchError, UsageError
from tests.builder import build
from tests.hub.stand_in import Asked, StandIn, Trouble, _Answer

ADDRESS = "hf://org/name"


def test_the_token_goes_to_the_endpoint_alone(tmp_path: Path, hub: StandIn) -> None:
    hub.redirects = True
    hub.publish("org/name", build(tmp_path / "local"))
    resize(ADDRESS, vocab=100, pad=0, out=tmp_path / "out")
    hosts = {(asked.host.partition(":")[0], asked.has_token) for asked in hub.asked}
    assert hosts == {("127.0.0.1", True), ("localhost", False)}


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "", "http://[bad", "x:" + "y" * 60_000]
)
def test_a_redirect_to_something_else_is_not_followed(tmp_path: Path, hub: StandIn, location: str) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    hub.redirects = True
    hub.trouble = lambda asked: Trouble(headers={"Location": location})
    with pytest.raises(FetchError, match="which is not followed") as caught:
        open_checkpoint(ADDRESS)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("location", [f"http://{'x' * 70}.localhost/", f"http://localhost/{'x' * 70_000}"])
def test_a_redirect_to_what_is_no_address_is_refused(
    tmp_path: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *others, **named: host.encode("idna") and resolve(host, *others, **named)
    )
    hub.publish("org/name", build(tmp_path / "local"))
    hub.redirects = True
    hub.trouble = lambda asked: Trouble(headers={"Location": location})
    with pytest.raises(FetchError, match=r"URL too long|label empty or too long"):
        open_checkpoint(ADDRESS)


def test_redirects_come_to_an_end(tmp_path: Path, hub: StandIn) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    hub.redirects = True
    hub.trouble = lambda asked: Trouble(headers={"Location": hub.url + asked.path})
    with pytest.raises(FetchError, match="redirected more than 5 times"):
        open_checkpoint(ADDRESS)


@pytest.mark.parametrize(
    "name",
    ["../outside", "a/../../outside", "/etc/passwd", "a//b", "a\\b", "C:x", "./a", ".gte-surgery/journal.json",
     "config.json/below", "config.json", "x" * 300],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, hub: StandIn, name: str) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    hub.extra_names = [name]
    with pytest.raises(FetchError, match=r"which no checkpoint has|lists a file twice"):
        open_checkpoint(ADDRESS)


def test_a_repository_of_very_many_files_is_refused(tmp_path: Path, hub: StandIn) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    hub.extra_names = [f"{number}.txt" for number in range(10_001)]
    with pytest.raises(FetchError, match="at most 10000 are looked at"):
        open_checkpoint(ADDRESS)


@pytest.mark.parametrize("name", ["a\ud800.json", "\udcff", "d/" * 1_000_000 + "x", "y/" * 40 + "x"])
def test_names_that_no_disk_takes_are_refused_at_once(tmp_path: Path, hub: StandIn, name: str) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    hub.extra_names = [name]
    with pytest.raises(FetchError, match="which no checkpoint has"):
        open_checkpoint(ADDRESS)


def said(value: object) -> bytes:
    return json.dumps(value).encode()


def without_end() -> Iterator[bytes]:
    while True:
        yield b" " * (1 << 20)


def dripping() -> Iterator[bytes]:
    while True:
        yield b" "
        time.sleep(0.02)


COMMIT = "0" * 40
SAYINGS: dict[str, Callable[[], Iterator[bytes]]] = {
    "without end": without_end,
    "dripping": dripping,
    "arrays 100,000 deep": lambda: iter([b"[" * 100_000]),
    "objects 100,000 deep": lambda: iter([b'{"a":' * 100_000]),
    "a million values": lambda: iter([said({"sha": COMMIT, "siblings": [], "x": [0] * 1_000_000})]),
    "a number of 5,000 digits": lambda: iter([b'{"sha":"' + b"0" * 40 + b'","x":' + b"9" * 5000 + b"}"]),
    "no text": lambda: iter([b"\xff"]),
    **{
        f"commit {sha!r:.12}": partial(lambda sha: iter([said({"sha": sha, "siblings": []})]), sha)
        for sha in ("../../../etc", "\ud800" * 40, "main", "\x1b[2J", "A" * 40, None, ["0"] * 40, "0" * 40 + "\n")
    },
}


@pytest.mark.parametrize("name", SAYINGS)
def test_whatever_a_hub_says_of_a_model_is_refused_in_bounds(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(transfer, "_PERIOD", 0.3)
    hub.says = SAYINGS[name]
    with pytest.raises(FetchError) as caught:
        open_checkpoint(ADDRESS)
    assert len(str(caught.value)) < 1000
    assert sum(asked.sent for asked in hub.asked) < 48 << 20


def test_what_a_hub_says_is_not_unpacked(hub: StandIn) -> None:
    hub.says = lambda: iter([gzip.compress(b" " * (1 << 24))])
    hub.trouble = lambda asked: Trouble(headers={"Content-Encoding": "gzip"})
    with pytest.raises(FetchError, match="the answer is compressed, which was not asked for"):
        open_checkpoint(ADDRESS)


def test_a_refusal_is_not_read(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Answer, "_commit", lambda *_: None)
    monkeypatch.setattr(_Answer, "_send", partialmethod(send_deep, _Answer._send))
    with pytest.raises(FetchError, match="no such repository"):
        open_checkpoint(ADDRESS)


def send_deep(answer: _Answer, send: Callable[..., None], asked: Asked, status: int, *others: object) -> None:
    headers, _ = others
    send(answer, asked, status, headers, b'{"error":' + b"[" * 100_000)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes {'0' * 5000}-1/2"},
        {"Content-Range": "bytes \u0660-1/2".encode().decode("latin-1")},
        {"ETag": "y" * 60_000},
        {"X-Repo-Commit": "y" * 60_000},
    ],
)
def test_a_hostile_header_is_refused_in_few_words(tmp_path: Path, hub: StandIn, headers: dict[str, str]) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    hub.trouble = lambda asked: Trouble(headers=headers)
    with pytest.raises(FetchError) as caught:
        open_checkpoint(ADDRESS)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("place", ["/api/", "/resolve/"])
def test_a_head_that_drips_is_not_waited_for_without_end(
    tmp_path: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    for name in ("_PERIOD", "_LOOK"):
        monkeypatch.setattr(transfer, name, 0.1)
    hub.publish("org/name", build(tmp_path / "local"))
    hub.trouble = lambda asked: Trouble(drips_head=place in asked.path)
    with pytest.raises(FetchError, match="no answer began in"):
        open_checkpoint(ADDRESS)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hf://org/name", Address("org/name")),
        ("hf://org/name/", Address("org/name")),
        ("hf://Alibaba-NLP/gte-v1.5@main", Address("Alibaba-NLP/gte-v1.5", "main")),
        ("hf://org/name@refs/pr/3/sub/folder", Address("org/name", "refs/pr/3", "sub/folder")),
        ("hf://org/name@a%2Fb/sub", Address("org/name", "a/b", "sub")),
    ],
)
def test_addresses_are_read_and_written(text: str, meant: Address) -> None:
    assert address_of(text) == address_of(Path(text)) == meant
    assert address_of(str(meant)) == meant


def test_a_path_is_no_address(tmp_path: Path) -> None:
    assert address_of(tmp_path) is None
    assert address_of("org/name") is None
    assert address_of("hf:org/name") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hf://datasets/org/name", "is a dataset, wanted a model"),
        ("hf://spaces/org/name", "is a space, wanted a model"),
        ("hf://buckets/org/name", "is a bucket, wanted a model"),
        ("hf://models/org/name", "models need no prefix"),
        ("hf://name", "is no address of a model"),
        ("hf://", "is no address of a model"),
        ("hf://org/name/../x", "is no address of a model"),
        ("hf://org/name@", "is no address of a model"),
        ("hf://org/na\nme", "is no address of a model"),
        ("hf://-org/name", "is no address of a model"),
    ],
)
def test_what_is_no_model_is_refused_with_words(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        address_of(text)


def test_a_hub_id_typed_as_a_path_is_offered_as_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint("org/name")
    assert caught.value.meant == ADDRESS
    snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / "0123"
    build(snapshot)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint("org/name")
    assert caught.value.meant == ADDRESS
    assert str(snapshot) in caught.value.hint


def test_the_hint_for_a_hub_id_works_when_it_is_pasted(tmp_path: Path, hub: StandIn) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "PYTHONPATH": os.getcwd()}
    words = [sys.executable, "-m", "gte_surgery", "check"]
    typed = subprocess.run([*words, "org/name"], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (typed.returncode, "`gte-surgery check hf://org/name`" in typed.stderr) == (3, True)
    assert hub.asked == []
    pasted = subprocess.run([*words, ADDRESS], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert pasted.returncode == 0, pasted.stderr


def test_a_download_asks_for_nothing_but_what_the_model_is_and_the_ranges_of_its_files(
    tmp_path: Path, hub: StandIn
) -> None:
    """huggingface_hub asks for more by itself, and reads the answers without a bound."""
    local = build(tmp_path / "local")
    (local / "1_Pooling").mkdir()
    (local / "1_Pooling" / "config.json").write_text("{}")
    hub.publish("org/name", local)
    hub.redirects = True
    snapshot = open_checkpoint(ADDRESS).snapshot
    assert snapshot is not None
    place = snapshot.download()
    names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    assert names == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    assert all((place / name).read_bytes() == (local / name).read_bytes() for name in names)
    assert all((place / name).is_symlink() for name in names)
    assert {asked.method for asked in hub.asked} == {"GET"}
    assert [asked.path for asked in hub.asked if "/api/" in asked.path] == ["/api/models/org/name?blobs=true"]
    assert all(asked.range for asked in hub.asked if "/api/" not in asked.path)
    hub.forget()
    assert constants.HF_HUB_CACHE in str(place)
    assert open_checkpoint(ADDRESS).snapshot.download() == place  # type: ignore[union-attr]
    assert len(hub.asked) == 1
    assert not [*Path(constants.HF_HUB_CACHE).rglob("*.incomplete")]


@pytest.mark.parametrize("branch", ["", "@refs/pr/1", "@..%2F..%2Fx"])
def test_the_cache_notes_which_commit_a_branch_was_so_that_the_address_holds_without_a_hub(
    tmp_path: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch, branch: str
) -> None:
    """`hf cache prune` deletes what nothing refers to."""
    name = unquote(branch.lstrip("@")) or "main"
    local = build(tmp_path / "local")
    hub.publish("org/name", local, name)
    first, _ = downloaded(Address("org/name", name if branch else ""))
    json_of = json.loads((local / "config.json").read_text())
    (local / "config.json").write_text(json.dumps(json_of | {"made": 1}))
    hub.publish("org/name", local, name)
    place, pinned = downloaded(Address("org/name", name if branch else ""))
    assert place != first
    [cached] = scan_cache_dir(constants.HF_HUB_CACHE).repos
    noted = {each.commit_hash: set(each.refs) for each in cached.revisions}
    assert noted == {first.name: set(), place.name: set() if ".." in name else {name}}
    assert {each.name for each in cached.repo_path.parent.iterdir()} == {cached.repo_path.name}
    hub.forget()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    if ".." not in name:
        assert downloaded(Address("org/name", name if branch else "")) == (place, pinned)
    assert hub.asked == []


def test_ranks_that_download_the_same_at_once_all_have_it(tmp_path: Path, hub: StandIn) -> None:
    local = build(tmp_path / "local")
    for number in range(60):
        (local / f"{number}.json").write_text(str(number))
    hub.publish("org/name", local)
    with ThreadPoolExecutor(8) as ranks:
        places = {each.result() for each in [ranks.submit(downloaded, Address("org/name")) for _ in range(8)]}
    ((place, _),) = places
    assert all((place / path.name).read_bytes() == path.read_bytes() for path in local.iterdir())
    assert not [*Path(constants.HF_HUB_CACHE).rglob("*.incomplete")]


@pytest.mark.parametrize("trouble", [Trouble(flips=True), Trouble(headers={"Content-Range": "bytes 0-9/99"})])
def test_a_download_that_is_not_what_was_listed_leaves_nothing(tmp_path: Path, hub: StandIn, trouble: Trouble) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    snapshot = open_checkpoint(ADDRESS).snapshot
    assert snapshot is not None
    hub.trouble = lambda asked: trouble if asked.path.endswith(".safetensors") else None
    with pytest.raises(FetchError):
        snapshot.download()
    left = [path for path in Path(constants.HF_HUB_CACHE).rglob("*") if not path.is_dir()]
    assert {path.name for path in left if path.is_symlink()} == {"config.json"}
    assert sorted(path.parent.name for path in left) == sorted(["blobs", "refs", snapshot.commit])


@pytest.mark.parametrize("etag", ["../../../x", "abc", "A" * 40])
def test_an_etag_that_names_no_content_is_no_name_of_a_file(
    tmp_path: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch, etag: str
) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    snapshot = open_checkpoint(ADDRESS).snapshot
    assert snapshot is not None
    snapshot._remotes = {name: replace(remote, etag=etag) for name, remote in snapshot._remotes.items()}
    with pytest.raises(FetchError, match="which names no content"):
        snapshot.download()
