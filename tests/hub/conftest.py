"""A stand-in hub for each test that asks for one, and huggingface_hub itself configured to ask it and no other."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from gte_surgery.checkpoint.hub import transfer
from tests.hub.stand_in import StandIn, serving


@pytest.fixture(autouse=True)
def _no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here ever asks for a host that is not this one."""
    resolve = socket.getaddrinfo

    def only_here(host: object, *others: object, **named: object) -> object:
        assert host in ("127.0.0.1", "localhost", b"127.0.0.1", b"localhost", ""), f"asked for {host!r}"
        return resolve(host, *others, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", only_here)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """An empty hub; the waits between two attempts are short."""
    with serving() as stand_in:
        configure(stand_in, tmp_path / "cache", monkeypatch)
        yield stand_in
        huggingface_hub.close_session()


def configure(stand_in: StandIn, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT, HF_HUB_CACHE, HF_TOKEN and HF_HUB_DISABLE_TELEMETRY do, which are read at the first import."""
    monkeypatch.setattr(constants, "ENDPOINT", stand_in.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", stand_in.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setenv("HF_TOKEN", "hf_a_token_of_nobody")
    monkeypatch.setattr(transfer, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(transfer, "LONGEST_WAIT", 0.01)
