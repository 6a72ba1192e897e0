"""A scan gives the same in any number of processes, on a Ray cluster, and when a worker is killed; in flat memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gte_surgery import child
from gte_surgery.contract.scan import local, process
from gte_surgery.contract.scan.corpus import CorpusReport, scan
from gte_surgery.contract.scan.portions import Portion
from gte_surgery.contract.scan.summary import Summary
from gte_surgery.contract.scan.work import Request
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import RefusedError
from tests.corpora import plain

CONTRACT = IdContract(vocab_size=1000, pad_token_id=1, type_vocab_size=1, max_length=64)


def write(folder: Path, rows: int, files: int = 3, group: int = 250) -> Path:
    """Parquet files of random right-padded rows of 32, with a few faults in each."""
    draw = np.random.default_rng(0)
    for number in range(files):
        ids = draw.integers(2, 1000, (rows, 32))
        mask = np.arange(32) < draw.integers(1, 33, (rows, 1))
        ids[~mask] = 1
        ids[rows // 2, 0], mask[rows // 3, 0] = 1000 + number, False
        columns = {"input_ids": ids, "attention_mask": mask.astype(np.int8)}
        arrays = {
            name: pa.ListArray.from_arrays(np.arange(0, rows * 32 + 1, 32, np.int32), values.ravel())
            for name, values in columns.items()
        }
        pq.write_table(pa.table(arrays), folder / f"{number}.parquet", row_group_size=group)
    return folder


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row group is a portion of its own, here where portions are planned."""
    monkeypatch.setattr("gte_surgery.contract.scan.portions.PORTION", 1)


