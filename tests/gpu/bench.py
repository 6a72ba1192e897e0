"""All measurements on GPUs in one call, each step on its own: what fails is reported, and the rest goes on.

`python -m tests.gpu.bench [--ranks | --rates] [FOLDER]` writes `bench.md`, `bench.json`, `bench.log` and a file of
rates for each kind of work there, and exits with 1 when a step failed. Steps run as processes of their own, so that a
poisoned device cannot spoil the next one, nor what is compiled disturb what is measured after it. `--ranks` does only
what several GPUs are for, `--rates` only the table of rates.
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
from typing import Any

from tests.gpu import rival, speeds, training

BUDGET = 840
"""Seconds for everything; a step that would begin later is left out."""
TOOL = (sys.executable, "-m", "gte_surgery")
DTYPES = "fp32,fp16,bf16"


@dataclass
class Bench:
    """Runs steps and keeps what they said."""

    folder: Path
    begin: float = field(default_factory=time.monotonic)
    steps: list[dict[str, object]] = field(default_factory=list)
    surroundings: str = ""

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


RATES = {
    "a forward, fp16": ("tests.gpu.speeds", "base", speeds.WAYS),
    "a training step, bf16 autocast": ("tests.gpu.training", "base", training.WAYS),
    "a masked-LM step, bf16 autocast": ("tests.gpu.training", "masked", training.WAYS[-1:]),
    "texts and pairs, tokenizing included": ("tests.gpu.rival", "base", rival.WAYS),
}
"""What is measured, by which module, of which checkpoint, in which ways: each in a process of its own."""


def measure(bench: Bench, scratch: Path) -> None:
    """The rates, in one file for each kind of work."""
    release = ["--release", "gte-en-mlm-base", "--dtype", "F32"]
    bench.step("new masked", [*TOOL, "new", str(scratch / "masked"), *release], 120)
    for place, (name, (module, checkpoint, ways)) in zip(files(bench.folder), RATES.items(), strict=True):
        place.unlink(missing_ok=True)
        for way in ways:
            command = [sys.executable, "-m", module, str(scratch / checkpoint), str(place), way]
            bench.step(f"{name}: {way}", command, 120)


def files(folder: Path) -> list[Path]:
    """Where the rates of each kind of work lie."""
    return [folder / f"rates-{number}.json" for number in range(len(RATES))]


def run(folder: Path, scratch: Path, asked: str) -> Bench:
    """Every step, the most wanted first; or only those that several GPUs are for, or only the rates."""
    bench = Bench(folder)
    base, small = str(scratch / "base"), str(scratch / "small")
    bench.surroundings = bench.step("surroundings", [sys.executable, "-c", SURROUNDINGS], 60).strip()
    bench.step("new", [*TOOL, "new", base, "--release", "gte-multilingual-base", "--dtype", "F32"], 120)
    if asked != "--ranks":
        measure(bench, scratch)
    if asked == "--rates":
        return bench
    bench.step("resize", [*TOOL, "resize", base, "--vocab", "32000", "--pad", "0", "--out", small], 60)
    if asked == "--ranks":
        for name, path in (("base", base), ("resized", small)):
            for dtype in DTYPES.split(","):
                _together(bench, f"{name} {dtype}", [path, "--dtype", dtype])
        return bench
    everything = ["--attention", "all", "--train", "3", "--dtype", DTYPES]
    _smoke(bench, "smoke all base", [base, *everything], 150)
    _smoke(bench, "smoke all resized", [small, *everything], 150)
    _smoke(bench, "smoke auto fp16 cold", [base, "--dtype", "fp16"], 60)
    _smoke(bench, "smoke auto fp16 warm", [base, "--dtype", "fp16"], 60)
    loader_path = {"LD_LIBRARY_PATH": _without(os.environ.get("LD_LIBRARY_PATH", ""), "cuda_runtime")}
    bench.step("library preloaded", [sys.executable, "-c", PRELOADED], 60, **loader_path)
    bench.step("library missing", [sys.executable, "-c", TRAP], 60, PYTHONPATH=_without_runtime(scratch), **loader_path)
    _together(bench, "resized", [small])
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu", "-p", "no:cacheprovider"]
    bench.step("gpu tests", tests, 240)
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
import platform, subprocess, torch
from importlib import metadata
from gte_surgery.model import cudnn_library, xformers_library
asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
driver = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
told = [f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}", f"driver {driver}"]
told += [f"Python {platform.python_version()}", f"torch {torch.__version__}", f"cuDNN {torch.backends.cudnn.version()}"]
for name in ("transformers", "sentence-transformers", "xformers", "nvidia-cudnn-frontend"):
    try:
        told.append(f"{name} {metadata.version(name)}")
    except metadata.PackageNotFoundError:
        told.append(f"no {name}")
told += [f"xformers {said}" for said in [xformers_library.trouble()] if said]
told += [f"cudnn {said}" for said in [cudnn_library.trouble()] if said]
print(", ".join(told))
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


Rates = dict[str, dict[str, dict[str, Any]]]
"""By the kind of work, the lengths and the way: tokens a second as median and quartiles, GiB, or what went wrong."""


def markdown(bench: Bench, rates: Rates) -> str:
    """The rates as one table, where they were measured, and the steps."""
    lines = [
        bench.surroundings,
        "",
        "| work | lengths | way | k tokens/s | quartiles | GiB |",
        "|---|---|---|---|---|---|",
    ]
    for work, sets in rates.items():
        for lengths, cells in sets.items():
            ways = [way for way in cells if not way.endswith(", GiB")]
            lines += [f"| {work} | {lengths} | {way} | {_shown(cells, way)} |" for way in ways]
    lines += ["", "| step | outcome | s | proofs |", "|---|---|---|---|"]
    lines += [
        f"| {step['name']} | {step['outcome']} | {step.get('seconds', '')} | {step.get('proofs', '')} |"
        for step in bench.steps
    ]
    return "\n".join(lines)


def _shown(cells: dict[str, Any], way: str) -> str:
    found, memory = cells[way], cells.get(f"{way}, GiB", "")
    if not isinstance(found, list):
        return f"{found} | | {memory}"
    median, least, most = (round(rate / 1000) for rate in found)
    return f"{median} | {least} to {most} | {memory}"


def main() -> int:
    """Run, write the tables, tell whether every step passed."""
    asked = next((argument for argument in sys.argv[1:] if argument in ("--ranks", "--rates")), "")
    arguments = [argument for argument in sys.argv[1:] if argument != asked]
    folder = Path(arguments[0] if arguments else ".").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gte-surgery-bench-") as scratch:
        bench = run(folder, Path(scratch), asked)
    found = zip(RATES, files(folder), strict=True)
    rates = {work: json.loads(file.read_text(encoding="utf-8")) for work, file in found if file.exists()}
    (folder / "bench.json").write_text(json.dumps({"steps": bench.steps, "rates": rates}, indent=2) + "\n")
    (folder / "bench.md").write_text(markdown(bench, rates) + "\n")
    print(markdown(bench, rates))
    return int(any(step["outcome"] != "passed" for step in bench.steps))


if __name__ == "__main__":
    sys.exit(main())
