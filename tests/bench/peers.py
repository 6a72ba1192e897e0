"""The tools that others wrote for parts of our job, in an environment of their own: build/peers (`bin/bench --peers`).

The environment sees this one's packages, so all run on the same torch, transformers and safetensors; only what a
peer needs besides is fetched. What cannot be installed, or cannot do the job, is told in the tool's own words.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import run
from tests.bench.results import Reason

BRAINSURGERY = "brainsurgery"
MERGEKIT = "mergekit-tokensurgeon"
VERSIONS = {BRAINSURGERY: "0.2.11", MERGEKIT: "0.1.5"}
INSTALLS = {
    BRAINSURGERY: (
        ("omegaconf", "pyaml", "rich", "typer"),
        ("--no-deps", "--ignore-requires-python", f"brainsurgery=={VERSIONS[BRAINSURGERY]}"),
    ),
    MERGEKIT: ((f"mergekit=={VERSIONS[MERGEKIT]}",),),
}
"""What pip is told. brainsurgery asks for Python 3.12 but runs on older; 0.2.12 and later need 3.13."""

WITHOUT_313 = """
import runpy, sys, threading

class Lock:
    \"\"\"threading.Lock was a function before Python 3.13; the tool writes `Lock | None` where that is evaluated.\"\"\"
    def __call__(self):
        return make()
    def __or__(self, other):
        return object

make = threading.Lock
if sys.version_info < (3, 13):
    threading.Lock = Lock()
import brainsurgery
threading.Lock = make
sys.argv[0] = "brainsurgery"
sys.exit(brainsurgery.main())
"""


def make_environment(folder: Path) -> dict[str, str]:
    """Makes `folder` an environment with the peers that it lacks; gives what pip said about each that failed."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        (site_packages(folder) / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    failed = {}
    for name, steps in INSTALLS.items():
        for wanted in steps if not (folder / "bin" / name).exists() else ():
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
            tried = subprocess.run(install, capture_output=True, text=True, check=False)
            if tried.returncode:
                failed[name] = f"cannot be installed: {_complaint(tried.stderr)}"
    return failed


def _complaint(told: str) -> str:
    """The last line of pip's that says what is wrong."""
    lines = [line.strip() for line in told.splitlines() if "error" in line.lower()]
    return lines[-1] if lines else "pip says nothing"


def site_packages(folder: Path) -> Path:
    """Where an environment at `folder` keeps its packages."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))


def brainsurgery(folder: Path, plan: Path) -> tuple[str, ...]:
    """The command that carries out a plan; its own code, on whatever Python we have."""
    return (str(folder / "bin" / "python"), "-c", WITHOUT_313, "--no-summarize", "--log-level", "error", str(plan))


def write_plans(folder: Path, base: Path, out: Path) -> dict[str, Path]:
    """brainsurgery's plans by job, written to `folder`; they treat the weights, and leave config.json to the user."""
    table, saved = "new.embeddings.word_embeddings.weight", {"path": str(out / "model.safetensors")}

    def filled(target: str, value: int) -> dict[str, object]:
        return {"fill_": {"target": target, "mode": "constant", "value": value}}

    drawn = {"distribution": "normal", "mean": 0, "std": 0.02, "seed": 0}
    plans: dict[str, tuple[list[dict[str, object]], dict[str, str]]] = {
        "inspect": ([{"dump": {"target": ".*", "format": "compact", "verbosity": "shape"}}], {}),
        "shrink": (
            [
                {"move": {"from": table, "to": "old"}},
                {"copy": {"from": "old::[:32000, :]", "to": table}},
                {"delete": {"target": "old"}},
                filled(f"{table}::[0, :]", 0),
            ],
            saved,
        ),
        "grow": (
            [
                {"move": {"from": table, "to": "old"}},
                {"rand": {"target": "added", "shape": [260_096 - 250_048, 768], **drawn}},
                {"concat": {"from": ["old", "added"], "to": table, "dim": 0}},
                {"delete": {"target": "old"}},
                {"delete": {"target": "added"}},
                filled(f"{table}::[0, :]", 0),
            ],
            saved,
        ),
        "reinit": (
            [
                {"fill_": {"target": r".*\.weight", "mode": "rand", **drawn}},
                filled(r".*(LayerNorm|_ln)\.weight", 1),
                filled(r".*\.bias", 0),
                filled(f"{table}::[1, :]", 0),
            ],
            saved,
        ),
        "cast": ([{"cast_": {"target": ".*", "to": "bfloat16"}}], saved),
        "reshard": ([{"save": {"path": str(out), "alias": "model", "format": "safetensors", "shard": "300MB"}}], {}),
    }
    paths = {}
    for name, (transforms, output) in plans.items():
        plan: dict[str, object] = {"inputs": [f"model::{base / 'model.safetensors'}"], "transforms": transforms}
        paths[name] = folder / f"{name}.yaml"
        paths[name].write_text(json.dumps(plan | ({"output": output} if output else {})))
    return paths


def tokensurgeon_attempts(folder: Path, peers: Path) -> Iterator[Reason]:
    """What mergekit-tokensurgeon says to a GTE, tried on small ones: it asks for the structure before any size.

    As published (two architectures), the bare model with one, and a masked LM.
    """
    tokenizer = folder / "tokenizer"
    subprocess.run([sys.executable, Path(__file__).with_name("tokenizer.py"), tokenizer, "1024"], check=True)
    for release, head in (
        ("gte-multilingual-base", "classifier"),
        ("gte-base-en-v1.5", "none"),
        ("gte-en-mlm-base", "mlm"),
    ):
        model = folder / head
        small = ("--layers", "1", "--hidden", "64", "--heads", "4", "--intermediate", "96", "--vocab", "1024")
        run(
            (
                sys.executable,
                "-m",
                "gte_surgery",
                "--quiet",
                "new",
                model,
                "--release",
                release,
                "--dialect",
                "native",
                *small,
            )
        )
        for file in tokenizer.iterdir():
            (model / file.name).write_bytes(file.read_bytes())
        tried = run((peers / "bin" / MERGEKIT, model, model, folder / "surgeon", "-a", "subword"), codes=range(256))
        said = f"exit {tried.code}, {tried.said}" if tried.code else "works here"
        yield Reason(MERGEKIT, "", f"{release} (head {head}): {said}")
