"""All measurements on GPUs in one call, each step on its own: what fails is reported, and the rest goes on.

`python -m tests.gpu.bench [--ranks] [FOLDER]` writes `bench.json`, `bench.md`, `bench.log`, `speeds.json` and
`training.json` there, and exits with 1 when a step failed. Steps run as processes of their own, so that a poisoned
device cannot spoil the next one. `--ranks` does only what several GPUs are for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

BUDGET = 530
"""Seconds for everything; a step that would begin later is left out."""
TOOL = (sys.executable, "-m", "gte_surgery")
DTYPES = "fp32,fp16,bf16"


@dataclass
class Bench:
    """Runs steps and keeps what they said."""

    folder: Path
    begin: float = field(default_factory=time.monotonic)
    steps: list[dict[str, object]] = field(default_factory=list)

    def step(self, name: str, command: Sequence[str], limit: int, **environment: str) -> str:
        """Run one step; its stdout, or "" when it failed or there was no time left."""
        left = BUDGET - (time.monotonic() - self.begin)
        if left < 10:
            self.steps.append({"name": name, "outcome": "left out, the time was up"})
            return ""
        began = time.monotonic()
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, timeout=min(limit, left), env=os.environ | environment
            )
            code, said, told = ran.returncode, ran.stdout, ran.stderr
        except subprocess.TimeoutExpired as late:
            code, said, told = -1, _text(late.stdout), _text(late.stderr) + "\ntimed out"
        seconds = round(time.monotonic() - began, 1)
        outcome = "passed" if code == 0 else f"exit {code}"
        self.steps.append({"name": name, "outcome": outcome, "seconds": seconds})
        print(f"== {name}: {outcome}, {seconds} s", flush=True)
        if code:
            print(f"{said[-3000:]}\n{told[-3000:]}", flush=True)
        with open(self.folder / "bench.log", "a", encoding="utf-8") as log:
            log.write(f"== {name}: {' '.join(command)[:500]}\n{said}\n-- stderr\n{told}\n")
        return said if code in (0, 1) else ""


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else (value or "")


def run(folder: Path, scratch: Path, is_about_ranks: bool) -> Bench:
    """Every step, the most wanted first; or only those that several GPUs are for."""
    bench = Bench(folder)
    base, small = str(scratch / "base"), str(scratch / "small")
    bench.step("surroundings", [sys.executable, "-c", SURROUNDINGS], 60)
    bench.step("new", [*TOOL, "new", base, "--release", "gte-multilingual-base", "--dtype", "F32"], 120)
    bench.step("resize", [*TOOL, "resize", base, "--vocab", "32000", "--pad", "0", "--out", small], 60)
    if is_about_ranks:
        for name, path in (("base", base), ("resized", small)):
            for dtype in DTYPES.split(","):
                _together(bench, f"{name} {dtype}", [path, "--dtype", dtype])
        return bench
    everything = ["--attention", "all", "--train", "3", "--dtype", DTYPES]
    _smoke(bench, "smoke all base", [base, *everything], 150)
    _smoke(bench, "smoke all resized", [small, *everything], 150)
    _smoke(bench, "smoke auto fp16 cold", [base, "--dtype", "fp16"], 60)
    _smoke(bench, "smoke auto fp16 warm", [base, "--dtype", "fp16"], 60)
    bench.step("speeds", [sys.executable, "-m", "tests.gpu.speeds", base, str(folder / "speeds.json")], 240)
    bench.step("training", [sys.executable, "-m", "tests.gpu.training", base, str(folder / "training.json")], 120)
    loader_path = {"LD_LIBRARY_PATH": _without(os.environ.get("LD_LIBRARY_PATH", ""), "cuda_runtime")}
    bench.step("library preloaded", [sys.executable, "-c", PRELOADED], 60, **loader_path)
    bench.step("library missing", [sys.executable, "-c", TRAP], 60, PYTHONPATH=_without_runtime(scratch), **loader_path)
    _together(bench, "resized", [small])
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu", "-p", "no:cacheprovider"]
    bench.step("gpu tests", tests, 120)
    _smoke(bench, "smoke compile", [small, "--attention", "varlen", "--dtype", "fp16", "--compile"], 90)
    return bench


def _smoke(bench: Bench, name: str, arguments: list[str], limit: int) -> None:
    said = bench.step(name, [*TOOL, "smoke", *arguments, "--json"], limit)
    bench.steps[-1] |= _smoke_summary(said)


def _together(bench: Bench, name: str, arguments: list[str]) -> None:
    """One process on each GPU."""
    gpus = _gpus()
    launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={gpus}", "-m", "gte_surgery", "smoke"]
    said = bench.step(f"torchrun {gpus} {name}", [*launch, *arguments, "--train", "3", "--json"], 90)
    bench.steps[-1] |= _smoke_summary(said)


SURROUNDINGS = """
import platform, torch, transformers
print("python", platform.python_version(), "torch", torch.__version__, "transformers", transformers.__version__)
print(torch.cuda.device_count(), "×", torch.cuda.get_device_name(0))
from gte_surgery.model.xformers_library import trouble
print("xformers:", trouble() or "loads")
"""
PRELOADED = """
from gte_surgery.model.xformers_library import trouble
assert trouble() == "", trouble()
"""
TRAP = """
from gte_surgery.model.xformers_library import trouble
print(trouble())
assert "libcudart.so.12 is missing: pip install nvidia-cuda-runtime-cu12" in trouble(), trouble()
"""


def _without(path: str, part: str) -> str:
    return os.pathsep.join(entry for entry in path.split(os.pathsep) if part not in entry)


def _without_runtime(scratch: Path) -> str:
    """PYTHONPATH with everything on it but the CUDA runtime that xformers needs."""
    folder = scratch / "without-runtime"
    folder.mkdir()
    for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        for path in Path(entry).glob("*") if entry else ():
            if not path.name.startswith("nvidia") and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path.resolve())
    return str(folder)


def _gpus() -> int:
    import torch

    return max(torch.cuda.device_count(), 1)


def _smoke_summary(said: str) -> dict[str, object]:
    """What is worth a line of a smoke run's JSON."""
    if not said.lstrip().startswith("{"):
        return {}
    result = json.loads(said)
    proofs = [proof["outcome"] for proof in result["proofs"]]
    return {
        "device": result["device"],
        "versions": result["versions"],
        "proofs": {outcome: proofs.count(outcome) for outcome in sorted(set(proofs))},
        "findings": [f"{found['code']} {found['message']}"[:300] for found in result["findings"]],
        "speeds": result["speeds"],
    }