@pytest.fixture
def only_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every corpus is large enough for several processes, and every row group there a portion of its own."""
    process.end_waiting()
    monkeypatch.setattr(local, "_WORTH", 1)
    small = "from gte_surgery.contract.scan import portions; portions.PORTION = 1; main("
    monkeypatch.setattr(child, "BOOT", child.BOOT.replace("main(", small))
    yield
    process.end_waiting()


def seen(report: CorpusReport) -> object:
    return plain(report.summary), report.findings, report.files, report.nbytes


@pytest.mark.usefixtures("only_processes")
def test_processes_share_the_work_and_see_the_same(tmp_path: Path) -> None:
    write(tmp_path, 1000)
    told: list[tuple[int, int, int]] = []
    alone = scan(CONTRACT, tmp_path, counts=True, workers=0)
    shared = scan(CONTRACT, tmp_path, counts=True, workers=2, progress=lambda *now: told.append(now))
    assert seen(shared) == seen(alone)
    assert len(alone.findings) == 6
    assert len(told) == 12
    assert told[-1][0] == told[-1][1]
    assert told[-1][2] == alone.summary.tokens


@pytest.mark.parametrize(("limit", "rows"), [(1, 1), (250, 250), (1300, 1300), (99999, 3000)])
@pytest.mark.usefixtures("only_processes")
def test_a_limit_is_of_rows_in_all(limit: int, rows: int, tmp_path: Path) -> None:
    write(tmp_path, 1000)
    report = scan(CONTRACT, tmp_path, limit=limit)
    assert report.summary.rows == rows
    assert seen(scan(CONTRACT, tmp_path, limit=limit, workers=2)) == seen(report)


def test_a_limit_ends_within_lines(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"input_ids": [0, 5]}\n' * 10)
    assert scan(CONTRACT, tmp_path, limit=13).summary.rows == 13


PEAK = """
import re, sys
from pathlib import Path
from gte_surgery.contract.scan.corpus import scan
from gte_surgery.contract.spec import IdContract
contract = IdContract(vocab_size=1000, pad_token_id=1, type_vocab_size=1, max_length=64)
assert scan(contract, sys.argv[1], workers=0).summary.rows == int(sys.argv[2])
print(re.search(r"VmHWM:\\s*([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""
"""Prints its own peak; ru_maxrss of a child may be its parent's, from before the exec."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to tell the peak")
def test_ten_times_the_rows_take_no_more_memory(tmp_path: Path) -> None:
    original = write(tmp_path, 200_000, files=1, group=50_000) / "0.parquet"
    peaks = []
    for copies in (2, 20):
        folder = tmp_path / str(copies)
        folder.mkdir()
        for number in range(copies):
            (folder / f"{number}.parquet").hardlink_to(original)
        ran = subprocess.run(
            [sys.executable, "-c", PEAK, str(folder), str(copies * 200_000)], capture_output=True, text=True, check=True
        )
        peaks.append(int(ran.stdout))
    assert peaks[1] < 1.2 * peaks[0], peaks


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """A node of a Ray cluster, in a session of its own so that it can be ended with all that it starts."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--node-ip-address=127.0.0.1", "--num-cpus=1"]
    return subprocess.Popen(
        [*command, f"--object-store-memory={80 << 20}", "--block", *arguments],
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def members(session: int) -> list[int]:
    """The processes of a session, by /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.append(int(entry.parent.name))
    return found


def stop(node: subprocess.Popen[bytes]) -> None:
    for member in members(node.pid):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    node.wait(30)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A head and a worker on loopback, each with one processor; the address."""
    pytest.importorskip("ray", reason="needs ray: pip install 'gte-surgery[ray]'")
    port = free_port()
    address = f"127.0.0.1:{port}"
    with TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # its sockets need a short path
        nodes = [start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")]
        try:
            wait_for_listener(port)
            nodes.append(start(f"--address={address}"))
            subprocess.run([sys.executable, "-c", WAIT, address], check=True, capture_output=True, timeout=60)
            yield address
        finally:
            for node in reversed(nodes):
                stop(node)


WAIT = """
import ray, sys, time
ray.init(address=sys.argv[1], log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.1)
"""
"""Returns when the cluster has two nodes."""


def wait_for_listener(port: int) -> None:
    for _ in range(300):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens on port {port}")


ON_RAY = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")


@pytest.mark.slow
@ON_RAY
@pytest.mark.parametrize("task", [1, 50_000])
def test_ray_gives_what_this_machine_gives(
    task: int, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gte_surgery.contract.scan import on_ray as tasks

    monkeypatch.setattr(tasks, "_TASK", task)
    write(tmp_path, 1000)
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    told: list[tuple[int, int, int]] = []
    on_ray = scan(
        CONTRACT, tmp_path, counts=True, runner="ray", address=cluster, progress=lambda *now: told.append(now)
    )
    assert seen(on_ray) == seen(scan(CONTRACT, tmp_path, counts=True))
    assert len(told) == 3
    assert told[-1][2] == on_ray.summary.tokens
    limited = scan(CONTRACT, tmp_path, limit=1300, runner="ray", address=cluster)
    assert seen(limited) == seen(scan(CONTRACT, tmp_path, limit=1300))


@pytest.mark.slow
@ON_RAY
def test_a_killed_worker_is_replaced_and_the_result_the_same(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gte_surgery.contract.scan import on_ray

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write(corpus, 400, files=8)
    mark = str(tmp_path / "killed")
    judge = on_ray._scan

    def dying(request: Request, portions: Sequence[Portion]) -> tuple[list[int], Summary]:
        if portions[0].source.order == 3:
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return judge(request, portions)
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(request, portions)

    monkeypatch.setattr(on_ray, "_scan", dying)
    monkeypatch.setattr(on_ray, "_TASK", 1)
    report = scan(CONTRACT, corpus, runner="ray", address=cluster)
    assert os.path.exists(mark)
    assert seen(report) == seen(scan(CONTRACT, corpus))


@pytest.mark.slow
@ON_RAY
def test_a_node_with_another_version_is_refused(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 10)
    monkeypatch.setattr("gte_surgery.contract.scan.corpus.Request", partial(Request, version="0.0.1"))
    with pytest.raises(RefusedError, match=r"must be the caller's 0\.0\.1"):
        scan(CONTRACT, tmp_path, runner="ray", address=cluster)


@ON_RAY
def test_no_cluster_is_told_with_a_hint() -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'gte-surgery[ray]'")
    from gte_surgery.contract.scan.on_ray import cluster

    with pytest.raises(RefusedError) as caught, cluster(f"127.0.0.1:{free_port()}"):
        pass
    assert "ray start --head" in caught.value.hint
