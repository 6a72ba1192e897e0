"""What a checkpoint of full size costs on a hub: requests, bytes, time and memory, against a stand-in on loopback."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.full_size import ROWS, make_full_size
from tests.hub.stand_in import StandIn, Trouble, serving

pytestmark = pytest.mark.long

ADDRESS = "hf://org/name"
ROW_BYTES = 2 * 768
MEMORY = 64 << 20
"""Of all that a command takes, Python, numpy, huggingface_hub and its HTTP client among it."""

DOWNLOAD = """
from huggingface_hub import hf_hub_download
hf_hub_download("org/kept", "model.safetensors")
"""

MEASURED = """
import os, sys
process = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(process, 0)
print("peak", usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_size(tmp_path_factory.mktemp("full") / "local")


@pytest.fixture(scope="module")
def hub(local: Path) -> Iterator[StandIn]:
    with serving() as stand_in:
        stand_in.publish("org/name", local)
        weights = local / "model.safetensors"
        kept = weights.stat().st_size - (ROWS - 32_000) * ROW_BYTES
        (local.parent / "kept").mkdir()
        with weights.open("rb") as file, (local.parent / "kept" / weights.name).open("wb") as out:
            shutil.copyfileobj(file, out)
            out.truncate(kept)
        stand_in.publish("org/kept", local.parent / "kept")
        yield stand_in


@pytest.fixture
def environment(hub: StandIn, tmp_path: Path) -> dict[str, str]:
    hub.forget()
    return {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}


def run(environment: dict[str, str], *arguments: object) -> tuple[str, int, float]:
    """Output, peak memory in bytes and seconds of a command that must end well."""
    begun = time.monotonic()
    words = [sys.executable, "-S", "-c", MEASURED, *map(str, arguments)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    output, _, peak = done.stdout.rpartition("peak ")
    return output, int(peak), time.monotonic() - begun


def test_a_check_costs_few_requests_and_less_than_a_megabyte(
    hub: StandIn, environment: dict[str, str], local: Path
) -> None:
    found, peak, _ = run(environment, "-m", "gte_surgery", "check", ADDRESS)
    assert len(hub.asked) <= 8, [asked.path for asked in hub.asked]
    assert hub.sent <= 1_000_000
    assert peak < MEMORY
    wanted, _, _ = run(environment, "-m", "gte_surgery", "check", local)
    (commit,) = hub.commits["org/name"]
    assert found.replace(f"{ADDRESS}@{commit}", str(local)) == wanted


def test_a_shrink_fetches_what_it_keeps(hub: StandIn, environment: dict[str, str], local: Path, tmp_path: Path) -> None:
    options = ("--vocab", 32_000, "--pad", 0, "--tokenizer", "remove", "--out")
    run(environment, "-m", "gte_surgery", "resize", local, *options, tmp_path / "here")
    _, peak, seconds = run(environment, "-m", "gte_surgery", "resize", ADDRESS, *options, tmp_path / "there")
    kept = sum(path.stat().st_size for path in (tmp_path / "here").rglob("*") if path.is_file())
    print(f"shrink: kept {kept}, sent {hub.sent}, {len(hub.asked)} requests, {seconds:.2f} s, peak {peak >> 20} MiB")
    assert hub.sent <= 1.01 * kept + 1_000_000
    assert peak < MEMORY
    for name in ("model.safetensors", "config.json", "modules.json"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_scattered_rows_cost_little_more_than_they_are(
    hub: StandIn, environment: dict[str, str], local: Path, tmp_path: Path
) -> None:
    rows = random.Random(1).sample(range(ROWS), 32_000)
    (tmp_path / "kept.txt").write_text("\n".join(map(str, rows)))
    options = ("--keep", tmp_path / "kept.txt", "--pad", 0, "--tokenizer", "remove", "--out")
    run(environment, "-m", "gte_surgery", "remap", local, *options, tmp_path / "here")
    _, peak, seconds = run(environment, "-m", "gte_surgery", "remap", ADDRESS, *options, tmp_path / "there")
    kept = sum(path.stat().st_size for path in (tmp_path / "here").rglob("*") if path.is_file())
    print(f"remap: kept {kept}, sent {hub.sent}, {len(hub.asked)} requests, {seconds:.2f} s, peak {peak >> 20} MiB")
    assert hub.sent <= 1.3 * kept
    assert peak < MEMORY
    weights = "model.safetensors"
    assert (tmp_path / "there" / weights).read_bytes() == (tmp_path / "here" / weights).read_bytes()


@pytest.mark.parametrize(("rate", "delay"), [(0.0, 0.0), (100e6, 0.02)], ids=["loopback", "network"])
def test_a_shrink_takes_little_longer_than_a_download(
    rate: float,
    delay: float,
    hub: StandIn,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside huggingface_hub's own download of as many bytes, and behind a network of 100 MB/s and 20 ms a request."""
    monkeypatch.setattr(hub, "rate", rate)
    monkeypatch.setattr(hub, "trouble", lambda asked: Trouble(delay=delay))
    options = ("--vocab", 32_000, "--pad", 0, "--tokenizer", "remove", "--out")
    surgeries, downloads = [], []
    for turn in range(3):
        _, _, seconds = run(environment, "-m", "gte_surgery", "resize", ADDRESS, *options, tmp_path / str(turn))
        surgeries.append(seconds)
        there = {**environment, "HF_HOME": str(tmp_path / f"home-{turn}")}
        downloads.append(run(there, "-c", DOWNLOAD)[2])
    print(f"surgeries {surgeries}, downloads {downloads}")
    assert min(surgeries) <= 1.3 * min(downloads)


def test_all_values_are_read_once(hub: StandIn, environment: dict[str, str], local: Path) -> None:
    _, peak, _ = run(environment, "-m", "gte_surgery", "check", ADDRESS, "--values")
    total = sum(path.stat().st_size for path in local.rglob("*") if path.is_file())
    print(f"values: sent {hub.sent} of {total}, {len(hub.asked)} requests, peak {peak >> 20} MiB")
    assert hub.sent <= 1.02 * total
    assert peak < MEMORY