def markdown(bench: Bench, rates: dict[str, dict[str, object]]) -> str:
    """Steps and rates as two tables."""
    lines = ["| step | outcome | s | proofs |", "|---|---|---|---|"]
    lines += [
        f"| {step['name']} | {step['outcome']} | {step.get('seconds', '')} | {step.get('proofs', '')} |"
        for step in bench.steps
    ]
    ways = list(dict.fromkeys(way for cells in rates.values() for way in cells))
    lines += ["", f"| tokens/s | {' | '.join(ways)} |", "|---" * (len(ways) + 1) + "|"]
    for name, cells in rates.items():
        shown = [_shown(cells.get(way, "")) for way in ways]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _shown(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, (int, float)) else str(cell)


def main() -> int:
    """Run, write the tables, tell whether every step passed."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--ranks"]
    folder = Path(arguments[0] if arguments else ".").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gte-surgery-bench-") as scratch:
        bench = run(folder, Path(scratch), "--ranks" in sys.argv)
    files = [file for file in (folder / "speeds.json", folder / "training.json") if file.exists()]
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    rates = {
        f"{file.stem}: {name}": cells for file, sets in zip(files, found, strict=True) for name, cells in sets.items()
    }
    (folder / "bench.json").write_text(json.dumps({"steps": bench.steps, "rates": rates}, indent=2) + "\n")
    (folder / "bench.md").write_text(markdown(bench, rates) + "\n")
    print(json.dumps({"steps": bench.steps, "rates": rates}))
    print(markdown(bench, rates))
    return int(any(step["outcome"] != "passed" for step in bench.steps))


if __name__ == "__main__":
    sys.exit(main())
