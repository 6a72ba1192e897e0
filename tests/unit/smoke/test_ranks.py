"""Two processes on a CPU train as one would, and are found out when they do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.checkpoint.directory import open_checkpoint  # noqa: E402
from gte_surgery.smoke.batches import Ids, make_batch  # noqa: E402
from gte_surgery.smoke.ledger import Ledger  # noqa: E402
from gte_surgery.smoke.ranks import World, prove_ranks, world  # noqa: E402
from gte_surgery.smoke.training import Objective, training_tensors  # noqa: E402

IDS = Ids(256, 1, 1, 128)


def torchrun(*arguments: str | Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_two_processes_prove_each_and_train_as_one(golden: Path) -> None:
    options = ["--device", "cpu", "--batch", "4", "--max-length", "12", "--train", "2", "--task", "mlm", "--json"]
    ran = torchrun("-m", "gte_surgery", "smoke", golden / "legacy-mlm", *options)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["world_size"] == 2
    assert result["has_passed"]
    held = {(proof["code"], proof["rank"]) for proof in result["proofs"] if proof["outcome"] == "passed"}
    assert held >= {(code, rank) for code in ("GTE510", "GTE560", "GTE561", "GTE562") for rank in (0, 1)}


@pytest.mark.long
def test_processes_that_do_not_share_gradients_are_found_out(golden: Path, tmp_path: Path) -> None:
    script = Path(__file__).parent / "broken_ranks.py"
    ran = torchrun("-m", f"tests.unit.smoke.{script.stem}", golden / "legacy-base", tmp_path / "found")
    assert ran.returncode == 0, ran.stderr
    found = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("found.*"))]
    assert {"GTE560", "GTE561", "GTE562"} <= set(found[0])


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that torchrun makes for a single process."""
    surroundings = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)


def prove(golden: Path, batches: int, here: World) -> Ledger:
    """Train one process on the first of so many batches, as if there were a process for each."""
    from gte_surgery.model.load import load_encoder

    encoder = load_encoder(open_checkpoint(golden / "legacy-base"), "cpu", "float32")
    made = [make_batch(IDS, 4, 12, seed) for seed in range(batches)]
    tensors = [(batch, training_tensors(batch, "embed", IDS, 32, 0)) for batch in made]
    ledger = Ledger()
    prove_ranks(Objective(encoder, "embed", 0), tensors, torch.float32, 1, here, ledger)
    return ledger


@pytest.mark.usefixtures("alone")
def test_one_process_under_torchrun_is_a_world_of_its_own(golden: Path) -> None:
    with world(is_cuda=False) as here:
        assert (here.rank, here.size, here.is_joined) == (0, 1, True)
        assert here.gathered("mine") == ["mine"]
        assert prove(golden, 1, here).findings == []
        assert [finding.code for finding in prove(golden, 2, here).findings] == ["GTE562"]


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with world(is_cuda=False) as here:
        assert here == World()
        assert here.gathered(3) == [3]
