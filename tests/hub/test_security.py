"""A hub and its repositories are not trusted: tokens stay at the endpoint, names stay in their folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gte_surgery import open_checkpoint, resize
from gte_surgery.checkpoint.hub.address import Address, address_of
from gte_surgery.errors import CheckpointError, FetchError, UsageError
from tests.builder import build
from tests.hub.stand_in import StandIn, Trouble

ADDRESS = "hf://org/name"


def test_the_token_goes_to_the_endpoint_alone(tmp_path: Path, hub: StandIn) -> None:
    hub.redirects = True
    hub.publish("org/name", build(tmp_path / "local"))
    resize(ADDRESS, vocab=100, pad=0, out=tmp_path / "out")
    hosts = {(asked.host.partition(":")[0], asked.has_token) for asked in hub.asked}
    assert hosts == {("127.0.0.1", True), ("localhost", False)}


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", ""])
def test_a_redirect_to_something_else_is_not_followed(tmp_path: Path, hub: StandIn, location: str) -> None:
    hub.publish("org/name", build(tmp_path / "local"))
    hub.redirects = True
    hub.trouble = lambda asked: Trouble(headers={"Location": location})
    with pytest.raises(FetchError, match="which is not followed"):
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
